"""Each guard alone: what it drops, and what it must let pass."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from services.stt.engines.whisper import guards
from services.stt.engines.whisper.guards import Evidence
from tests.services.stt.conftest import Say

RATE_HZ = 16_000
SPEECH = Evidence("What is the weather like?", 0.02, -0.25, 2.0, -25.0, 18.0)


def noise(seconds: float, level_dbfs: float = -25.0) -> NDArray[np.float32]:
    sound = np.random.default_rng(0).standard_normal(round(seconds * RATE_HZ)) * 10 ** (level_dbfs / 20)
    return sound.astype(np.float32)


def tone(seconds: float, hz: float = 440.0) -> NDArray[np.float32]:
    return (0.2 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)).astype(np.float32)


def with_(**changes: object) -> Evidence:
    fields = {name: getattr(SPEECH, name) for name in Evidence.__slots__}
    return Evidence(**(fields | changes))


def test_speech_passes_every_guard() -> None:
    assert guards.verdict(SPEECH) == ""


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (with_(level_dbfs=-80.0), "silence"),
        (with_(no_speech_probability=0.9, average_log_probability=-0.8), "no_speech"),
        (with_(variation_db=0.5), "steady_sound"),
        (with_(text="la la la " * 40, duration_s=20.0), "repetitive"),
        (with_(average_log_probability=-1.5), "improbable"),
        (with_(text="one two three four five six seven eight nine ten", duration_s=0.2), "too_fast"),
        (with_(text="Thanks for watching!", no_speech_probability=0.4), "phantom"),
    ],
)
def test_each_guard_gives_its_own_reason(evidence: Evidence, reason: str) -> None:
    assert guards.verdict(evidence) == reason


def test_a_model_that_is_sure_of_its_text_is_believed_although_it_hears_little_speech() -> None:
    assert not guards.nobody_speaks(0.9, -0.2)


@pytest.mark.parametrize(
    "text", ["Thank you.", "Vielen Dank!", "ご視聴ありがとうございました", "Untertitel der Amara.org-Community"]
)
def test_a_phantom_is_dropped_only_where_other_evidence_is_weak(text: str) -> None:
    assert not guards.is_phantom(text, 0.02, -0.2, -25.0)
    assert guards.is_phantom(text, 0.4, -0.2, -25.0)
    assert guards.is_phantom(text, 0.02, -0.7, -25.0)
    assert guards.is_phantom(text, 0.02, -0.2, -60.0)


def test_a_sentence_with_a_phantoms_words_in_it_is_none() -> None:
    assert not guards.is_phantom("Thank you for the cup of coffee", 0.5, -0.9, -60.0)


@pytest.mark.parametrize(
    ("evidence", "is_worth_it"),
    [
        (SPEECH, False),
        (with_(average_log_probability=-1.5), True),
        (with_(text="la la la " * 40, duration_s=20.0), True),
        (with_(average_log_probability=-1.5, no_speech_probability=0.9), False),
        (with_(average_log_probability=-1.5, level_dbfs=-80.0), False),
        (with_(average_log_probability=-1.5, variation_db=0.5), False),
        (with_(average_log_probability=-1.5, text=" "), False),
    ],
)
def test_another_try_is_for_what_somebody_said_and_the_model_guessed(evidence: Evidence, is_worth_it: bool) -> None:
    assert guards.is_worth_another_try(evidence) == is_worth_it


def test_nobody_says_ten_words_in_a_moment_but_somebody_says_one() -> None:
    assert guards.is_too_fast("one two three four five six seven eight nine ten", 1.0)
    assert not guards.is_too_fast("Yes!", 0.1)
    assert not guards.is_too_fast("one two three four five six seven", 1.0)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("i think that i think that i think that", 3),
        ("so he said no no no no no no", 4),
        ("no no no", None),
        ("a b a b", None),
        ("what is the weather like in London", None),
        ("well yes " + "and then " * 30, 4),
        ("", None),
    ],
)
def test_a_loop_is_found_where_its_first_round_ends(text: str, end: int | None) -> None:
    assert guards.loop_at(text.split()) == end


@pytest.mark.parametrize("sound", [noise(2), noise(2, -45.0), tone(2), tone(1, 3000.0)])
def test_noise_and_tones_are_steady(sound: NDArray[np.float32]) -> None:
    level, variation = guards.level_of(np.concatenate([np.zeros(4000, np.float32), sound, np.zeros(4000, np.float32)]))
    assert guards.is_steady(variation)
    assert not guards.is_silent(level)


def test_speech_is_neither_steady_nor_silent_however_soft(say: Say) -> None:
    for gain in (1.0, 0.01):
        level, variation = guards.level_of(say("What is the weather like in London?") * np.float32(gain))
        assert not guards.is_steady(variation)
        assert not guards.is_silent(level)


def test_silence_is_silent() -> None:
    assert guards.is_silent(guards.level_of(np.zeros(16_000, np.float32))[0])
    assert guards.is_silent(guards.level_of(noise(1, -80.0))[0])


def test_of_a_very_short_sound_nobody_can_say_how_steady_it_is() -> None:
    for samples in (0, 100, 3200):
        assert guards.level_of(tone(samples / RATE_HZ))[1] == math.inf
