"""The engine's speakers, each with a thread of its own, lent to one call at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.common.errors import OverloadedError
from services.common.inference import InferenceThread
from services.tts.engine import Speaker

# A call that was cut off leaves its last chunk to the thread, and the next call queues behind it.
_MAX_PENDING_CALLS = 4


@dataclass(frozen=True, slots=True)
class Slot:
    """A speaker and the only thread that may use it."""

    speaker: Speaker
    thread: InferenceThread


class Slots:
    """As many calls at once as there are speakers."""

    def __init__(self, speakers: Sequence[Speaker]) -> None:
        self._all = tuple(
            Slot(speaker, InferenceThread(f"speaker-{number}", _MAX_PENDING_CALLS))
            for number, speaker in enumerate(speakers)
        )
        self._free = list(self._all)

    def all(self) -> tuple[Slot, ...]:
        """Every slot, lent or not."""
        return self._all

    @contextlib.contextmanager
    def lend(self) -> Iterator[Slot]:
        """A slot for one call. Raises: OverloadedError if none is free."""
        if not self._free:
            raise OverloadedError(f"all {len(self._all)} streams are taken", limit=f"max_streams={len(self._all)}")
        slot = self._free.pop()
        try:
            yield slot
        finally:
            self._free.append(slot)

    def close(self) -> None:
        """End the threads; no call may be running."""
        for slot in self._all:
            slot.thread.close()
