"""How much an engine can draw: what its batches cost, and how often each face may be drawn so that all are in time."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

# Frames per second that a face may have, from calm to crowded: contract's highest rate, and the steps down from it.
RATES_HZ = (30, 25, 15, 12)
# What live faces may take of an engine; the rest is for files, for stills and for what nobody foresaw.
HEADROOM = 0.85
# A face that was not drawn for so long takes nothing: its idle loop plays, or its caller asks for no frames.
ACTIVE_S = 1.0
# A higher rate must have fitted for so long before it is given back, so that rates do not flap.
RAISE_AFTER_S = 5.0
# One slow batch says little, and a machine that became slower shows within a second.
_REMEMBERED = 15
# How the cost of a batch grows with its size where it was not measured.
_ASSUMED_POWER = 0.9


class Costs:
    """What a draw of n frames takes, by what the last ones took. One thread observes, any may ask."""

    def __init__(self, batch_sizes: tuple[int, ...]) -> None:
        """Args: batch_sizes: as in `Capabilities`."""
        self._sizes = batch_sizes
        self._seen: dict[int, deque[float]] = {}
        # Replaced as a whole: another thread may be reading.
        self._median_s: dict[int, float] = {}
        self.forget()

    @property
    def max_batch(self) -> int:
        """The most frames of one draw."""
        return self._sizes[-1]

    def forget(self) -> None:
        """The engine draws in another way from now on."""
        self._seen = {size: deque(maxlen=_REMEMBERED) for size in self._sizes}
        self._median_s = {}

    def padded(self, count: int) -> int:
        """How many frames a draw of `count` has room for."""
        return next(size for size in self._sizes if size >= count)

    def measured(self, count: int, seconds: float) -> None:
        """A draw of `count` frames takes so long now, whatever the last ones took."""
        self._seen[self.padded(count)].clear()
        self.observe(count, seconds)

    def observe(self, count: int, seconds: float) -> None:
        """A draw of `count` frames took so long."""
        size = self.padded(count)
        self._seen[size].append(seconds)
        self._median_s = self._median_s | {size: statistics.median(self._seen[size])}

    def of(self, count: int) -> float:
        """Seconds that a draw of `count` frames will take; 0 before anything was measured."""
        size, median_s = self.padded(count), self._median_s
        if size in median_s:
            return median_s[size]
        # No more than a larger one, and less than so many smaller ones: batches pay, or nobody would measure one.
        smaller = [known for known in median_s if known < size]
        larger = [known for known in median_s if known > size]
        if smaller:
            return float(median_s[max(smaller)] * (size / max(smaller)) ** _ASSUMED_POWER)
        return median_s[min(larger)] if larger else 0.0

    @property
    def frames_per_s(self) -> float:
        """The most that the engine draws in a second; infinity before anything was measured."""
        return max((size / max(spent_s, 1e-9) for size, spent_s in self._median_s.items()), default=math.inf)


@dataclass(slots=True)
class _Member:
    asked_hz: int
    drawn_s: float


class Capacity:
    """Who is drawn by an engine, and at which rate: fewer frames for all before there is no room for one more.

    Only faces that are drawn now count for the rate, but one more is let in only where all would fit at the lowest.
    """

    def __init__(self, frames_per_s: Callable[[], float]) -> None:
        """Args: frames_per_s: the most that the engine draws now."""
        self._frames_per_s = frames_per_s
        self._members: dict[int, _Member] = {}
        self._step_hz = RATES_HZ[0]
        # Since when a higher rate would fit, and the highest that always did.
        self._fits_since_s: float | None = None
        self._fits_hz = 0

    @property
    def _room(self) -> float:
        return HEADROOM * self._frames_per_s()

    @property
    def faces(self) -> int:
        """How many faces are in."""
        return len(self._members)

    @property
    def step_hz(self) -> int:
        """The most frames per second that a face has now."""
        return self._step_hz

    def admit(self, key: int, asked_hz: int, now_s: float) -> bool:
        """Let a face in. Args: asked_hz: its own rate. Returns: False if there is no room, even at the lowest rate."""
        others = sum(min(member.asked_hz, RATES_HZ[-1]) for member in self._members.values())
        if others + min(asked_hz, RATES_HZ[-1]) > self._room:
            return False
        self.join(key, asked_hz, now_s)
        return True

    def join(self, key: int, asked_hz: int, now_s: float) -> None:
        """Let a face in that has nowhere else to go, whether there is room or not."""
        self._members[key] = _Member(asked_hz, now_s)

    def leave(self, key: int) -> None:
        """A face is gone; one that was never in is no mistake."""
        self._members.pop(key, None)

    def rate_hz(self, key: int, now_s: float) -> int:
        """How many frames per second a face may have now."""
        self._adapt(now_s)
        return min(self._members[key].asked_hz, self._step_hz)

    def drew(self, key: int, now_s: float) -> None:
        """A face asked the engine for a frame."""
        self._members[key].drawn_s = now_s

    def _demand(self, step_hz: int, now_s: float) -> float:
        active = (member for member in self._members.values() if now_s - member.drawn_s < ACTIVE_S)
        return sum(min(member.asked_hz, step_hz) for member in active)

    def _adapt(self, now_s: float) -> None:
        fitting = next((step for step in RATES_HZ if self._demand(step, now_s) <= self._room), RATES_HZ[-1])
        if fitting <= self._step_hz:
            self._step_hz, self._fits_since_s = fitting, None
        elif self._fits_since_s is None:
            self._fits_since_s, self._fits_hz = now_s, fitting
        else:
            self._fits_hz = min(self._fits_hz, fitting)
            if now_s - self._fits_since_s >= RAISE_AFTER_S:
                self._step_hz, self._fits_since_s = self._fits_hz, None
