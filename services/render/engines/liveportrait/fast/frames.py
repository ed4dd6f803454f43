"""Frames of many portraits, in batches, as fast as the device can: the fast path as the engine uses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.common.compiled_kernels import UnavailableError
from services.render.engines.liveportrait.fast.acceleration import accelerated
from services.render.engines.liveportrait.fast.drawing import CapturedBatch, Drawing, Frames, Inputs
from services.render.engines.liveportrait.fast.generate import FastGenerator
from services.render.engines.liveportrait.fast.pool import SourcePool
from services.render.engines.liveportrait.fast.warp import FastWarp
from services.render.engines.liveportrait.networks import Networks

BATCH_SIZES = (1, 2, 4, 8, 16)
# Of those that `render` draws one after the other, how many are on their way at once.
_IN_FLIGHT = 2


class PixelLayout(Enum):
    """How frames lie in memory: RGB, shape (n, edge, edge, 3), or I420, shape (n, edge * 3 / 2, edge)."""

    RGB = 0
    I420 = 1


class Way(NamedTuple):
    """How frames are drawn now.

    Attributes:
        name: "graph+triton", "graph", "eager" or "cpu plain", from the fastest on.
        reason: why not faster; empty for the fastest.
    """

    name: str
    reason: str


class Pending:
    """A batch that is being drawn."""

    def __init__(self, frames: Tensor, done: torch.cuda.Event | None) -> None:
        self._frames = frames
        self._done = done

    def frames(self) -> NDArray[np.uint8]:
        """Wait for it. Returns: uint8, shaped as its layout says; the caller's own."""
        if self._done is not None:
            self._done.synchronize()
        frames: NDArray[np.uint8] = self._frames.numpy()
        return frames


