"""Sound alone moves the mouth: louder is wider, vowels differ, silence is rest."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.audio import samples_of_pcm16
from services.render.audio_visemes import AudioMotion
from services.render.blendshapes import INDEX
from services.render.requests import SAMPLE_RATES

JAW, PUCKER, STRETCH = INDEX["jawOpen"], INDEX["mouthPucker"], INDEX["mouthStretchLeft"]
# First and second formants in hertz, of a man's vowels.
FORMANTS = {"a": (750, 1200), "i": (280, 2250), "u": (310, 850)}


def vowel(kind: str, seconds: float, rate_hz: int, level: float = 0.3) -> NDArray[np.float32]:
    """Harmonics of 120 Hz through two resonances."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    sound = np.zeros_like(t)
    for k in range(1, 33):
        f = 120.0 * k
        gain = sum(1.0 / (1.0 + ((f - formant) / 90.0) ** 2) / (1 + n) for n, formant in enumerate(FORMANTS[kind]))
        sound += gain * np.sin(2 * np.pi * f * t)
    return np.asarray(sound / np.abs(sound).max() * level, np.float32)


def silence(seconds: float, rate_hz: int) -> NDArray[np.float32]:
    return np.zeros(round(seconds * rate_hz), np.float32)


def heard(samples: NDArray[np.float32], rate_hz: int, piece: int = 0) -> AudioMotion:
    motion = AudioMotion(rate_hz)
    for start in range(0, len(samples), piece or len(samples)):
        motion.push(samples[start : start + (piece or len(samples))])
    motion.finish()
    return motion


@pytest.mark.parametrize("rate_hz", SAMPLE_RATES)
def test_vowels_differ_as_mouths_do(rate_hz: int) -> None:
    a, i, u = (heard(vowel(kind, 0.6, rate_hz), rate_hz).at(0.3).weights for kind in "aiu")
    assert a[JAW] > 0.3
    assert a[JAW] > 1.3 * max(i[JAW], u[JAW])
    assert i[STRETCH] > 0.2 > u[STRETCH]
    assert u[PUCKER] > 0.3 > max(a[PUCKER], i[PUCKER])


def test_a_hiss_shows_teeth_and_does_not_open_the_jaw() -> None:
    noise = np.random.default_rng(0).normal(0, 1, 8000)
    hiss = (np.diff(np.diff(noise)) * 0.05).astype(np.float32)
    weights = heard(hiss, 16_000).at(0.25).weights
    assert weights[INDEX["mouthLowerDownLeft"]] > 0.25
    assert weights[JAW] < 0.12


def test_softer_sound_opens_less() -> None:
    loud_then_soft = np.concatenate([vowel("a", 0.5, 16_000, 0.5), vowel("a", 0.5, 16_000, 0.08)])
    motion = heard(loud_then_soft, 16_000)
    assert motion.at(0.75).weights[JAW] < 0.7 * motion.at(0.25).weights[JAW]


def test_silence_is_rest_exactly_and_the_mouth_shuts_within_150_ms() -> None:
    samples = np.concatenate([silence(0.5, 16_000), vowel("a", 0.4, 16_000), silence(1.0, 16_000)])
    motion = heard(samples, 16_000)
    for t in [*np.arange(0.0, 0.40, 0.01), *np.arange(1.05, 3.0, 0.01)]:
        assert not motion.at(float(t)).weights.any(), f"{t:.2f} s"


def test_a_quiet_room_does_not_move_the_mouth() -> None:
    hum = (np.random.default_rng(0).normal(0, 0.0006, 32_000)).astype(np.float32)
    motion = heard(hum, 16_000)
    assert not any(motion.at(t).weights.any() for t in np.arange(0, 2, 0.04))


def test_a_break_between_vowels_shuts_the_lips() -> None:
    samples = np.concatenate([vowel("a", 0.3, 16_000), silence(0.09, 16_000), vowel("a", 0.3, 16_000)])
    motion = heard(samples, 16_000)
    closures = [motion.at(t).closure for t in np.arange(0.2, 0.5, 0.01)]
    assert max(closures) > 0.9
    assert motion.at(0.15).closure == 0.0


@pytest.mark.parametrize("piece", [37, 320, 4000])
def test_pieces_of_any_length_sound_the_same(piece: int) -> None:
    samples = np.concatenate([vowel("a", 0.3, 16_000), vowel("i", 0.3, 16_000), vowel("u", 0.3, 16_000)])
    whole, pieces = heard(samples, 16_000), heard(samples, 16_000, piece)
    for t in np.arange(0.0, 1.0, 0.04):
        np.testing.assert_array_equal(whole.at(t).weights, pieces.at(t).weights)


@pytest.mark.data
@pytest.mark.parametrize("name", ["jfk.en.wav", "claire-neutral.en.wav", "sample.de.wav"])
def test_the_jaw_follows_the_loudness_of_real_speech(test_data: Path, name: str) -> None:
    with wave.open(str(test_data / "speech" / name)) as file:
        rate_hz = file.getframerate()
        samples = samples_of_pcm16(file.readframes(file.getnframes()))
    motion = heard(samples, rate_hz)
    times = np.arange(0.1, len(samples) / rate_hz - 0.1, 0.04)
    jaw = np.array([motion.at(t).weights[JAW] for t in times])
    reach = round(0.04 * rate_hz)
    loudness = [np.sqrt(np.mean(samples[int(t * rate_hz) - reach : int(t * rate_hz) + reach] ** 2)) for t in times]
    assert np.corrcoef(jaw, np.sqrt(loudness))[0, 1] > 0.7
    assert jaw.max() > 0.3
    # A mouth that moves, not one that trembles: no faster than lips can.
    assert np.abs(np.diff(jaw)).max() < 0.4
