"""Recordings of nobody: a buzz with the pitch, the syllables and the pauses of speech."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.common.audio import pcm16_of, wav_of

RATE_HZ = 24_000
_SYLLABLES_PER_S = 4.0
_HARMONICS = 8


def speech_like(
    seconds: float, *, pitch_hz: float = 130.0, peak: float = 0.5, noise: float = 0.001
) -> NDArray[np.float32]:
    """Four syllables, a pause, and so on. Returns: shape (n,), float32, at RATE_HZ.

    Args: peak: of the buzz, 0 to 1; noise: standard deviation of the background.
    """
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * pitch_hz * time_s
    buzz = np.sum([np.sin(number * phase) / number for number in range(1, _HARMONICS + 1)], axis=0)
    syllables = np.abs(np.sin(np.pi * _SYLLABLES_PER_S * time_s)) ** 0.5
    words = (time_s % 1.4) < 1.0
    speech = buzz / np.abs(buzz).max() * syllables * words * peak
    background = np.random.default_rng(1).normal(0, noise, len(time_s))
    return np.asarray(np.clip(speech + background, -1, 1), np.float32)


def wav(samples: NDArray[np.float32], rate_hz: int = RATE_HZ) -> bytes:
    """Samples as a file."""
    return wav_of(pcm16_of(samples), rate_hz)
