"""An engine that draws one colour: as bright as the jaw is open, on the portrait's mean colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.common.errors import UnsupportedError
from services.render.blendshapes import INDEX
from services.render.engine import Capabilities, FrameJob, Portrait, RecordedMotion
from services.render.video import encode


@dataclass(frozen=True)
class FlatAvatar:
    colour: tuple[int, int, int]


class FlatEngine:
    """Fast, and honest about the state that it was given."""

    name = "flat"
    path = ""
    capabilities = Capabilities()

    def prepare(self, portrait: Portrait) -> FlatAvatar:
        red, green, blue = portrait.image_rgb.reshape(-1, 3).mean(0).astype(int) // 4
        return FlatAvatar((red, green, blue))

    def read_motion(self, file: bytes) -> RecordedMotion:
        raise UnsupportedError("a colour has no motion")

    def draw(self, jobs: Sequence[FrameJob]) -> list[bytes]:
        return [self._frame(job) for job in jobs]

    def _frame(self, job: FrameJob) -> bytes:
        assert isinstance(job.prepared, FlatAvatar)
        jaw = float(job.state.weights[INDEX["jawOpen"]])
        frame = np.empty((job.size, job.size, 3), np.uint8)
        frame[:] = np.array(job.prepared.colour) + int(jaw * 180)
        return encode(frame, job.codec)

    def close(self) -> None:
        """There is nothing to free."""
