"""What a caller of a Whisper stream sees, over a scripted model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.errors import EngineError
from services.stt.engine import Hearing, Transcript
from services.stt.engines.whisper.engine import WhisperEngine
from services.stt.engines.whisper.runtime import WINDOW_SAMPLES, Decoded, Prompt
from services.stt.engines.whisper.stream import WhisperStream
from services.stt.engines.whisper.vocabulary import Vocabulary
from tests.fakes.whisper_runtime import Decode, ScriptedRuntime, counting, decoded

RATE_HZ = 16_000
WORDS = [
    "alpha",
    "bravo",
    "charlie",
    "delta",
    "echo",
    "foxtrot",
    "golf",
    "hotel",
    "india",
    "juliet",
    "kilo",
    "lima",
    "mike",
    "november",
    "oscar",
    "papa",
]
LISTEN = Hearing("en")


def voice(seconds: float) -> NDArray[np.float32]:
    """Sound that no guard takes for silence or for a tone: it swells four times a second."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    swell = 0.05 + np.sin(np.pi * 4 * time_s) ** 2
    return (0.3 * swell * np.sin(2 * np.pi * 200 * time_s)).astype(np.float32)


@contextmanager
def hearing(
    vocabulary: Vocabulary, decode: Decode, wanted: Hearing = LISTEN
) -> Iterator[tuple[WhisperStream, ScriptedRuntime]]:
    runtime = ScriptedRuntime(vocabulary, decode)
    engine = WhisperEngine(runtime, vocabulary)
    stream = engine.open_stream(engine.capabilities.check(wanted))
    assert isinstance(stream, WhisperStream)
    try:
        yield stream, runtime
    finally:
        stream.close()
        engine.close()
    assert runtime.is_closed


def live(stream: WhisperStream, sound: NDArray[np.float32]) -> list[Transcript]:
    """The partials of sound in frames, each of which the model has the time for."""
    partials: list[Transcript] = []
    for begin in range(0, len(sound), 512):
        partials += stream.push(sound[begin : begin + 512])
        let_it_work(stream)
    return partials


def let_it_work(stream: WhisperStream) -> None:
    """Wait until the model has nothing to do."""
    batches = stream._batches
    with batches.lock:
        assert batches.changed.wait_for(lambda: not batches._due and stream._job is None, 30)


def test_interims_grow_and_their_stable_part_never_changes(vocabulary: Vocabulary) -> None:
    with hearing(vocabulary, counting(vocabulary, WORDS)) as (stream, _runtime):
        partials = live(stream, voice(4))
        (final,) = stream.finish()
    assert len(partials) >= 8
    assert any(0 < partial.stable_characters < len(partial.text) for partial in partials)
    for one, other in itertools.pairwise([*partials, final]):
        assert other.text.startswith(one.text[: one.stable_characters])
        assert other.stable_characters >= one.stable_characters
    assert final.text == " ".join(WORDS)
    assert final.stable_characters == len(final.text)


def test_what_is_settled_is_not_decoded_again(vocabulary: Vocabulary) -> None:
    with hearing(vocabulary, counting(vocabulary, WORDS)) as (stream, runtime):
        live(stream, voice(4))
        stream.finish()
    settled = [len(prompt.text) for batch in runtime.batches for prompt in batch]
    assert settled == sorted(settled)
    assert settled[-1] > len(vocabulary.encode(" alpha bravo charlie delta echo"))


def test_words_of_partials_and_finals_have_their_places(vocabulary: Vocabulary) -> None:
    with hearing(vocabulary, counting(vocabulary, WORDS)) as (stream, _runtime):
        partial = live(stream, voice(2))[-1]
        (final,) = stream.finish()
    for transcript in (partial, final):
        assert [word.start for word in transcript.words[:3]] == pytest.approx([0, 4000, 8000], abs=320)
        assert all(word.confidence == pytest.approx(0.8) for word in transcript.words)


