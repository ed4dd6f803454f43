"""Sounds that are no speech, and what telephones and loud microphones make of speech."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from tools.bench.speech import SAMPLE_RATE_HZ

Sound = NDArray[np.float32]
_TELEPHONE_HZ = 8_000
# Four chords in A minor, as MIDI notes.
_CHORDS = ((57, 60, 64), (53, 57, 60), (48, 52, 55), (55, 59, 62))


def cough(seed: int) -> Sound:
    """180 ms of noise with a sharp begin, as a cough has."""
    rng = np.random.default_rng(seed)
    n = int(0.18 * SAMPLE_RATE_HZ)
    envelope = np.exp(-np.linspace(0, 5, n)) * np.minimum(1, np.arange(n) / 200)
    return np.asarray(0.4 * rng.standard_normal(n) * envelope, np.float32)


def hum(seed: int) -> Sound:
    """280 ms of a closed-mouth hum, two partials of a voice."""
    n = int(0.28 * SAMPLE_RATE_HZ)
    t = np.arange(n) / SAMPLE_RATE_HZ
    pitch = 120 + 5 * (seed % 5)
    envelope = np.sin(np.pi * np.arange(n) / n) ** 0.5
    return np.asarray(
        0.2 * envelope * (np.sin(2 * np.pi * pitch * t) + 0.5 * np.sin(4 * np.pi * pitch * t)), np.float32
    )


def silence(seconds: float) -> Sound:
    """Nothing at all."""
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), np.float32)


def white_noise(seconds: float, level_db: float = -30.0, seed: int = 1) -> Sound:
    """Args: level_db: dBFS of its root mean square."""
    noise = np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE_HZ))
    return np.asarray(10 ** (level_db / 20) * noise, np.float32)


def tone(seconds: float, pitch_hz: float = 440.0) -> Sound:
    """One steady sine at -14 dBFS."""
    t = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return np.asarray(0.28 * np.sin(2 * np.pi * pitch_hz * t), np.float32)


def music(seconds: float) -> Sound:
    """Plucked chords, two in a second, each of three notes with five partials that die away."""
    out = np.zeros(round(seconds * SAMPLE_RATE_HZ), np.float64)
    step = SAMPLE_RATE_HZ // 2
    t = np.arange(step * 2) / SAMPLE_RATE_HZ
    for index, start in enumerate(range(0, len(out), step)):
        for note in _CHORDS[index // 2 % len(_CHORDS)]:
            pitch = 440.0 * 2 ** ((note - 69) / 12)
            pluck = sum(np.sin(2 * np.pi * pitch * k * t) * np.exp(-3.0 * k * t) / k for k in range(1, 6))
            out[start : start + len(t)] += 0.08 * np.asarray(pluck)[: len(out) - start]
    return out.astype(np.float32)


def clipped(speech: Sound, gain: float = 20.0) -> Sound:
    """Speech into a microphone that is turned up far too high."""
    return np.asarray(np.clip(gain * speech, -1.0, 1.0), np.float32)


def by_telephone(speech: Sound) -> Sound:
    """Speech as narrow as 8000 Hz and 8 bits of mu-law leave it (ITU-T G.711)."""
    narrow = np.clip(soxr.resample(speech, SAMPLE_RATE_HZ, _TELEPHONE_HZ), -1.0, 1.0)
    mu = 255.0
    coded = np.round(np.sign(narrow) * np.log1p(mu * np.abs(narrow)) / np.log1p(mu) * 127) / 127
    decoded = np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(mu)) / mu
    return np.asarray(soxr.resample(decoded.astype(np.float32), _TELEPHONE_HZ, SAMPLE_RATE_HZ), np.float32)
