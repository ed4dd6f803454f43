"""The mouth from sound alone: how loud it is opens the jaw, where its energy lies shapes the lips.

Source: the vowel triangle of the first two formants, after Peterson and Barney (1952), read from band energies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.render.blendshapes import INDEX, rest
from services.render.speech_motion import SILENT, MouthPose
from services.render.visemes import SHAPES, Viseme

_HOP_S = 0.01
_WINDOW_S = 0.025
# The mouth leads its sound a little, and hops are averaged over +-_SMOOTH hops.
_LEAD_S = 0.03
_SMOOTH = 6
_KERNEL = np.hanning(2 * _SMOOTH + 3)[1:-1].astype(np.float32)
# A hop is silent below this level, whatever the speaker's own level is.
_FLOOR_DB = -52.0
# Speech spans about this much between its loud vowels and its end.
_SPAN_DB = 28.0
_START_PEAK_DB = -22.0
# The reference falls by this much per second, so that a soft speaker opens the mouth too.
_PEAK_FALLS_DB_S = 3.0
# Hertz: first formant of closed and of open vowels, second formant of front vowels, fricatives.
_BANDS = ((90, 400), (400, 1000), (1000, 1700), (1700, 3400), (3600, 8000))


class AudioMotion:
    """The mouth of one utterance, heard in pieces."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._hop = round(_HOP_S * sample_rate_hz)
        self._window = np.hanning(round(_WINDOW_S * sample_rate_hz)).astype(np.float32)
        frequencies = np.fft.rfftfreq(len(self._window), 1 / sample_rate_hz)
        self._bands = np.array([(frequencies >= low) & (frequencies < high) for low, high in _BANDS], np.float32)
        # The window is centred on its hop: the first one begins before the sound does.
        self._waiting = np.zeros(len(self._window) // 2, np.float32)
        self._peak_db = _START_PEAK_DB
        self._weights: list[NDArray[np.float32]] = []
        self._levels: list[float] = []
        self._done = False

    def __bool__(self) -> bool:
        return bool(self._weights)

    def push(self, samples: NDArray[np.float32]) -> None:
        """Hear the next samples, shape (n,), in [-1, 1]."""
        samples = np.concatenate([self._waiting, samples])
        at = 0
        while at + len(self._window) <= len(samples):
            self._hear(samples[at : at + len(self._window)])
            at += self._hop
        self._waiting = samples[at:]

    def finish(self) -> None:
        """The utterance is over: hear the rest of it."""
        if not self._done:
            self._done = True
            self.push(np.zeros(len(self._window), np.float32))

    def _hear(self, frame: NDArray[np.float32]) -> None:
        spectrum = np.abs(np.fft.rfft(frame * self._window)) ** 2
        energy = self._bands @ spectrum.astype(np.float32) / (len(frame) * float(self._window.sum()) / 2)
        total = float(energy.sum()) + 1e-12
        level_db = 10.0 * np.log10(total)
        self._peak_db = max(self._peak_db - _PEAK_FALLS_DB_S * _HOP_S, level_db, _FLOOR_DB + _SPAN_DB * 0.6)
        loud = float(np.clip((level_db - self._peak_db + _SPAN_DB) / _SPAN_DB, 0.0, 1.0))
        if level_db < _FLOOR_DB:
            loud = 0.0
        low, first, middle, front, hiss = (float(e) / total for e in energy)
        noisy = float(np.clip((hiss - 0.25) / 0.4, 0.0, 1.0))
        opened = float(np.clip((first + middle) / (low + first + middle + 1e-9) * 1.5 - 0.2, 0.0, 1.0))
        # Front vowels have a strong second formant high up, rounded ones have next to nothing there.
        spread = float(np.clip(np.log10((front + 1e-4) / (low + first + 1e-4)) / 1.6 + 1.3, 0.0, 1.0))
        voiced = loud**1.4 * (1.0 - noisy)
        closed = 1.0 - opened
        weights = rest()
        for viseme, amount in (
            (Viseme.AA, opened),
            (Viseme.IH, closed * spread * 0.9),
            (Viseme.E, closed * spread * 0.3),
            (Viseme.OU, closed * (1.0 - spread) * 0.7),
            (Viseme.OH, closed * (1.0 - spread) * 0.25),
        ):
            weights += SHAPES[viseme] * np.float32(voiced * amount)
        weights += SHAPES[Viseme.SS] * np.float32(noisy * loud**0.7)
        # Whatever the vowel, louder is wider.
        weights[INDEX["jawOpen"]] = 0.8 * weights[INDEX["jawOpen"]] + 0.11 * voiced
        self._weights.append(np.clip(weights, 0.0, 1.0).astype(np.float32))
        self._levels.append(loud)

    def at(self, offset_s: float) -> MouthPose:
        """The mouth at a place of the utterance, in seconds from its start; at rest outside of it and in silence."""
        centre = round((offset_s + _LEAD_S) / _HOP_S)
        first, last = max(centre - _SMOOTH, 0), min(centre + _SMOOTH + 1, len(self._weights))
        if first >= last:
            return SILENT
        loudest = max(self._levels[first:last])
        if loudest == 0.0:
            return SILENT
        share = _KERNEL[first - centre + _SMOOTH : last - centre + _SMOOTH] / _KERNEL.sum()
        weights = share @ np.stack(self._weights[first:last])
        closure = float(share @ np.array([self._dip(hop) for hop in range(first, last)]))
        weights = weights * (1.0 - closure) + SHAPES[Viseme.PP] * np.float32(closure)
        return MouthPose(np.asarray(weights, np.float32), closure, float(share @ np.array(self._levels[first:last])))

    def _dip(self, centre: int) -> float:
        """How much the sound breaks off between two loud stretches, 0 to 1: lips or tongue have shut the mouth."""
        here = self._levels[max(centre - 1, 0) : centre + 2]
        before, after = self._levels[max(centre - 14, 0) : max(centre - 3, 0)], self._levels[centre + 4 : centre + 15]
        if not here or not before or not after:
            return 0.0
        around = min(max(before), max(after))
        return float(np.clip((around - 0.35) / 0.2, 0.0, 1.0) * np.clip((0.4 * around - min(here)) / 0.12, 0.0, 1.0))