def test_a_final_that_was_thought_of_in_the_pause_needs_no_more_work(vocabulary: Vocabulary) -> None:
    with hearing(vocabulary, counting(vocabulary, WORDS)) as (stream, runtime):
        live(stream, voice(2.1))
        # What the listener sends while nobody speaks.
        stream.push(np.zeros(0, np.float32))
        let_it_work(stream)
        done = len(runtime.batches)
        (final,) = stream.finish()
        assert len(runtime.batches) == done
    assert final.text.startswith("alpha bravo")


def test_a_busy_model_skips_interims_and_hears_all_of_the_sound_next_time(vocabulary: Vocabulary) -> None:
    with hearing(vocabulary, counting(vocabulary, WORDS)) as (stream, runtime):
        runtime.may_work.clear()
        for frame in np.split(voice(4), 125):
            stream.push(frame)
        runtime.may_work.set()
        (final,) = stream.finish()
    assert len(runtime.batches) <= 3
    assert final.text == " ".join(WORDS)


def test_who_reads_no_interims_costs_one_decoding(vocabulary: Vocabulary) -> None:
    quiet = Hearing("en", wants_partials=False)
    with hearing(vocabulary, counting(vocabulary, WORDS), quiet) as (stream, runtime):
        assert live(stream, voice(4)) == []
        (final,) = stream.finish()
    assert final.text == " ".join(WORDS)
    assert len(runtime.batches) == 1


def test_the_language_is_found_out_and_told_with_its_probability(vocabulary: Vocabulary) -> None:
    with hearing(vocabulary, counting(vocabulary, WORDS), Hearing()) as (stream, runtime):
        runtime.languages = {"de": 0.7, "en": 0.1}
        stream.push(voice(2))
        (final,) = stream.finish()
    assert final.language == "de"
    assert final.language_probability == pytest.approx(0.875)
    assert runtime.batches[-1][0].start == vocabulary.start_of("de", translate=False)


def test_the_language_is_found_out_among_those_that_are_possible(vocabulary: Vocabulary) -> None:
    wanted = Hearing(languages=("fr", "en"))
    with hearing(vocabulary, counting(vocabulary, WORDS), wanted) as (stream, runtime):
        runtime.languages = {"de": 0.8, "en": 0.15, "fr": 0.05}
        stream.push(voice(2))
        (final,) = stream.finish()
    assert final.language == "en"
    assert final.language_probability == pytest.approx(0.75)


def test_the_language_is_not_asked_for_again_once_it_is_sure_but_for_each_stretch(vocabulary: Vocabulary) -> None:
    with hearing(vocabulary, counting(vocabulary, WORDS), Hearing()) as (stream, runtime):
        live(stream, voice(4))
        stream.finish()
        of_first = runtime.asked_for_language
        assert of_first < len(runtime.batches)
        stream.push(voice(2))
        stream.finish()
        assert runtime.asked_for_language > of_first


def test_nothing_is_settled_in_a_language_that_may_be_another(vocabulary: Vocabulary) -> None:
    with hearing(vocabulary, counting(vocabulary, WORDS), Hearing()) as (stream, runtime):
        runtime.languages = {"nl": 0.3, "de": 0.25, "sv": 0.2}
        unsure = live(stream, voice(2.5))
        runtime.languages = {"de": 0.9}
        live(stream, voice(4)[round(2.5 * RATE_HZ) :])
        (final,) = stream.finish()
    assert {partial.language for partial in unsure} == {"nl"}
    assert {partial.stable_characters for partial in unsure} == {0}
    assert final.language == "de"


def test_what_was_said_in_another_language_is_no_context(vocabulary: Vocabulary) -> None:
    with hearing(vocabulary, counting(vocabulary, WORDS), Hearing()) as (stream, runtime):
        for languages in ({"de": 0.9}, {"fr": 0.9}, {"fr": 0.9}):
            runtime.languages = languages
            stream.push(voice(2))
            stream.finish()
    changed = next(batch[0] for batch in runtime.batches if vocabulary.languages["fr"] in batch[0].start)
    assert changed.transcript_at == 0
    assert runtime.batches[-1][0].transcript_at > 0


def test_a_language_that_is_given_is_told_to_nobody(vocabulary: Vocabulary) -> None:
    with hearing(vocabulary, counting(vocabulary, WORDS)) as (stream, runtime):
        stream.push(voice(2))
        (final,) = stream.finish()
    assert (final.language, final.language_probability) == ("", None)
    assert runtime.asked_for_language == 0


