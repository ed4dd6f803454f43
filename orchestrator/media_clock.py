"""The one clock of a conversation: audio ticks of 20 ms and video slots, both counted from the same instant."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

SAMPLE_RATE_HZ = 48_000
# WebRTC carries Opus in packets of 20 ms; anything else is held back or loses its timestamps on the way.
TICK_SAMPLES = 960
TICK_S = TICK_SAMPLES / SAMPLE_RATE_HZ


class MediaClock:
    """Media time: seconds since the clock was made, by a clock that never goes back."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._start_s = now()

    @property
    def media_s(self) -> float:
        """Seconds since the start."""
        return self._now() - self._start_s

    @property
    def tick(self) -> int:
        """The audio tick that is due now."""
        return int(self.media_s / TICK_S)

    async def sleep_until(self, media_s: float) -> None:
        """Return at a media time, or at once when it has passed."""
        wait_s = media_s - self.media_s
        if wait_s > 0:
            await asyncio.sleep(wait_s)
