"""What a living face does without being told: blinks, sways, breathes and lets its eyes wander."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

import numpy as np

from services.render.engine import HeadPose

# Seconds from one blink to the next, and how long one takes.
BLINK_EVERY_S = (2.0, 6.0)
BLINK_LASTS_S = (0.14, 0.19)
# Lids stay shut for one frame at 25 frames per second, so that every blink is seen.
_SHUT_S = 0.042
_CLOSING_SHARE = 0.4
_FIXATION_S = (0.6, 2.6)
_SACCADE_S = 0.04
# Degrees of one standard deviation: eyes rest near the viewer's.
_WANDER = (1.6, 0.8)
# (periods in seconds, degrees each): no period is a multiple of another, so that no motion repeats.
_YAW = ((13.7, 1.0), (7.3, 0.6), (3.1, 0.22))
_PITCH = ((11.9, 0.5), (5.3, 0.35))
_ROLL = ((17.1, 0.55), (6.7, 0.3))
_BREATH_S, _BREATH = 4.1, 0.28
# From when on the eyes rest where: seconds, degrees of yaw, degrees of pitch.
_Fixation = tuple[float, float, float]
# The loop: long enough that nobody waits for its blinks, short enough to be kept for many faces.
LOOP_S, LOOP_RATE_HZ = 10.0, 25
LOOP_FRAMES = round(LOOP_S * LOOP_RATE_HZ)
# (waves in a loop, degrees, phase): whole numbers of waves, so that its end meets its beginning.
_LOOP_YAW = ((1, 0.9, 0.4), (2, 0.5, 2.1), (3, 0.22, 4.0))
_LOOP_PITCH = ((1, 0.4, 1.3), (2, 0.35, 5.1))
_LOOP_ROLL = ((1, 0.5, 3.3), (2, 0.25, 0.9))
_LOOP_BREATH = ((2, _BREATH, 0.0),)
# When each blink begins and how long it lasts; the way round from the last to the first is one of BLINK_EVERY_S too.
_LOOP_BLINKS = ((1.52, 0.16), (4.72, 0.18), (7.36, 0.15))
# The last is the first again.
_LOOP_FIXATIONS: tuple[_Fixation, ...] = (
    (0.0, 0.3, -0.2),
    (0.88, -1.2, 0.3),
    (2.52, 1.6, 0.1),
    (3.56, 0.2, -0.7),
    (5.4, -0.4, 0.5),
    (6.44, -2.1, -0.1),
    (7.4, 0.9, 0.2),
    (9.12, 0.3, -0.2),
)
# Every hour begins anew, so that a caller's clock that jumps ahead by a year costs no more than one of them.
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Idle:
    """Idle motion at one moment: lids (0 open, 1 shut), eyes and head in degrees."""

    blink: float
    gaze_yaw: float
    gaze_pitch: float
    pose: HeadPose


class _Hour:
    """The blinks and glances of one hour, made as far as they are asked for; times count from its beginning."""

    def __init__(self, seed: int, hour: int) -> None:
        self._blink_rng, self._eyes_rng = np.random.default_rng([seed, hour]).spawn(2)
        self._blinks: list[tuple[float, float]] = []
        self._next_blink_s = float(self._blink_rng.uniform(1.0, BLINK_EVERY_S[1] / 2))
        self._fixations: list[_Fixation] = [(0.0, 0.0, 0.0)]

    def blink(self, time_s: float) -> float:
        """How far the lids are shut, 0 to 1."""
        while self._next_blink_s <= time_s:
            self._blinks.append((self._next_blink_s, float(self._blink_rng.uniform(*BLINK_LASTS_S))))
            self._next_blink_s += float(self._blink_rng.uniform(*BLINK_EVERY_S))
        index = bisect.bisect_right(self._blinks, (time_s, math.inf)) - 1
        return _lids(time_s - self._blinks[index][0], self._blinks[index][1]) if index >= 0 else 0.0

    def gaze(self, time_s: float) -> tuple[float, float]:
        """Yaw and pitch of the eyes in degrees."""
        while self._fixations[-1][0] <= time_s:
            start = self._fixations[-1][0] + float(self._eyes_rng.uniform(*_FIXATION_S))
            yaw, pitch = self._eyes_rng.normal(0.0, _WANDER)
            self._fixations.append((start, float(np.clip(yaw, -4, 4)), float(np.clip(pitch, -2, 2))))
        index = bisect.bisect_right(self._fixations, (time_s, math.inf, math.inf)) - 1
        return _glance(time_s, self._fixations[max(index - 1, 0)], self._fixations[index])


def _lids(t: float, lasts: float) -> float:
    """How far the lids are shut, 0 to 1, `t` seconds after a blink began that lasts `lasts` seconds."""
    moving = lasts - _SHUT_S
    closing = moving * _CLOSING_SHARE
    # Lids fall faster than they rise.
    if t < closing:
        return math.sin(t / closing * math.pi / 2) ** 2
    opening = (t - closing - _SHUT_S) / (moving - closing)
    if opening <= 0.0:
        return 1.0
    return math.cos(min(opening, 1.0) * math.pi / 2) ** 2 if opening < 1.0 else 0.0


def _glance(time_s: float, before: _Fixation, fixation: _Fixation) -> tuple[float, float]:
    """Yaw and pitch of the eyes, on their way from one fixation to the next or resting there."""
    start, yaw, pitch = fixation
    t = min((time_s - start) / _SACCADE_S, 1.0)
    return before[1] + (yaw - before[1]) * t, before[2] + (pitch - before[2]) * t


class IdleMotion:
    """The same seed gives the same motion, whatever moments are asked for and in whatever order."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._number, self._hour = 0, _Hour(seed, 0)
        self._phases = np.random.default_rng(seed).uniform(0.0, 2 * math.pi, len(_YAW) + len(_PITCH) + len(_ROLL) + 1)

    def at(self, time_s: float) -> Idle:
        """Idle motion `time_s` seconds after the start, 0 or more."""
        number, within_s = divmod(time_s, _HOUR_S)
        if int(number) != self._number:
            self._number, self._hour = int(number), _Hour(self._seed, int(number))
        gaze_yaw, gaze_pitch = self._hour.gaze(within_s)
        return Idle(self._hour.blink(within_s), gaze_yaw, gaze_pitch, self._pose(time_s))

    def _pose(self, time_s: float) -> HeadPose:
        waves = iter(self._phases)

        def sway(parts: tuple[tuple[float, float], ...]) -> float:
            return sum(size * math.sin(2 * math.pi * time_s / period + next(waves)) for period, size in parts)

        yaw, pitch, roll = sway(_YAW), sway(_PITCH), sway(_ROLL)
        return HeadPose(yaw, pitch + sway(((_BREATH_S, _BREATH),)), roll)