def test_a_translation_is_another_task_and_english_needs_none(vocabulary: Vocabulary) -> None:
    for spoken, task in (("de", vocabulary.translate), ("en", vocabulary.transcribe)):
        with hearing(vocabulary, counting(vocabulary, WORDS), Hearing(spoken, translate_to="en")) as (stream, runtime):
            stream.push(voice(2))
            stream.finish()
        assert runtime.batches[-1][0].start[-2] == task


def test_phrases_stand_before_the_transcript_and_are_bounded(vocabulary: Vocabulary) -> None:
    wanted = Hearing("en", phrases=("Ada Lovelace", *["something long to say"] * 63))
    with hearing(vocabulary, counting(vocabulary, WORDS), wanted) as (stream, runtime):
        stream.push(voice(2))
        stream.finish()
    prompt = runtime.batches[-1][0]
    assert prompt.start[0] == vocabulary.context
    assert vocabulary.text_of(prompt.start[1 : prompt.transcript_at]).startswith(" Ada Lovelace, something long")
    assert prompt.transcript_at <= 113
    assert prompt.start[prompt.transcript_at] == vocabulary.start


def test_the_stretch_before_is_the_context_of_the_next(vocabulary: Vocabulary) -> None:
    with hearing(vocabulary, counting(vocabulary, WORDS)) as (stream, runtime):
        for _ in range(2):
            stream.push(voice(2))
            stream.finish()
    first, second = runtime.batches[0][0], runtime.batches[-1][0]
    assert first.transcript_at == 0
    assert vocabulary.text_of(second.start[: second.transcript_at]).endswith("golf hotel")
    assert second.transcript_at <= 65


