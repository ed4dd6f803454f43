"""Finds which moment of one voice's speech belongs to which moment of another's, of the same text."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HOP_S = 0.01
_WINDOW_S = 0.025
_BANDS = 26
_LOWEST_HZ, _HIGHEST_HZ = 100.0, 7000.0
_CEPSTRA = 13
# What is this much softer than the loudest frame counts as silence, which sounds alike in every recording.
_SILENCE_DB = 45.0
# A peak below this is no speech yet, but what comes before it.
_SOFTEST_SPEECH = 0.05
_LEAST_VARIANCE = 1e-6
# How many frames of its own outweigh what a recording was expected to be like.
_EXPECTED_FRAMES = 50.0
# Frames by which the reference moves on for one frame of the speech, and what such a step costs: it may be spoken at
# half the pace, at twice the pace, and in a pause at any.
_STEPS = (0, 1, 2, 3)
_STEP_COSTS = (0.3, 0.0, 0.2, 0.6)
# A frame may be this far from an anchor for nothing; from there on it costs by its distance, up to a limit.
_ANCHOR_SLACK = 6
_ANCHOR_COST, _MAX_ANCHOR_COST = 0.8, 12.0


@functools.cache
def _mel_filters(size: int, rate_hz: int) -> NDArray[np.float32]:
    """Triangles on the mel scale. Returns: (bands, size // 2 + 1)."""
    lowest, highest = (2595.0 * math.log10(1.0 + hz / 700.0) for hz in (_LOWEST_HZ, _HIGHEST_HZ))
    edges_mel = np.linspace(lowest, highest, _BANDS + 2)
    edges_hz = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    bins_hz = np.arange(size // 2 + 1) * rate_hz / size
    low, middle, high = (edges_hz[k : k + _BANDS, None] for k in range(3))
    rising, falling = (bins_hz - low) / (middle - low), (high - bins_hz) / (high - middle)
    return np.asarray(np.clip(np.minimum(rising, falling), 0.0, None), np.float32)


@functools.cache
def _cosines() -> NDArray[np.float32]:
    """The discrete cosine transform of type 2. Returns: (bands, cepstra)."""
    bands, cepstra = np.arange(_BANDS)[:, None], np.arange(_CEPSTRA)[None, :]
    return np.asarray(np.cos(np.pi / _BANDS * (bands + 0.5) * cepstra) * np.sqrt(2.0 / _BANDS), np.float32)


def cepstra_of(samples: NDArray[np.float32], rate_hz: int, loudest: float = 0.0) -> NDArray[np.float32]:
    """Mel cepstra and their slopes, one frame for each `HOP_S`.

    Args:
        samples: shape (n,), in [-1, 1].
        loudest: the peak of the whole recording where these are a part of it; they count where they are louder.
    Returns: shape (ceil(n / hop), features); at least one frame.
    Source: Davis and Mermelstein, 1980.
    """
    hop, window = round(HOP_S * rate_hz), round(_WINDOW_S * rate_hz)
    count = max(-(-len(samples) // hop), 1)
    padded = np.pad(samples, (window // 2, count * hop + window - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[: count * hop : hop]
    size = 1 << (window - 1).bit_length()
    spectra = np.abs(np.fft.rfft(frames * np.hanning(window).astype(np.float32), size)) ** 2
    # The same for a recording at any rate: the mean over the bins of a band, for a window of length 1.
    filters = _mel_filters(size, rate_hz)
    energies = spectra.astype(np.float32) @ (filters / filters.sum(axis=1, keepdims=True)).T / window
    peak = max(float(np.abs(samples).max(initial=0.0)), loudest, _SOFTEST_SPEECH)
    floor = peak**2 * 10.0 ** (-_SILENCE_DB / 10.0)
    cepstra = np.log(np.maximum(energies, floor) / peak**2) @ _cosines()  # (frames, cepstra)
    slopes = np.gradient(cepstra, axis=0) if count > 1 else np.zeros_like(cepstra)
    return np.concatenate([cepstra, slopes], axis=1)


class Normaliser:
    """Brings features to mean 0 and deviation 1, as far as they are known."""

    def __init__(self, expected: NDArray[np.float32] | None = None) -> None:
        """Args: expected: (frames, features) of a recording that they may be like; None for no expectation."""
        self._count = 0.0
        self._sum: NDArray[np.float64] | float = 0.0
        self._squares: NDArray[np.float64] | float = 0.0
        if expected is not None:
            self.learn(expected)
            share = _EXPECTED_FRAMES / self._count
            self._count, self._sum, self._squares = _EXPECTED_FRAMES, self._sum * share, self._squares * share

    def learn(self, features: NDArray[np.float32]) -> None:
        """Take frames into account. Args: features: (frames, features)."""
        self._count += len(features)
        self._sum = self._sum + features.sum(axis=0, dtype=np.float64)
        self._squares = self._squares + (features.astype(np.float64) ** 2).sum(axis=0)

    def apply(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns: as many, normalised by all that was learnt."""
        mean = self._sum / max(self._count, 1.0)
        variance = np.maximum(self._squares / max(self._count, 1.0) - mean**2, _LEAST_VARIANCE)
        return np.asarray((features - mean) / np.sqrt(variance), np.float32)


@dataclass(frozen=True, slots=True)
class Pin:
    """That a frame of the speech is about a frame of the reference."""

    frame: int
    reference: int


def align(
    speech: NDArray[np.float32], reference: NDArray[np.float32], pins: Sequence[Pin] = (), *, is_whole: bool = True
) -> NDArray[np.int64]:
    """For each frame of the speech the frame of the reference that it is, never one before that of the frame before.

    Args:
        speech: (n, features).
        reference: (m, features).
        pins: hints that may be wrong.
        is_whole: whether the speech ends where the reference does; else it ends where it fits best.
    Returns: shape (n,), frames of the reference.
    Source: dynamic time warping by Viterbi's algorithm, Sakoe and Chiba, 1978.
    """
    length, size = len(speech), len(reference)
    # The mean over features of the squared difference, about 2 for frames that have nothing to do with each other.
    costs = (speech**2).mean(axis=1)[:, None] + (reference**2).mean(axis=1)[None, :]
    costs -= 2.0 / speech.shape[1] * (speech @ reference.T)
    places = np.arange(size)
    for pin in pins:
        if 0 <= pin.frame < length:
            distance = np.abs(places - pin.reference) - _ANCHOR_SLACK
            costs[pin.frame] += np.clip(distance * _ANCHOR_COST, 0.0, _MAX_ANCHOR_COST)
    steps = np.zeros((length, size), np.int8)
    best = np.full(size, np.inf, np.float32)
    best[0] = costs[0, 0]
    candidates = np.full((len(_STEPS), size), np.inf, np.float32)
    for frame in range(1, length):
        for step, step_cost in zip(_STEPS, _STEP_COSTS, strict=True):
            np.add(best[: max(size - step, 0)], step_cost, out=candidates[step, step:])
        chosen = candidates.argmin(axis=0)
        steps[frame] = chosen
        best = candidates[chosen, places] + costs[frame]
    path = np.zeros(length, np.int64)
    # Speech that is far too short cannot reach the end.
    path[-1] = size - 1 if is_whole and np.isfinite(best[-1]) else int(np.argmin(best))
    for frame in range(length - 1, 0, -1):
        path[frame - 1] = path[frame] - steps[frame, path[frame]]
    return path
