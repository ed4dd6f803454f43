"""The sources that can be drawn now, in memory that never moves, so that captured graphs find them."""

from __future__ import annotations

import threading

import torch

from services.common.errors import OverloadedError
from services.render.engines.liveportrait.fast.warp import Sources


class SourcePool:
    """A fixed number of slots. Slots may be taken and given back from any thread."""

    def __init__(self, capacity: int, like: Sources) -> None:
        """Args: like: of one source, whose shapes and types all have."""
        self.sources = Sources(
            *(torch.zeros((capacity, *part.shape[1:]), dtype=part.dtype, device=part.device) for part in like)
        )
        self._capacity = capacity
        self._free = list(reversed(range(capacity)))
        self._lock = threading.Lock()

    @property
    def source_bytes(self) -> int:
        """What one source takes."""
        return sum(part[0].numel() * part.element_size() for part in self.sources)

    def add(self, source: Sources) -> int:
        """Keep a source. Returns: its slot. Raises: OverloadedError if all are taken."""
        with self._lock:
            if not self._free:
                raise OverloadedError(
                    f"{self._capacity} portraits are ready to be drawn, which is all there is room for",
                    limit=f"max_sources={self._capacity}",
                )
            slot = self._free.pop()
        for part, new in zip(self.sources, source, strict=True):
            part[slot].copy_(new[0])
        return slot

    def remove(self, slot: int) -> None:
        """Give a slot back. Raises: ValueError if nothing is in it."""
        with self._lock:
            self._check(slot)
            self._free.append(slot)

    def check(self, slot: int) -> None:
        """Raises: ValueError if nothing is in the slot."""
        with self._lock:
            self._check(slot)

    def _check(self, slot: int) -> None:
        if not 0 <= slot < self._capacity or slot in self._free:
            raise ValueError(f"there is no source in slot {slot}")
