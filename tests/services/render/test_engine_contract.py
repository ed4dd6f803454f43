"""What every engine that draws owes its callers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from services.common.errors import InvalidRequestError, UnsupportedError
from services.render.blendshapes import COUNT, weights_of
from services.render.engine import (
    MAX_SIZE,
    MIN_SIZE,
    Driving,
    FaceState,
    FrameJob,
    HeadPose,
    PreparedAvatar,
    RenderEngine,
    VideoCodec,
)
from services.render.engines.mesh import MeshEngine
from services.render.image_file import decode
from services.render.portrait import Examined
from tests.fakes.drawing_driven import Clip, DrivenEngine
from tests.fakes.drawing_flat import FlatEngine
from tests.fakes.drawing_in_batches import BatchEngine

Drawn = tuple[RenderEngine, PreparedAvatar]
LIVELY = FaceState(weights_of({"jawOpen": 0.7, "eyeBlink": 1.0, "mouthPucker": 0.5}), HeadPose(3, 2, 2))


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RenderEngine]:
    """LivePortrait on the CPU, with so few channels that a frame takes milliseconds."""
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'avatar[liveportrait]'")
    from services.render.engines.liveportrait.config import NARROW
    from services.render.engines.liveportrait.engine import LivePortraitEngine
    from services.render.engines.liveportrait.random_weights import write_official_folder

    folder = tmp_path_factory.mktemp("pretrained_weights")
    write_official_folder(folder, NARROW, seed=1)
    engine = LivePortraitEngine(folder, "cpu", 4, folder / "compiled")
    yield engine
    engine.close()


@pytest.fixture(params=["mesh", "liveportrait", "flat", "batches"])
def drawn(request: pytest.FixtureRequest, engine: MeshEngine, examined: Examined) -> Drawn:
    engines: dict[str, RenderEngine] = {"mesh": engine, "flat": FlatEngine(), "batches": BatchEngine()}
    chosen = request.getfixturevalue("narrow") if request.param == "liveportrait" else engines[request.param]
    return chosen, chosen.prepare(examined.portrait)


def frame_of(drawn: Drawn, state: FaceState | None = None, size: int = MAX_SIZE) -> bytes:
    engine, prepared = drawn
    (frame,) = engine.draw([FrameJob(prepared, state or FaceState(), size, VideoCodec.I420)])
    return frame


@pytest.mark.parametrize("size", [MIN_SIZE, 130, 256, 384, MAX_SIZE])
def test_a_frame_has_the_size_that_was_asked_for(drawn: Drawn, size: int) -> None:
    assert len(frame_of(drawn, size=size)) == size * size * 3 // 2


def test_a_jpeg_is_the_same_picture(drawn: Drawn) -> None:
    engine, prepared = drawn
    (jpeg,) = engine.draw([FrameJob(prepared, FaceState(), MAX_SIZE, VideoCodec.JPEG)])
    planes = np.frombuffer(frame_of(drawn), np.uint8).reshape(MAX_SIZE * 3 // 2, MAX_SIZE)
    shown = cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420).astype(int)
    # In the mean of 8 x 8 pixels: of four colours one codec takes the first, the other the mean.
    blocks = [
        picture.astype(float).reshape(MAX_SIZE // 8, 8, MAX_SIZE // 8, 8, 3).mean((1, 3))
        for picture in (decode(jpeg), shown)
    ]
    assert np.abs(blocks[0] - blocks[1]).mean() < 3


def test_the_same_state_is_the_same_frame_whatever_was_drawn_between(drawn: Drawn) -> None:
    first = frame_of(drawn)
    assert frame_of(drawn, LIVELY) != first
    assert frame_of(drawn) == first


def test_a_full_batch_of_faces_and_states_is_drawn_in_its_order_and_none_shows_in_another(
    drawn: Drawn, examined: Examined
) -> None:
    engine, prepared = drawn
    dark = engine.prepare(replace(examined.portrait, image_rgb=examined.portrait.image_rgb // 2))
    jobs = [
        FrameJob(avatar, state, size, codec)
        for avatar in (prepared, dark)
        for state in (FaceState(), LIVELY)
        for size, codec in ((256, VideoCodec.I420), (320, VideoCodec.JPEG))
    ]
    alone = [engine.draw([job])[0] for job in jobs]
    assert len(set(alone)) == len(jobs)
    at_once = engine.capabilities.max_batch
    for first in range(0, len(jobs), at_once):
        assert engine.draw(jobs[first : first + at_once]) == alone[first : first + at_once]


def test_every_weight_at_its_limit_and_beyond_is_drawn(drawn: Drawn) -> None:
    for weights in (np.ones(COUNT, np.float32), np.full(COUNT, 3.0, np.float32), np.full(COUNT, -1.0, np.float32)):
        assert frame_of(drawn, FaceState(weights, HeadPose(12, -12, 12)))


def test_it_says_what_it_can_do(drawn: Drawn) -> None:
    engine, _ = drawn
    sizes = engine.capabilities.batch_sizes
    assert sizes[0] == 1
    assert list(sizes) == sorted(set(sizes))
    assert engine.name == engine.name.strip().lower()
    assert isinstance(engine.path, str)


def test_an_engine_that_reads_no_motion_says_so_and_leaves_out_what_another_one_read(drawn: Drawn) -> None:
    engine, _ = drawn
    if engine.capabilities.reads_motion:
        pytest.skip("it reads motion")
    with pytest.raises(UnsupportedError):
        engine.read_motion(b"a video")
    state = FaceState(LIVELY.weights, LIVELY.pose, (Driving(Clip(1.0), 0.5),))
    assert frame_of(drawn, state) == frame_of(drawn, LIVELY)


def test_an_engine_that_reads_motion_reads_what_it_kept_and_refuses_the_rest_in_words() -> None:
    engine = DrivenEngine()
    assert engine.capabilities.reads_motion
    motion = engine.read_motion(Clip(2.0, 50).to_file())
    assert (motion.duration_s, motion.frame_count) == (2.0, 50)
    assert engine.read_motion(motion.to_file()) == motion
    with pytest.raises(InvalidRequestError, match="clip"):
        engine.read_motion(b"a video")
