"""What a caller hears of, and in which order, over a voice detector that hears loudness and a scripted turn model."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.stt.engine import Hearing
from services.stt.listener import PRE_ROLL_SAMPLES, Listener, Result
from services.stt.messages import rules_of_settings
from services.stt.settings import TurnSettings
from services.stt.turn_detector import TurnDetector, TurnEvent
from services.stt.vad import FRAME_SAMPLES
from tests.fakes.hearing_engine import RATE_HZ, HearingEngine, LoudnessDetector, ScriptedTurnModel, loud, quiet

ENGLISH = Hearing("en")


def listener_with(model: ScriptedTurnModel, engine: HearingEngine | None = None) -> Listener:
    stream = (engine or HearingEngine()).open_stream(ENGLISH)
    turns = TurnDetector(rules_of_settings(TurnSettings()))
    return Listener(stream, LoudnessDetector(), model, turns)


def hear(listener: Listener, *sounds: NDArray[np.float32]) -> list[Result | TurnEvent]:
    """Everything that is heard of when the sounds come in pieces of 20 ms."""
    sound = np.concatenate(sounds)
    return [item for begin in range(0, len(sound), 320) for item in listener.hear(sound[begin : begin + 320])]


def told(heard: list[Result | TurnEvent]) -> list[str]:
    """Events by name, finals in quotes; partials left out."""
    return [
        item.kind.name if isinstance(item, TurnEvent) else f'"{item.transcript.text}"'
        for item in heard
        if isinstance(item, TurnEvent) or item.transcript.is_final
    ]


def results(heard: list[Result | TurnEvent]) -> list[Result]:
    return [item for item in heard if isinstance(item, Result)]


def test_the_final_of_a_turn_comes_before_its_end() -> None:
    heard = hear(listener_with(ScriptedTurnModel(0.9)), quiet(1), loud(1), quiet(1))
    assert told(heard) == ["SPEECH_STARTED", "SPEECH_ENDED", '"one two three four five"', "END_OF_TURN"]


def test_silence_and_clicks_are_not_worth_a_word() -> None:
    model = ScriptedTurnModel(0.9)
    assert hear(listener_with(model), quiet(2), loud(0.05), quiet(2), loud(0.05), quiet(1)) == []
    assert model.questions == []


def test_a_turn_with_a_pause_is_one_transcript() -> None:
    heard = hear(listener_with(ScriptedTurnModel(0.1, 0.1, 0.1, 0.1, 0.9)), loud(1), quiet(0.5), loud(1), quiet(1))
    assert [name for name in told(heard) if name.startswith('"')] == [
        '"one two three four five six seven eight nine ten"'
    ]
    assert told(heard)[-1] == "END_OF_TURN"
    assert len({result.segment_id for result in results(heard)}) == 1


def test_two_turns_are_two_segments() -> None:
    heard = hear(listener_with(ScriptedTurnModel(0.9)), loud(1), quiet(1), loud(1), quiet(1))
    finals = [result for result in results(heard) if result.transcript.is_final]
    assert len({result.segment_id for result in finals}) == 2


def test_partials_grow_before_the_final() -> None:
    heard = hear(listener_with(ScriptedTurnModel(0.9)), loud(1), quiet(1))
    texts = [result.transcript.text for result in results(heard) if not result.transcript.is_final]
    assert texts == ["one", "one two", "one two three", "one two three four"]


def test_places_count_from_the_start_of_the_sound() -> None:
    heard = hear(listener_with(ScriptedTurnModel(0.9)), quiet(2), loud(1), quiet(1))
    final = results(heard)[-1]
    voice_began = 2 * RATE_HZ // FRAME_SAMPLES * FRAME_SAMPLES
    assert final.transcript.words[0].start == voice_began - PRE_ROLL_SAMPLES
    assert final.start == final.transcript.words[0].start
    assert final.end == pytest.approx(3 * RATE_HZ, abs=FRAME_SAMPLES)
    assert results(heard)[0].end == results(heard)[0].transcript.words[-1].end


def test_the_recogniser_gets_no_sample_twice_and_little_silence() -> None:
    listener = listener_with(ScriptedTurnModel(0.9))
    hear(listener, quiet(2), loud(1), quiet(2), loud(1), quiet(2))
    stretches = listener._stream.stretches  # type: ignore[attr-defined]
    assert len(stretches) == 2
    assert all(RATE_HZ < samples < 1.5 * RATE_HZ for samples in stretches)


def test_a_short_sound_over_the_assistant_has_no_text() -> None:
    listener = listener_with(ScriptedTurnModel(0.9))
    listener.assistant(speaking=True, text="")
    heard = hear(listener, quiet(1), loud(0.3), quiet(1))
    assert told(heard) == ["SPEECH_STARTED", "SPEECH_ENDED", "BACKCHANNEL"]
    assert results(heard) == []


def test_a_barge_in_has_all_of_its_text() -> None:
    listener = listener_with(ScriptedTurnModel(0.9))
    listener.assistant(speaking=True, text="")
    heard = hear(listener, quiet(1), loud(1), quiet(1))
    assert told(heard) == ["SPEECH_STARTED", "BARGE_IN", "SPEECH_ENDED", '"one two three four five"', "END_OF_TURN"]


def test_finalize_gives_the_text_so_far_and_the_turn_goes_on() -> None:
    listener = listener_with(ScriptedTurnModel(0.9))
    hear(listener, loud(1))
    assert told(listener.finalize()) == ['"one two three"']
    assert listener.finalize() == []
    heard = hear(listener, loud(1), quiet(1))
    assert told(heard) == ["SPEECH_ENDED", '"one two three four"', "END_OF_TURN"]


def test_the_end_of_the_sound_finishes_what_was_begun() -> None:
    listener = listener_with(ScriptedTurnModel(0.1))
    hear(listener, quiet(1), loud(1.01))
    assert told(listener.finish()) == ["SPEECH_ENDED", '"one two three four five"', "END_OF_TURN"]
    assert listener.finish() == []


def test_speech_without_a_pause_is_cut_at_30_s_and_loses_nothing() -> None:
    heard = hear(listener_with(ScriptedTurnModel(0.9)), loud(70), quiet(1))
    finals = [result for result in results(heard) if result.transcript.is_final]
    assert [round((final.end - final.start) / RATE_HZ) for final in finals] == [30, 30, 10]
    assert sum(len(final.transcript.words) for final in finals) == pytest.approx(70 * 4, abs=3)
    assert told(heard).count("SPEECH_STARTED") == told(heard).count("END_OF_TURN") == 1


def test_speech_of_20_s_is_cut_at_its_next_pause() -> None:
    heard = hear(listener_with(ScriptedTurnModel(0.1)), loud(21), quiet(0.5), loud(2), quiet(2))
    finals = [result for result in results(heard) if result.transcript.is_final]
    assert [round((final.end - final.start) / RATE_HZ) for final in finals] == [21, 2]


def test_the_turn_model_hears_the_turn_and_half_a_second_before_it() -> None:
    model = ScriptedTurnModel(0.9)
    hear(listener_with(model), quiet(5), loud(1), quiet(1))
    assert model.questions == [pytest.approx(1.66 * RATE_HZ, abs=2 * FRAME_SAMPLES)]


def test_the_turn_model_hears_what_was_said_just_before_as_the_same_thought() -> None:
    model = ScriptedTurnModel(0.9)
    hear(listener_with(model), quiet(5), loud(1), quiet(1), loud(1), quiet(1))
    assert model.questions[1] == pytest.approx(3.66 * RATE_HZ, abs=2 * FRAME_SAMPLES)


def test_the_turn_model_never_hears_more_than_8_s() -> None:
    model = ScriptedTurnModel(0.9)
    hear(listener_with(model), loud(12), quiet(1))
    assert model.questions == [8 * RATE_HZ]


def test_a_slow_turn_model_holds_nothing_up_and_its_answer_counts_when_it_comes() -> None:
    model = ScriptedTurnModel(0.9, at_once=False)
    listener = listener_with(model)
    assert told(hear(listener, loud(1), quiet(0.3))) == ["SPEECH_STARTED", "SPEECH_ENDED"]
    model.answer()
    assert told(hear(listener, quiet(0.02))) == ['"one two three four"', "END_OF_TURN"]


def test_the_assistants_own_voice_is_a_sound_without_words() -> None:
    listener = listener_with(ScriptedTurnModel(0.9))
    listener.assistant(speaking=True, text="Zero, one, two, three, four, five, six and seven.")
    heard = hear(listener, quiet(1), loud(1), quiet(1))
    assert told(heard) == ["SPEECH_STARTED", "BARGE_IN", "SPEECH_ENDED", "END_OF_TURN"]
    # Three words are the least that tell an echo; what comes before is held for a caller's.
    assert all(len(result.transcript.words) < 3 for result in results(heard))


def test_who_says_something_else_over_the_assistant_is_heard() -> None:
    listener = listener_with(ScriptedTurnModel(0.9))
    listener.assistant(speaking=True, text="The weather is fine.")
    heard = hear(listener, quiet(1), loud(1), quiet(1))
    assert '"one two three four five"' in told(heard)


def test_an_echo_that_rings_on_is_none_of_the_callers_but_what_follows_later_is() -> None:
    listener = listener_with(ScriptedTurnModel(0.9))
    listener.assistant(speaking=True, text="")
    listener.assistant(speaking=True, text="One, two, three, four, five, six.")
    listener.assistant(speaking=False, text="")
    assert told(hear(listener, loud(1), quiet(1))) == ["SPEECH_STARTED", "SPEECH_ENDED", "END_OF_TURN"]
    later = hear(listener, quiet(1), loud(1), quiet(1))
    assert told(later) == ["SPEECH_STARTED", "SPEECH_ENDED", '"one two three four five"', "END_OF_TURN"]


def test_a_partial_is_told_again_when_more_of_it_is_stable() -> None:
    partials = [result.transcript for result in results(hear(listener_with(ScriptedTurnModel(0.9)), loud(1)))]
    assert [(one.text, one.stable_characters) for one in partials[:3]] == [
        ("one", 0),
        ("one two", 3),
        ("one two three", 7),
    ]