class FastFrames:
    """Draws frames of the sources in its pool.

    `add_source` and `remove` may be called from any thread, `warm_up` from one of its own while another one draws;
    everything else from one thread at a time.
    """

    def __init__(
        self,
        networks: Networks,
        batch_sizes: Sequence[int] = BATCH_SIZES,
        max_sources: int = 32,
        kernels: Path | None = None,
        *,
        wants_triton: bool = True,
    ) -> None:
        """Args:
        networks: on the device that draws: float16 on a GPU, float32 on the CPU.
        batch_sizes: of captured graphs; other batches are drawn as the next larger one.
        max_sources: room that is taken at once, `source_bytes` each.
        kernels: folder that keeps compiled kernels from one start to the next.
        """
        if not batch_sizes or min(batch_sizes) < 1:
            raise ValueError(f"batch sizes are 1 or more, not {tuple(batch_sizes)}")
        self.config = networks.config
        self.device = next(networks.parameters()).device
        self.batch_sizes = tuple(sorted(set(batch_sizes)))
        self._networks = networks
        self._kernels = kernels
        self._wants_triton = wants_triton
        self._on_gpu = self.device.type == "cuda"
        dtype = torch.float16 if self._on_gpu else torch.float32
        with torch.inference_mode():
            self._drawing = Drawing(FastWarp(networks.warping, dtype), FastGenerator(networks.generator, dtype))
            empty = torch.zeros((1, *self.config.volume), device=self.device)
            self._pool = SourcePool(max_sources, self._drawing.warp.source(empty))
        self._captured: dict[int, CapturedBatch] = {}
        self._way = Way("eager", "not warmed up") if self._on_gpu else Way("cpu plain", "there is no GPU")
        self._stream = torch.cuda.Stream(self.device) if self._on_gpu else None

    @property
    def way(self) -> Way:
        """How frames are drawn now; it changes once, at the end of `warm_up`."""
        return self._way

    @property
    def source_bytes(self) -> int:
        """What a source takes on the device."""
        return self._pool.source_bytes

    @property
    def max_batch(self) -> int:
        """Frames that are drawn at once at most."""
        return self.batch_sizes[-1]

    def add_source(self, volume: Tensor) -> int:
        """Make a portrait ready to be drawn.

        Args: volume: of F, shape (1, channels, depth, height, width).
        Returns: its slot.
        Raises: OverloadedError if there is no room; ValueError if the shape is another one.
        """
        if tuple(volume.shape) != (1, *self.config.volume):
            raise ValueError(f"a source has the shape {(1, *self.config.volume)}, not {tuple(volume.shape)}")
        with torch.inference_mode(), self._in_stream():
            return self._pool.add(self._drawing.warp.source(volume.to(self.device)))

    def remove(self, slot: int) -> None:
        """Give a slot back. Raises: ValueError if nothing is in it."""
        self._pool.remove(slot)

    def warm_up(self, progress: Callable[[str], None] = lambda _: None) -> None:
        """Compile and capture the fast path, then draw by it. Args: progress: takes a line for each step.

        Until it returns, and where it fails, frames are drawn as before.
        """
        if not self._on_gpu:
            return
        way = Way("graph", "Triton is switched off")
        with torch.inference_mode(), torch.cuda.device(self.device):
            stream = torch.cuda.Stream(self.device)
            captured = {}
            if self._wants_triton:
                try:
                    progress("compiling kernels")
                    with torch.cuda.stream(stream):
                        drawing = accelerated(
                            self._networks, self._drawing, self._pool, self.batch_sizes, self._kernels
                        )
                    captured = self._capture(drawing, stream, progress)
                    way = Way("graph+triton", "")
                except UnavailableError as error:
                    way = Way("graph", str(error))
            self._captured = captured or self._capture(self._drawing, stream, progress)
        self._way = way

    def _capture(
        self, drawing: Drawing, stream: torch.cuda.Stream, progress: Callable[[str], None]
    ) -> dict[int, CapturedBatch]:
        memory = torch.cuda.graph_pool_handle()
        captured = {}
        # The largest first: the others fit into its memory.
        for size in reversed(self.batch_sizes):
            progress(f"capturing batches of {size}")
            num_kp = self.config.motion.num_kp
            captured[size] = CapturedBatch(drawing, self._pool.sources, num_kp, size, stream, memory)
        with torch.cuda.stream(stream):
            for batch in captured.values():
                batch.rehearse()
        stream.synchronize()
        return captured

    def submit(
        self, slots: Sequence[int], kp_source: Tensor, kp_driving: Tensor, layout: PixelLayout = PixelLayout.RGB
    ) -> Pending:
        """Begin to draw a batch; batches are drawn in their order.

        Args:
            slots: 1 to `max_batch`, the source of each frame.
            kp_source, kp_driving: shape (n, num_kp, 3), float32, on the CPU.
        Raises: ValueError if a slot is empty or a shape is another one.
        """
        with torch.inference_mode(), self._in_stream():
            frames = self._drawn(slots, kp_source, kp_driving)
            part = (frames.rgb if layout is PixelLayout.RGB else frames.i420)[: len(slots)]
            if self._stream is None:
                return Pending(part, None)
            host = torch.empty(part.shape, dtype=torch.uint8, pin_memory=True)
            host.copy_(part, non_blocking=True)
            done = torch.cuda.Event()
            done.record(self._stream)
            return Pending(host, done)

    def render_on_device(self, slots: Sequence[int], kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        """A batch that stays on the device, for paste-back.

        Args: as `submit`.
        Returns: shape (n, edge, edge, 3), uint8, that the next batch overwrites; ready for the current stream.
        """
        with torch.inference_mode():
            with self._in_stream():
                frames = self._drawn(slots, kp_source, kp_driving)
            if self._stream is not None:
                torch.cuda.current_stream(self.device).wait_stream(self._stream)
            return frames.rgb[: len(slots)]

    def render(
        self, slots: Sequence[int], kp_source: Tensor, kp_driving: Tensor, layout: PixelLayout = PixelLayout.RGB
    ) -> NDArray[np.uint8]:
        """Draw one frame or more. Args, raises and returns: as `submit` and its `Pending.frames`."""
        # None at all are a batch as well, which is refused.
        starts = iter(range(0, max(1, len(slots)), self.max_batch))

        def begun(start: int) -> Pending:
            part = slice(start, start + self.max_batch)
            return self.submit(slots[part], kp_source[part], kp_driving[part], layout)

        pending = [begun(start) for start in islice(starts, _IN_FLIGHT)]
        frames = []
        while pending:
            frames.append(pending.pop(0).frames())
            pending.extend(begun(start) for start in islice(starts, 1))
        return np.concatenate(frames) if len(frames) > 1 else frames[0]

    def _drawn(self, slots: Sequence[int], kp_source: Tensor, kp_driving: Tensor) -> Frames:
        shape = (len(slots), self.config.motion.num_kp, 3)
        if not 1 <= len(slots) <= self.max_batch:
            raise ValueError(f"a batch has 1 to {self.max_batch} frames, not {len(slots)}")
        if tuple(kp_source.shape) != shape or tuple(kp_driving.shape) != shape:
            raise ValueError(f"keypoints are {shape}, not {tuple(kp_source.shape)} and {tuple(kp_driving.shape)}")
        for slot in slots:
            self._pool.check(slot)
        inputs = Inputs(torch.tensor(slots), torch.stack([kp_source, kp_driving]).float())
        if self._captured:
            return self._captured[next(size for size in self.batch_sizes if size >= len(slots))].draw(inputs)
        return self._drawing.frames(self._pool.sources, Inputs(*(part.to(self.device) for part in inputs)))

    def _in_stream(self) -> AbstractContextManager[None]:
        """Where everything runs in its order, so that nothing reads what is still being written."""
        if self._stream is None:
            return nullcontext()
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        return torch.cuda.stream(self._stream)
