"""From keypoints to bytes on one device: W, G and pixels in a row, and the same captured as CUDA graphs."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from services.render.engines.liveportrait.fast.generate import FastGenerator
from services.render.engines.liveportrait.fast.warp import FastWarp, Sources

# Batches whose inputs are on their way at once: while one is drawn, those of the next are made ready.
_IN_FLIGHT = 2


class Inputs(NamedTuple):
    """Of a batch.

    Attributes:
        slots: shape (n,), int64: which source each frame shows.
        keypoints: shape (2, n, num_kp, 3), float32: the source's, and where they are driven to.
    """

    slots: Tensor
    keypoints: Tensor


class Frames(NamedTuple):
    """Of a batch, uint8.

    Attributes:
        rgb: shape (n, edge, edge, 3).
        i420: shape (n, edge * 3 / 2, edge).
    """

    rgb: Tensor
    i420: Tensor


class Drawing(NamedTuple):
    """W and G in one of their forms."""

    warp: FastWarp
    generator: FastGenerator

    def logits(self, sources: Sources, inputs: Inputs) -> Tensor:
        """As `FastGenerator`."""
        kp_source, kp_driving = inputs.keypoints.unbind(0)
        return self.generator(self.warp(sources, inputs.slots, kp_source, kp_driving))

    def frames(self, sources: Sources, inputs: Inputs) -> Frames:
        """Draw a batch."""
        return Frames(*self.generator.bytes_of(self.logits(sources, inputs)))


class CapturedBatch:
    """A batch of fixed size as one CUDA graph, with inputs and outputs at fixed places."""

    def __init__(
        self,
        drawing: Drawing,
        sources: Sources,
        num_kp: int,
        size: int,
        stream: torch.cuda.Stream,
        memory: Any,
    ) -> None:
        """Args: stream: to capture on, otherwise idle; memory: of a pool for graphs that never run at once."""
        # A graph holds addresses only: what it reads must live as long.
        self._reads = drawing, sources
        device = sources.features.device
        self._bytes, inputs = _packed(size, num_kp, device)
        self._staged = [_Staged(size, num_kp) for _ in range(_IN_FLIGHT)]
        self._next = 0
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            # Kernels are compiled and loaded, and libraries choose theirs, before anything is recorded.
            drawing.frames(sources, inputs)
            stream.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            # Other threads go on using the device meanwhile.
            with torch.cuda.graph(self._graph, pool=memory, stream=stream, capture_error_mode="thread_local"):
                self.frames = drawing.frames(sources, inputs)

    def rehearse(self) -> None:
        """Draw once from each place of inputs: its first replay brings a graph to the device, which takes longer."""
        for staged in self._staged:
            self.draw(staged.inputs)

    def draw(self, inputs: Inputs) -> Frames:
        """Draw in the current stream.

        Args: inputs: on the CPU; fewer than the batch's size leave the rest of it as it was.
        Returns: frames that the next call overwrites.
        """
        staged = self._staged[self._next]
        self._next = (self._next + 1) % _IN_FLIGHT
        staged.copied.synchronize()
        number = len(inputs.slots)
        staged.inputs.slots[:number] = inputs.slots
        staged.inputs.keypoints[:, :number] = inputs.keypoints
        self._bytes.copy_(staged.bytes, non_blocking=True)
        staged.copied.record()
        self._graph.replay()
        return self.frames


class _Staged:
    """Inputs of a batch in memory that the device reads by itself."""

    def __init__(self, size: int, num_kp: int) -> None:
        self.bytes, self.inputs = _packed(size, num_kp, torch.device("cpu"))
        self.copied = torch.cuda.Event()


def _packed(size: int, num_kp: int, device: torch.device) -> tuple[Tensor, Inputs]:
    """Inputs that lie in one piece, so that one copy brings them; pinned on the CPU. All 0: the first slot's source."""
    slot_bytes = 8 * size
    content = torch.zeros(slot_bytes + 2 * size * num_kp * 3 * 4, dtype=torch.uint8, device=device)
    if device.type == "cpu":
        content = content.pin_memory()
    keypoints = content[slot_bytes:].view(torch.float32).reshape(2, size, num_kp, 3)
    return content, Inputs(content[:slot_bytes].view(torch.int64), keypoints)
