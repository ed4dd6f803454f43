"""Turns as tables: a letter is 32 ms of sound, V voice, v a voice that fades, ? hardly one, . silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from services.stt.turn_detector import TurnDetector, TurnRules
from services.stt.vad import FRAME_SAMPLES

RULES = TurnRules(
    min_speech=3 * FRAME_SAMPLES,
    min_silence=5 * FRAME_SAMPLES,
    max_silence=20 * FRAME_SAMPLES,
    end_of_turn_threshold=0.6,
    eager_threshold=0.3,
    min_barge_in=11 * FRAME_SAMPLES,
)
PROBABILITIES = {"V": 0.95, "v": 0.4, "?": 0.2, ".": 0.02}
SPEECH = "V" * 20
# What happens to a sentence that is followed by silence, whatever the model says.
SENTENCE = [("SPEECH_STARTED", 0), ("SPEECH_ENDED", 20)]


def play(
    sound: str, answers: Mapping[int, float] | float = 0.0, assistant: str = "", rules: TurnRules = RULES
) -> list[tuple[str, int]]:
    """The events with the frame in which each happened.

    Args:
        answers: what the turn model says, by the frame in which it was asked; it answers one frame later.
        assistant: A where the assistant speaks.
    """
    turns = TurnDetector(rules)
    events = []
    asked_at = None
    for index, letter in enumerate(sound):
        turns.assistant(speaking=assistant[index : index + 1] == "A")
        if asked_at is not None:
            frame = asked_at // FRAME_SAMPLES
            answer = answers if isinstance(answers, float) else answers.get(frame, 0.0)
            events += turns.answer(asked_at, answer)
        events += turns.frame(PROBABILITIES[letter])
        asked_at = turns.position if turns.wants_answer else None
    return [(event.kind.name, event.at // FRAME_SAMPLES) for event in events]


@pytest.mark.parametrize(
    ("why", "sound"),
    [
        ("silence", "." * 100),
        ("a click of two frames", "..VV" + "." * 60),
        ("clicks, again and again", "VV..V.VV...." * 10),
        ("murmur below the threshold", "v" * 100),
    ],
)
def test_no_event_for(why: str, sound: str) -> None:
    assert play(sound, 1.0) == [], why


def test_speech_starts_where_its_first_frame_lies() -> None:
    assert play("...." + SPEECH) == [("SPEECH_STARTED", 4)]


def test_a_voice_that_fades_is_still_a_voice() -> None:
    assert play("VVVVV" + "v" * 30) == [("SPEECH_STARTED", 0)]


def test_a_sure_model_ends_the_turn_one_frame_after_it_is_first_asked() -> None:
    assert play(SPEECH + "." * 30, 0.9) == [*SENTENCE, ("END_OF_TURN", 25)]


def test_the_model_is_asked_again_while_the_silence_grows() -> None:
    assert play(SPEECH + "." * 30, {25: 0.1, 28: 0.2, 31: 0.7}) == [*SENTENCE, ("END_OF_TURN", 31)]


def test_the_model_is_not_asked_while_the_next_word_may_be_beginning() -> None:
    assert play(SPEECH + "...." + "?" * 4 + "." * 30, {25: 1.0, 26: 1.0, 27: 1.0, 28: 1.0, 29: 0.9}) == [
        *SENTENCE,
        ("END_OF_TURN", 29),
    ]


def test_a_long_silence_ends_the_turn_whatever_the_model_says() -> None:
    assert play(SPEECH + "." * 30, 0.0) == [*SENTENCE, ("END_OF_TURN", 40)]


@pytest.mark.parametrize(
    ("probability", "ends_at"), [(0.6, 25), (0.59, 28), (0.5, 34), (0.38, 37), (0.21, 40), (0.0, 40)]
)
def test_the_longer_the_silence_the_less_sure_the_model_has_to_be(probability: float, ends_at: int) -> None:
    rules = replace(RULES, eager_threshold=0.0)
    assert play(SPEECH + "." * 30, probability, rules=rules) == [*SENTENCE, ("END_OF_TURN", ends_at)]


def test_a_pause_in_mid_sentence_does_not_end_the_turn() -> None:
    events = play(SPEECH + "." * 15 + SPEECH + "." * 30, {25: 0.05, 28: 0.05, 31: 0.05, 34: 0.05, 60: 0.9})
    assert events == [
        *SENTENCE,
        ("SPEECH_STARTED", 35),
        ("SPEECH_ENDED", 55),
        ("END_OF_TURN", 60),
    ]


def test_a_likely_end_is_told_once_and_taken_back_when_the_speaker_goes_on() -> None:
    events = play(SPEECH + "." * 10 + SPEECH, 0.4)
    assert events == [*SENTENCE, ("END_OF_TURN_LIKELY", 25), ("TURN_RESUMED", 33), ("SPEECH_STARTED", 30)]


def test_a_likely_end_that_comes_true_is_not_taken_back() -> None:
    events = play(SPEECH + "." * 30, {25: 0.4, 28: 0.8})
    assert events == [*SENTENCE, ("END_OF_TURN_LIKELY", 25), ("END_OF_TURN", 28)]


def test_an_eager_threshold_of_0_turns_likely_off() -> None:
    rules = replace(RULES, eager_threshold=0.0)
    assert ("END_OF_TURN_LIKELY", 25) not in play(SPEECH + "." * 30, 0.5, rules=rules)


def test_an_answer_from_before_the_speaker_went_on_is_ignored() -> None:
    turns = TurnDetector(RULES)
    for letter in SPEECH + ".....":
        turns.frame(PROBABILITIES[letter])
    asked_at = turns.position
    for letter in "VVVVV.....":
        turns.frame(PROBABILITIES[letter])
    assert turns.answer(asked_at, 1.0) == []
    assert turns.in_turn


def test_an_answer_that_comes_while_a_voice_is_heard_again_waits_for_that_voice() -> None:
    turns = TurnDetector(RULES)
    for letter in SPEECH + ".....VV":
        turns.frame(PROBABILITIES[letter])
    assert turns.answer(turns.position - 2 * FRAME_SAMPLES, 1.0) == []


def test_a_new_turn_follows_the_old_one() -> None:
    events = play((SPEECH + "." * 30) * 2, 0.9)
    assert [kind for kind, _ in events] == ["SPEECH_STARTED", "SPEECH_ENDED", "END_OF_TURN"] * 2


def test_the_end_of_the_audio_ends_the_turn() -> None:
    turns = TurnDetector(RULES)
    for letter in SPEECH:
        turns.frame(PROBABILITIES[letter])
    assert [event.kind.name for event in turns.end_of_audio()] == ["SPEECH_ENDED", "END_OF_TURN"]
    assert turns.end_of_audio() == []


def test_a_voice_over_the_assistant_is_told_at_once_and_is_a_barge_in_when_it_lasts() -> None:
    assert play("...." + SPEECH, assistant="A" * 24) == [("SPEECH_STARTED", 4), ("BARGE_IN", 15)]


def test_a_barge_in_becomes_a_turn_like_any_other() -> None:
    events = play(SPEECH + "." * 30, 0.9, assistant="A" * 50)
    assert [kind for kind, _ in events] == ["SPEECH_STARTED", "BARGE_IN", "SPEECH_ENDED", "END_OF_TURN"]


def test_a_short_sound_over_the_assistant_is_a_backchannel_and_no_turn() -> None:
    events = play("V" * 8 + "." * 60, 1.0, assistant="A" * 68)
    assert events == [("SPEECH_STARTED", 0), ("SPEECH_ENDED", 8), ("BACKCHANNEL", 13)]


def test_two_short_sounds_do_not_add_up_to_a_barge_in() -> None:
    events = play(("V" * 8 + "." * 8) * 2, assistant="A" * 32)
    assert [kind for kind, _ in events] == ["SPEECH_STARTED", "SPEECH_ENDED", "BACKCHANNEL"] * 2


def test_an_assistant_that_falls_silent_turns_a_backchannel_into_a_turn() -> None:
    events = play("V" * 8 + "." * 30, 0.9, assistant="AAAA")
    assert [kind for kind, _ in events] == ["SPEECH_STARTED", "SPEECH_ENDED", "END_OF_TURN"]


def test_an_assistant_that_begins_over_a_speaker_is_barged_into_after_the_same_time() -> None:
    assert play("V" * 40, assistant="." * 20 + "A" * 20) == [("SPEECH_STARTED", 0), ("BARGE_IN", 31)]


def test_a_turn_that_began_before_the_assistant_never_ends_as_a_backchannel() -> None:
    events = play(SPEECH + "." * 30, 0.9, assistant="." * 16 + "A" * 34)
    assert [kind for kind, _ in events] == ["SPEECH_STARTED", "SPEECH_ENDED", "END_OF_TURN"]


def test_a_second_stretch_over_an_assistant_that_goes_on_is_one_barge_in_only() -> None:
    events = play(SPEECH + "." * 8 + SPEECH, assistant="A" * 48)
    assert [kind for kind, _ in events].count("BARGE_IN") == 1


def test_new_rules_hold_from_the_next_frame_on() -> None:
    turns = TurnDetector(RULES)
    for letter in SPEECH + "." * 5:
        turns.frame(PROBABILITIES[letter])
    turns.rules = replace(RULES, max_silence=6 * FRAME_SAMPLES)
    assert [event.kind.name for event in turns.frame(0.0)] == ["END_OF_TURN"]
