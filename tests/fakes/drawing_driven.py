"""An engine whose faces recorded motion moves: the picture's brightness says which place of it drives, and how much."""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.common.errors import InvalidRequestError
from services.render.engine import Capabilities, DeviceLostError, FaceState, FrameJob, RecordedMotion
from services.render.video import encode
from tests.fakes.drawing_flat import FlatEngine

_HEAD = struct.Struct("<4sfi")


@dataclass(frozen=True)
class Clip:
    """Motion of so many seconds."""

    duration_s: float
    frame_count: int = 50

    def to_file(self) -> bytes:
        return _HEAD.pack(b"CLIP", self.duration_s, self.frame_count)


class DrivenEngine(FlatEngine):
    """Reads what `Clip.to_file` writes, and anything behind it."""

    name = "driven"
    capabilities = Capabilities(reads_motion=True)

    def __init__(self) -> None:
        self.is_lost = False
        self.states: list[FaceState] = []
        # Cleared to hold the engine inside the next file.
        self.may_read = threading.Event()
        self.may_read.set()

    def read_motion(self, file: bytes) -> RecordedMotion:
        assert self.may_read.wait(timeout=30)
        if self.is_lost:
            raise DeviceLostError("the cable was pulled")
        if not file.startswith(b"CLIP"):
            raise InvalidRequestError("this is no clip; a clip begins with CLIP")
        return Clip(*_HEAD.unpack_from(file)[1:])

    def draw(self, jobs: Sequence[FrameJob]) -> list[bytes]:
        if self.is_lost:
            raise DeviceLostError("the cable was pulled")
        self.states += [job.state for job in jobs]
        return [self._picture(job) for job in jobs]

    def _picture(self, job: FrameJob) -> bytes:
        place = sum(driving.offset_s * driving.share for driving in job.state.driven)
        return encode(np.full((job.size, job.size, 3), min(int(100 * place), 255), np.uint8), job.codec)
