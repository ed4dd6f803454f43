"""What moves a face of the production engine: every kind of file, and the frames that it makes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from services.common.errors import InvalidRequestError, UnsupportedError
from services.common.settings import ServerSettings
from services.render.blendshapes import weights_of
from services.render.engine import Driving, FaceState, FrameJob, VideoCodec
from services.render.engines.liveportrait.clip import MotionClip
from services.render.engines.liveportrait.engine import LivePortraitAvatar, LivePortraitEngine
from services.render.engines.liveportrait.expression import Performer
from services.render.engines.liveportrait.ratios import Ratios
from services.render.image_file import decode
from services.render.landmarks import FaceLandmarker
from services.render.portrait import Examined
from tests.fakes.motion import motion_clip, template_file, turned_by
from tests.fakes.videos import encoded, moved

CLIP = motion_clip()
PERFORMER = Performer(Ratios(0.3, 0.3, 0.0), np.zeros((21, 3), np.float32))
LIPS, OTHERS = [6, 12, 14, 17, 19, 20], [k for k in range(21) if k not in (6, 12, 14, 17, 19, 20)]


@pytest.fixture(scope="module")
def engine(official_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePortraitEngine]:
    open_landmarker = partial(FaceLandmarker, ServerSettings().data_dir)
    compiled = tmp_path_factory.mktemp("compiled")
    made = LivePortraitEngine(official_folder, "cpu", 2, compiled, (1, 2), open_landmarker=open_landmarker)
    yield made
    made.close()


@pytest.fixture
def face(engine: LivePortraitEngine, examined: Examined) -> LivePortraitAvatar:
    return engine.prepare(examined.portrait)


def driven(motion: MotionClip, offset_s: float, *, share: float = 1.0, speech: float = 0.0) -> FaceState:
    return FaceState(driven=(Driving(motion, offset_s, share, speech),))


@pytest.mark.parametrize("file", [CLIP.to_file(), template_file(CLIP), template_file(CLIP, is_old=True)])
def test_motion_that_was_kept_and_templates_are_read(engine: LivePortraitEngine, file: bytes) -> None:
    read = engine.read_motion(file)
    assert (read.frame_count, read.duration_s) == (50, 2.0)
    np.testing.assert_array_equal(read.exp, CLIP.exp)


def test_a_video_is_read_and_what_was_read_is_kept(engine: LivePortraitEngine, default_file: bytes) -> None:
    picture = decode(default_file)
    read = engine.read_motion(encoded([moved(picture, roll=2.0 * k) for k in range(6)]))
    assert (read.frame_count, read.rate_hz) == (6, 25.0)
    assert np.abs(read.exp[5] - read.exp[0]).max() > 1e-5
    np.testing.assert_array_equal(engine.read_motion(read.to_file()).exp, read.exp)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (b"", "neither a video"),
        (b"hello", "neither a video"),
        (b"PK\x03\x04", "no motion of this"),
        (b"\x80\x04.", "byte"),
    ],
)
def test_other_files_are_refused_in_words(engine: LivePortraitEngine, file: bytes, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        engine.read_motion(file)


def test_without_what_finds_faces_templates_are_read_and_videos_are_not(
    official_folder: Path, tmp_path: Path, default_file: bytes
) -> None:
    blind = LivePortraitEngine(official_folder, "cpu", 1, tmp_path)
    try:
        assert blind.read_motion(CLIP.to_file()).frame_count == 50
        with pytest.raises(UnsupportedError, match="driving videos are not read here"):
            blind.read_motion(encoded([moved(decode(default_file))] * 2))
    finally:
        blind.close()


def test_the_beginning_of_a_motion_leaves_the_face_as_it_is(
    engine: LivePortraitEngine, face: LivePortraitAvatar
) -> None:
    jobs = [FrameJob(face, state, 256, VideoCodec.I420) for state in (FaceState(), driven(CLIP, 0.0))]
    rest, begun = (np.frombuffer(drawn, np.uint8).astype(int) for drawn in engine.draw(jobs))
    assert np.abs(begun - rest).max() <= 1


def test_frames_follow_the_motion(engine: LivePortraitEngine, face: LivePortraitAvatar) -> None:
    def drawn(state: FaceState) -> bytes:
        return engine.draw([FrameJob(face, state, 256, VideoCodec.I420)])[0]

    early, late = drawn(driven(CLIP, 0.5)), drawn(driven(CLIP, 1.5))
    assert early != late
    assert drawn(driven(CLIP, 1.5)) == late
    # Beyond its end it stays as it ended.
    assert drawn(driven(CLIP, 10.0)) == drawn(driven(CLIP, 2.0))


def test_a_recording_moves_what_the_weights_do_not() -> None:
    frame, recorded = PERFORMER.drive(driven(CLIP, 1.0)), CLIP.at(1.0)
    np.testing.assert_allclose(frame.exp, recorded.exp, atol=1e-7)
    np.testing.assert_allclose(frame.rotation, turned_by(25.0), atol=1e-5)
    assert frame.scale == pytest.approx(recorded.scale)


def test_speech_takes_the_lips_from_a_recording() -> None:
    weights = weights_of({"jawOpen": 0.6})
    spoken = PERFORMER.drive(FaceState(weights)).exp
    both = PERFORMER.drive(FaceState(weights, driven=(Driving(CLIP, 1.0, 1.0, 1.0),))).exp
    recorded = CLIP.at(1.0).exp
    np.testing.assert_allclose(both[LIPS], spoken[LIPS], atol=1e-7)
    np.testing.assert_allclose(both[OTHERS], spoken[OTHERS] + recorded[OTHERS], atol=1e-7)


def test_two_recordings_share_the_face_while_one_lets_go() -> None:
    state = FaceState(driven=(Driving(CLIP, 1.0, 0.25), Driving(CLIP, 0.2, 1.0)))
    frame = PERFORMER.drive(state)
    np.testing.assert_allclose(frame.exp, 0.25 * CLIP.at(1.0).exp + CLIP.at(0.2).exp, atol=1e-7)
    np.testing.assert_allclose(frame.rotation, turned_by(0.25 * 25 + 5), atol=1e-5)