class IdleLoop:
    """Idle motion that comes again every LOOP_S, so that it can be drawn once and played; each stream has its phase."""

    def __init__(self, seed: int) -> None:
        # A whole number of frames: a stream at the loop's rate shows them exactly.
        self._phase_s = int(np.random.default_rng(seed).integers(LOOP_FRAMES)) / LOOP_RATE_HZ

    def position_s(self, time_s: float) -> float:
        """The place in the loop that is shown `time_s` seconds after the start of the stream, 0 to LOOP_S."""
        return (time_s + self._phase_s) % LOOP_S

    def at(self, time_s: float) -> Idle:
        """Idle motion `time_s` seconds after the start of the stream, 0 or more."""
        return loop_motion(self.position_s(time_s))


def loop_motion(position_s: float) -> Idle:
    """Idle motion at a place of the loop, 0 to LOOP_S seconds."""
    blink = max((_lids(position_s - start, lasts) for start, lasts in _LOOP_BLINKS if start <= position_s), default=0.0)
    index = bisect.bisect_right(_LOOP_FIXATIONS, (position_s, math.inf, math.inf)) - 1
    yaw, pitch = _glance(position_s, _LOOP_FIXATIONS[index - 1], _LOOP_FIXATIONS[index])

    def sway(parts: tuple[tuple[int, float, float], ...]) -> float:
        turn = 2 * math.pi * position_s / LOOP_S
        return sum(size * math.sin(waves * turn + phase) for waves, size, phase in parts)

    return Idle(blink, yaw, pitch, HeadPose(sway(_LOOP_YAW), sway(_LOOP_PITCH) + sway(_LOOP_BREATH), sway(_LOOP_ROLL)))
