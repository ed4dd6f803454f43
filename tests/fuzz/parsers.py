"""The readers of files from strangers, as a fuzzer sees them: bytes in, a result or a refusal in words out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from services.common import multipart_form, recording_file
from services.common.errors import InvalidRequestError
from services.render import image_file
from services.render.engines.liveportrait import driving_video
from services.render.engines.liveportrait.clip import MotionClip, clip_of_npz
from services.render.engines.liveportrait.template import clip_of_template
from tests.fuzz import seeds

_MAX_RECORDING_S = 60.0
SHORTEST_SENTENCE = 15


def _read_picture(data: bytes) -> None:
    image = image_file.decode(data)
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert image.dtype == np.uint8


def _read_recording(data: bytes) -> None:
    samples = 0
    for piece in recording_file.decode(data, 16_000, _MAX_RECORDING_S):
        assert piece.ndim == 1
        assert piece.dtype == np.float32
        samples += len(piece)
    assert 0 < samples <= _MAX_RECORDING_S * 16_000


def _read_form(data: bytes) -> None:
    content_type, _, body = data.partition(b"\n")
    for name, part in multipart_form.read_form(content_type.decode("latin-1"), body).items():
        assert isinstance(name, str)
        content = part if isinstance(part, str) else part.content
        assert len(content) <= len(body)


def _read_motion(data: bytes) -> None:
    _play(clip_of_npz(data))


def _read_template(data: bytes) -> None:
    _play(clip_of_template(data))


def _play(clip: MotionClip) -> None:
    for offset_s in (0.0, 0.03, clip.duration_s):
        frame = clip.at(offset_s)
        assert all(np.isfinite(part).all() for part in (frame.exp, frame.rotation, frame.t, np.array(frame.scale)))


def _read_video(data: bytes) -> None:
    video = driving_video.Video(data)
    count = 0
    for picture in video.pictures():
        assert picture.dtype == np.uint8
        assert picture.shape[2:] == (3,)
        assert max(picture.shape) <= driving_video.MAX_SIDE
        count += 1
    assert 0 < count <= driving_video.MAX_VIDEO_S * video.rate_hz


@dataclass(frozen=True)
class Parser:
    """A reader. Args: seeds: valid files; read: fails by an AssertionError, or by any error but a refusal."""

    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[bytes], None]

    def try_on(self, data: bytes) -> bool:
        """Whether the data was taken. Raises: whatever is a bug."""
        try:
            self.read(data)
        except InvalidRequestError as refusal:
            said = str(refusal)
        else:
            return True
        assert len(said) > SHORTEST_SENTENCE, "refused without a sentence"
        return False


PARSERS = {
    "picture": Parser(seeds.pictures, _read_picture),
    "recording": Parser(seeds.recordings, _read_recording),
    "form": Parser(seeds.forms, _read_form),
    "motion": Parser(seeds.motions, _read_motion),
    "template": Parser(seeds.templates, _read_template),
    "video": Parser(seeds.videos, _read_video),
}
