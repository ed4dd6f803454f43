"""The turn model hears what it was trained on, and tells an end from a pause."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from services.stt.turn_model import WINDOW_SAMPLES, SmartTurn, log_mel
from tests.services.stt.conftest import Say


def naive_column(sound: NDArray[np.float64], column: int) -> NDArray[np.float64]:
    """The mel energies of one column by the definitions, sample by sample. Args: sound: 8 s, normalised."""
    centre = column * 160
    window = [0.5 - 0.5 * np.cos(2 * np.pi * n / 400) for n in range(400)]
    frame = np.array([sound[abs(centre - 200 + n)] * window[n] for n in range(400)])
    powers = [abs(sum(frame * np.exp(-2j * np.pi * k * np.arange(400) / 400))) ** 2 for k in range(201)]

    def hz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    top = 15 + 27 * np.log(8) / np.log(6.4)
    energies = []
    for band in range(80):
        low, middle, high = (hz(top * (band + edge) / 81) for edge in range(3))
        weights = [
            max(0.0, min((40 * k - low) / (middle - low), (high - 40 * k) / (high - middle))) for k in range(201)
        ]
        energies.append(2 / (high - low) * float(np.dot(weights, powers)))
    return np.array(energies)


def test_the_features_are_whispers_log_mel() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, WINDOW_SAMPLES)
    features = log_mel(sound.astype(np.float32))
    normalised = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
    ceiling = features.max() * 4 - 4
    for column in (0, 1, 400, 797):
        logarithm = np.log10(np.maximum(naive_column(normalised, column), 1e-10))
        assert features[:, column] == pytest.approx((np.maximum(logarithm, ceiling - 8) + 4) / 4, abs=1e-3)


def test_short_sound_stands_at_the_end_of_8_s_of_silence() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    features = log_mel(sound)
    assert features.shape == (80, 800)
    assert features[:, 702:].min() > features[:, :698].max()


def test_of_long_sound_the_last_8_s_count() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 2 * WINDOW_SAMPLES).astype(np.float32)
    assert np.array_equal(log_mel(sound), log_mel(sound[WINDOW_SAMPLES:]))


def test_the_end_of_a_sentence_sounds_like_one(smart_turn: SmartTurn, say: Say) -> None:
    for text in ("Show me a happy face.", "Thank you very much for your help."):
        sound = np.concatenate([say(text), np.zeros(16_000 * 2 // 5, np.float32)])
        assert smart_turn.probability(sound) > 0.7, text


def test_an_answer_comes_from_another_thread(smart_turn: SmartTurn) -> None:
    assert 0 <= smart_turn.ask(np.zeros(16_000, np.float32)).result(timeout=30) <= 1


@pytest.mark.data
def test_the_pauses_of_a_real_sentence_are_no_end(
    smart_turn: SmartTurn, recorded: Callable[[str], NDArray[np.float32]]
) -> None:
    speech = recorded("jfk.en")
    # After "ask not" and after "what your country can do for you", 0.2 s into the pause.
    assert all(smart_turn.probability(speech[: round(end_s * 16_000)]) < 0.3 for end_s in (4.6, 7.85))
    assert smart_turn.probability(np.concatenate([speech, np.zeros(3200, np.float32)])) > 0.6