@pytest.mark.parametrize("seconds", [65.0])
def test_a_stretch_of_more_than_a_window_loses_nothing_and_costs_no_more_per_second(
    vocabulary: Vocabulary, seconds: float
) -> None:
    lengths = []

    def decode(sound: NDArray[np.float32], prompt: Prompt) -> Decoded:
        lengths.append(len(sound))
        words = [f" {WORDS[number % len(WORDS)]}" for number in range(len(sound) // RATE_HZ)]
        return decoded([t for w in words for t in vocabulary.encode(w)], states=prompt.states)

    with hearing(vocabulary, decode, Hearing("en", wants_partials=False)) as (stream, _):
        stream.push(voice(seconds))
        (final,) = stream.finish()
    assert max(lengths) <= WINDOW_SAMPLES
    assert len(lengths) == 3
    assert len(final.words) == pytest.approx(seconds, abs=3)
    assert final.words[-1].end == pytest.approx(seconds * RATE_HZ, abs=2 * RATE_HZ)
    assert all(one.end <= other.start for one, other in itertools.pairwise(final.words))


def test_a_text_that_is_not_believed_leaves_what_was_settled(vocabulary: Vocabulary) -> None:
    good = counting(vocabulary, WORDS)

    def decode(sound: NDArray[np.float32], prompt: Prompt) -> Decoded:
        heard = good(sound, prompt)
        if len(sound) < 2 * RATE_HZ:
            return heard
        made_up = (*prompt.text, *vocabulary.encode(" nothing of this was said"))
        return decoded(made_up, settled=len(prompt.text), average_log_probability=-9.0)

    with hearing(vocabulary, decode) as (stream, _runtime):
        partials = live(stream, voice(3))
        (final,) = stream.finish()
    assert "nothing" not in " ".join(partial.text for partial in [*partials, final])
    assert final.text.startswith("alpha bravo")


def test_a_final_that_is_not_to_be_believed_is_drawn_again_and_is_no_context_if_it_was_far_off(
    vocabulary: Vocabulary,
) -> None:
    good = counting(vocabulary, WORDS)

    def decode(sound: NDArray[np.float32], prompt: Prompt) -> Decoded:
        heard = good(sound, prompt)
        return replace(heard, average_log_probability=-0.3 if prompt.temperature > 0.5 else -1.5)

    with hearing(vocabulary, decode) as (stream, runtime):
        for _ in range(2):
            stream.push(voice(2))
            (final,) = stream.finish()
            assert final.text == "alpha bravo charlie delta echo foxtrot golf hotel"
    drawn = [prompt.temperature for batch in runtime.batches for prompt in batch if prompt.temperature]
    assert drawn == [0.4, 0.8] * 2
    assert runtime.batches[-1][0].transcript_at == 0


def test_a_loop_that_is_drawn_again_in_vain_is_cut_as_it_was(vocabulary: Vocabulary) -> None:
    looping = vocabulary.encode(" so I said that" + " on and on" * 30)
    guessing = vocabulary.encode(" nothing of this was said")

    def decode(_: NDArray[np.float32], prompt: Prompt) -> Decoded:
        if prompt.temperature:
            return decoded(guessing, states=prompt.states, average_log_probability=-2.0)
        return decoded(looping, states=prompt.states)

    with hearing(vocabulary, decode, Hearing("en", wants_partials=False)) as (stream, runtime):
        stream.push(voice(6))
        (final,) = stream.finish()
    assert final.text == "so I said that on and on"
    assert len(runtime.batches) == 3


def test_an_interim_is_not_drawn_again_but_in_a_pause(vocabulary: Vocabulary) -> None:
    good = counting(vocabulary, WORDS)

    def decode(sound: NDArray[np.float32], prompt: Prompt) -> Decoded:
        return replace(good(sound, prompt), average_log_probability=-0.3 if prompt.temperature else -1.5)

    with hearing(vocabulary, decode) as (stream, runtime):
        assert "".join(partial.text for partial in live(stream, voice(2))) == ""
        assert not any(prompt.temperature for batch in runtime.batches for prompt in batch)
        stream.push(np.zeros(0, np.float32))
        let_it_work(stream)
        (partial,) = stream.push(np.zeros(0, np.float32))
    assert partial.text == "alpha bravo charlie delta echo foxtrot golf hotel"


def test_silence_is_not_drawn_again(vocabulary: Vocabulary) -> None:
    text = vocabulary.encode(" Thank you for watching.")

    def decode(_: NDArray[np.float32], prompt: Prompt) -> Decoded:
        return decoded(text, states=prompt.states, average_log_probability=-2.0, no_speech_probability=0.9)

    with hearing(vocabulary, decode, Hearing("en", wants_partials=False)) as (stream, runtime):
        stream.push(voice(2))
        (final,) = stream.finish()
    assert final.text == ""
    assert len(runtime.batches) == 1


def test_a_loop_is_cut_behind_its_first_round(vocabulary: Vocabulary) -> None:
    text = vocabulary.encode(" so I said that" + " on and on" * 6)
    with hearing(vocabulary, lambda _, prompt: decoded(text, states=prompt.states)) as (stream, _):
        stream.push(voice(6))
        (final,) = stream.finish()
    assert final.text == "so I said that on and on"


def test_a_phantom_over_silence_and_a_text_over_a_tone_are_nothing(vocabulary: Vocabulary) -> None:
    tone = (0.2 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE_HZ) / RATE_HZ)).astype(np.float32)
    text = vocabulary.encode(" Thank you for watching.")
    with hearing(vocabulary, lambda _, prompt: decoded(text, states=prompt.states)) as (stream, _):
        for sound in (np.zeros(2 * RATE_HZ, np.float32), tone):
            stream.push(sound)
            assert [final.text for final in stream.finish()] == [""]


def test_a_model_that_fails_ends_the_streams_of_its_batch_and_no_other(vocabulary: Vocabulary) -> None:
    good, is_broken = counting(vocabulary, WORDS), [True]

    def decode(sound: NDArray[np.float32], prompt: Prompt) -> Decoded:
        if is_broken[0]:
            raise EngineError("the memory is full")
        return good(sound, prompt)

    with hearing(vocabulary, decode) as (stream, _):
        stream.push(voice(2))
        with pytest.raises(EngineError, match="the memory is full; open the stream again"):
            stream.finish()
        is_broken[0] = False
        other = WhisperStream(stream._batches, vocabulary, LISTEN)
        other.push(voice(2))
        assert other.finish()[0].text.startswith("alpha")
        other.close()
