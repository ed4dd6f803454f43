"""From the visemes of an utterance to the mouth at any moment: co-articulation.

Source: dominance blending after Cohen and Massaro, "Modeling coarticulation in synthetic visual speech" (1993), with
closures taken out of the blend, because an average would leave the lips of a quick p apart.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from services.common.errors import InvalidRequestError
from services.render.blendshapes import Weights, rest
from services.render.visemes import CLOSURES, DOMINANCE, SHAPES, Viseme

# Half of the window over which neighbouring shapes blend into each other.
_BLEND_S = 0.055
# Lips move before the sound: a shape is half reached this early, and so begins LEAD_S + _BLEND_S ahead.
LEAD_S = 0.02
# How far the last shape outlasts its sound.
_TRAIL_S = 0.02
# How long lips take to meet, and to part; never so long that a quick vowel between two closures is lost.
_CLOSING_S, _PARTING_S, _LONGEST_SHARE = 0.06, 0.05, 0.4
# Lips meet a little before the sound stops, and part before its end: a p is half breath.
_EARLY_S, _PARTED_SHARE = 0.015, 0.25
# Everything that can move the mouth at one moment lies within this time after it.
LOOK_AHEAD_S = 0.2
MAX_CUES = 50_000
# Shapes that begin within a tenth of a second: speech at double pace has six. Each of them is work for every frame.
MAX_CUES_AT_ONCE, AT_ONCE_S = 64, 0.1


@dataclass(frozen=True, slots=True)
class VisemeCue:
    """A mouth shape and when it is heard, in seconds from the start of the utterance; `weight` from 0 to 1."""

    viseme: Viseme
    start_s: float
    end_s: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class MouthPose:
    """The mouth at one moment.

    Attributes:
        weights: shape (52,), ARKit weights of the mouth only.
        closure: 0 to 1, how far the lips (or lip and teeth) must meet now, whatever else the face does.
        activity: 0 to 1, how much is being spoken.
    """

    weights: Weights
    closure: float = 0.0
    activity: float = 0.0


SILENT = MouthPose(rest())


@dataclass(frozen=True, slots=True)
class _Hold:
    """A closure and the time during which it is fully reached."""

    begin_s: float
    end_s: float
    viseme: Viseme


def _ease(t: float) -> float:
    t = min(max(t, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


def _window(x: float) -> float:
    """The integral of the blending window (raised cosine) from its beginning to x, 0 to 1."""
    t = x / _BLEND_S
    if abs(t) >= 1.0:
        return 0.0 if t < 0 else 1.0
    return 0.5 + t / 2 + math.sin(math.pi * t) / (2 * math.pi)


class SpeechMotion:
    """The mouth of one utterance, whose visemes may arrive in pieces."""

    def __init__(self, frame_interval_s: float = 0.04) -> None:
        """Args: frame_interval_s: a closure is held this long at least, so that one frame at any phase shows it."""
        self._hold_s = frame_interval_s + 0.002
        # Shapes in order, silence between them included: each begins where the one before ends.
        self._starts: list[float] = []
        self._visemes: list[Viseme] = []
        self._weights: list[float] = []
        self._end_s = 0.0
        self._last_start_s = 0.0
        self._holds: list[_Hold] = []
        self._hold_begins: list[float] = []

    @property
    def end_s(self) -> float:
        """Where the last viseme ends, in seconds from the start of the utterance."""
        return self._end_s

    def __bool__(self) -> bool:
        return bool(self._starts)

    def add(self, cues: Iterable[VisemeCue]) -> None:
        """Append visemes. Raises: InvalidRequestError if one is out of order, or if there are more than MAX_CUES."""
        for cue in cues:
            self._check(cue)
            if cue.start_s > self._end_s + 1e-6 or not self._starts:
                self._begin(Viseme.SIL, self._end_s + (_TRAIL_S if self._starts else 0.0), 1.0)
            if cue.viseme is Viseme.SIL:
                # Speech is followed by rest a little later than its sound, and preceded by motion.
                self._begin(Viseme.SIL, cue.start_s + _TRAIL_S, 1.0)
            else:
                self._begin(cue.viseme, cue.start_s - LEAD_S, cue.weight)
            if cue.viseme in CLOSURES:
                self._close(cue)
            self._last_start_s = cue.start_s
            self._end_s = max(self._end_s, cue.end_s)

    def _check(self, cue: VisemeCue) -> None:
        if cue.end_s < cue.start_s or cue.start_s < 0:
            raise InvalidRequestError(
                f"a viseme from {cue.start_s:.3f} s to {cue.end_s:.3f} s cannot be; it ends where it starts or later"
            )
        if cue.start_s < self._last_start_s - 1e-6:
            raise InvalidRequestError(
                f"a viseme at {cue.start_s:.3f} s came after one at {self._last_start_s:.3f} s; send them in order"
            )
        if len(self._starts) >= MAX_CUES:
            raise InvalidRequestError(f"an utterance has at most {MAX_CUES} visemes; split it")
        if len(self._starts) >= MAX_CUES_AT_ONCE and cue.start_s - self._starts[-MAX_CUES_AT_ONCE] < AT_ONCE_S:
            raise InvalidRequestError(
                f"more than {MAX_CUES_AT_ONCE} visemes begin within {AT_ONCE_S:g} s of {cue.start_s:.3f} s; "
                "no mouth moves so fast"
            )

    def _begin(self, viseme: Viseme, start_s: float, weight: float) -> None:
        if self._starts:
            start_s = max(start_s, self._starts[-1])
        self._starts.append(start_s)
        self._visemes.append(viseme)
        self._weights.append(weight)

    def _close(self, cue: VisemeCue) -> None:
        end = cue.end_s - _PARTED_SHARE * (cue.end_s - cue.start_s)
        begin = min(cue.start_s - _EARLY_S, end - self._hold_s)
        # No frame shows what is before the utterance; two closures one upon the other (an f after a p) get one each.
        earliest = self._holds[-1].end_s if self._holds else 0.0
        if begin < earliest:
            begin, end = earliest, max(end, earliest + self._hold_s)
        self._holds.append(_Hold(begin, end, cue.viseme))
        self._hold_begins.append(begin)

    def at(self, offset_s: float) -> MouthPose:
        """The mouth at a place of the utterance, in seconds from its start; at rest outside of it."""
        weights, activity = self._blend(offset_s)
        before, after = self._closing(offset_s)
        closure = 1.0 - (1.0 - before[1]) * (1.0 - after[1])
        if closure > 0.0:
            total = before[1] + after[1]
            shape = (SHAPES[before[0]] * before[1] + SHAPES[after[0]] * after[1]) / total
            weights = weights * (1.0 - closure) + shape * closure
        return MouthPose(np.asarray(weights, np.float32), closure, activity)

    def _blend(self, offset_s: float) -> tuple[Weights, float]:
        first = max(bisect.bisect_right(self._starts, offset_s - _BLEND_S) - 1, 0)
        last = bisect.bisect_left(self._starts, offset_s + _BLEND_S)
        total, spoken = 0.0, 0.0
        weights = rest()
        for k in range(first, last):
            begin = self._starts[k]
            is_last = k + 1 == len(self._starts)
            end = max(self._end_s + _TRAIL_S, begin) if is_last else self._starts[k + 1]
            share = _window(end - offset_s) - _window(begin - offset_s)
            viseme = self._visemes[k]
            if share <= 0.0 or viseme is Viseme.SIL:
                continue
            share *= float(DOMINANCE[viseme])
            total += share
            spoken += share
            weights += SHAPES[viseme] * np.float32(share * self._weights[k])
        # What is left of the window is silence.
        covered = self._covered(offset_s, first, last)
        total += 1.0 - covered
        if spoken == 0.0:
            return rest(), 0.0
        return np.asarray(weights / total, np.float32), min(spoken / total, 1.0)

    def _covered(self, offset_s: float, first: int, last: int) -> float:
        """The part of the window that speech fills, without dominance."""
        covered = 0.0
        for k in range(first, last):
            if self._visemes[k] is Viseme.SIL:
                continue
            is_last = k + 1 == len(self._starts)
            end = max(self._end_s + _TRAIL_S, self._starts[k]) if is_last else self._starts[k + 1]
            covered += _window(end - offset_s) - _window(self._starts[k] - offset_s)
        return min(covered, 1.0)

    def _closing(self, offset_s: float) -> tuple[tuple[Viseme, float], tuple[Viseme, float]]:
        """How far the closure behind still holds and how far the one ahead is reached, each 0 to 1."""
        index = bisect.bisect_right(self._hold_begins, offset_s) - 1
        behind = self._holds[index] if index >= 0 else None
        ahead = self._holds[index + 1] if index + 1 < len(self._holds) else None
        none = (Viseme.SIL, 0.0)
        if behind is not None and offset_s <= behind.end_s:
            return (behind.viseme, 1.0), none
        limit = math.inf
        if behind is not None and ahead is not None:
            limit = max(_LONGEST_SHARE * (ahead.begin_s - behind.end_s), 1e-3)
        opening, closing = none, none
        if behind is not None:
            opening = (behind.viseme, 1.0 - _ease((offset_s - behind.end_s) / min(_PARTING_S, limit)))
        if ahead is not None:
            closing = (ahead.viseme, _ease(1.0 - (ahead.begin_s - offset_s) / min(_CLOSING_S, limit)))
        return opening, closing
