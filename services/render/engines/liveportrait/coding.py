"""From drawn frames to what the wire carries: made smaller and turned into I420 on the device, JPEG on the CPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.render.engine import VideoCodec
from services.render.engines.liveportrait.fast.pixels import i420_of
from services.render.engines.liveportrait.paste import bytes_of
from services.render.video import jpeg_of

# JPEGs of one batch that are written at once, on as many cores as there are.
_MAX_WRITERS = 4


class Coder:
    """Codes batches, one at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._writers = ThreadPoolExecutor(min(_MAX_WRITERS, os.cpu_count() or 1), thread_name_prefix="jpeg")

    def code(self, frames: Tensor, wanted: Sequence[tuple[int, VideoCodec]]) -> list[bytes]:
        """The frames of a batch, each in its own size and codec.

        Args:
            frames: shape (b, 3, edge, edge), RGB from 0 to 255, on the device.
            wanted: of each its edge in pixels, even, and its codec.
        """
        coded: dict[int, bytes] = {}
        # All are on their way before the first is waited for.
        fetched = [
            (codec, rows, self._fetch(_pixels(frames, rows, size, codec)))
            for (size, codec), rows in _groups(wanted).items()
        ]
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        for codec, rows, pixels in fetched:
            pictures: NDArray[np.uint8] = pixels.numpy()
            if codec is VideoCodec.I420:
                coded |= {row: picture.tobytes() for row, picture in zip(rows, pictures, strict=True)}
            elif len(rows) == 1:
                coded[rows[0]] = jpeg_of(pictures[0])
            else:
                coded |= zip(rows, self._writers.map(jpeg_of, pictures), strict=True)
        return [coded[row] for row in range(len(wanted))]

    def _fetch(self, pixels: Tensor) -> Tensor:
        """To memory of the CPU; there once the current stream is through."""
        if self._device.type != "cuda":
            return pixels
        host = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=True)
        return host.copy_(pixels, non_blocking=True)


def _groups(wanted: Sequence[tuple[int, VideoCodec]]) -> dict[tuple[int, VideoCodec], list[int]]:
    groups: dict[tuple[int, VideoCodec], list[int]] = {}
    for row, key in enumerate(wanted):
        groups.setdefault(key, []).append(row)
    return groups


def _pixels(frames: Tensor, rows: list[int], size: int, codec: VideoCodec) -> Tensor:
    """Shape (rows, size * 3 / 2, size) of I420, or (rows, size, size, 3) of RGB; uint8."""
    chosen = frames if len(rows) == len(frames) else frames[rows]
    rgb = bytes_of(chosen, size)
    return i420_of(rgb) if codec is VideoCodec.I420 else rgb
