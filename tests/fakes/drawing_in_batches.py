"""An engine that draws in batches, each at a known cost; whom and what a picture shows is a code in it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from services.common.errors import UnsupportedError
from services.render.engine import Capabilities, DeviceLostError, FrameJob, Portrait, RecordedMotion
from services.render.video import encode

# What one GPU takes for batches of 512 x 512, in seconds: about 2.5 ms a frame at best.
COSTS_S: Mapping[int, float] = {1: 0.0038, 2: 0.0062, 4: 0.011, 8: 0.0204}
_BLOCKS = 4


@dataclass
class ManualClock:
    """A clock that stands still until it is moved."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True)
class BatchAvatar:
    code: bytes
    engine: BatchEngine


@dataclass(eq=False)
class BatchEngine:
    """Does what a test tells it.

    Args:
        clock: moved by the cost of each draw.
        plays_idle_loops: as in `Capabilities`.
    """

    costs_s: Mapping[int, float] = field(default_factory=lambda: COSTS_S)
    clock: ManualClock | None = None
    plays_idle_loops: bool = False
    path: str = "plain"
    name: str = "batches"

    def __post_init__(self) -> None:
        self.capabilities = Capabilities(
            batch_sizes=tuple(self.costs_s), prepared_bytes=4_200_000, plays_idle_loops=self.plays_idle_loops
        )
        # Jobs of each draw, in order.
        self.batches: list[list[FrameJob]] = []
        self.prepared = 0
        self.is_closed = False
        # Set for good when the device is gone.
        self.lost = threading.Event()
        # Cleared to hold the engine inside its next draw.
        self.may_draw = threading.Event()
        self.may_draw.set()
        # Set while it is held.
        self.draws = threading.Event()
        # A job that it cannot draw.
        self.poison: FrameJob | None = None

    def prepare(self, portrait: Portrait) -> BatchAvatar:
        if self.lost.is_set():
            raise DeviceLostError("the cable was pulled")
        self.prepared += 1
        return BatchAvatar(hashlib.sha256(portrait.image_rgb.tobytes()).digest(), self)

    def read_motion(self, file: bytes) -> RecordedMotion:
        raise UnsupportedError("codes have no motion")

    def draw(self, jobs: Sequence[FrameJob]) -> list[bytes]:
        size = next(size for size in self.costs_s if size >= len(jobs))
        self.draws.set()
        assert self.may_draw.wait(timeout=30)
        self.draws.clear()
        if self.lost.is_set():
            raise DeviceLostError("the cable was pulled")
        if any(job.state is poison.state for job in jobs if (poison := self.poison)):
            raise ValueError("this state cannot be drawn")
        if self.clock is not None:
            self.clock.now_s += self.costs_s[size]
        self.batches.append(list(jobs))
        return [self.frame(job) for job in jobs]

    def frame(self, job: FrameJob) -> bytes:
        """What `draw` makes of a job, without drawing it."""
        avatar = job.prepared
        assert isinstance(avatar, BatchAvatar)
        assert avatar.engine is self, "prepared by another engine, whose device is lost"
        # Rounded: a state that was computed or sent in another way differs in its last bits.
        pose = job.state.pose
        angles = [round(angle, 2) + 0.0 for angle in (pose.yaw, pose.pitch, pose.roll)]
        shown = avatar.code + repr((job.state.weights.clip(0, 1).round(3).tolist(), angles)).encode()
        colours = np.frombuffer(hashlib.shake_128(shown).digest(_BLOCKS * _BLOCKS * 3), np.uint8)
        blocks = colours.reshape(_BLOCKS, _BLOCKS, 3)
        index = np.arange(job.size) * _BLOCKS // job.size
        return encode(np.ascontiguousarray(blocks[index][:, index]), job.codec)

    def close(self) -> None:
        assert not self.is_closed, "closed twice"
        self.is_closed = True
