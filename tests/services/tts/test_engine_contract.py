"""What every speech engine owes the service, for the real ones and for the fake."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import soxr

from services.common.errors import InvalidRequestError, NotFoundError, UnsupportedError
from services.tts.engine import Conditioning, SpeechChunk, SpeechEngine, Viseme, find_language, resolve_style
from services.tts.engines.espeak import EspeakEngine
from services.tts.voice_store import MAX_ARRAYS_BYTES
from tests.fakes import piper_voice
from tests.fakes.recordings import RATE_HZ as RECORDED_HZ
from tests.fakes.recordings import speech_like
from tests.fakes.speaking_engine import SpeakingEngine
from tests.services.tts.xtts import tiny

ENGINES: dict[str, Callable[[int], SpeechEngine]] = {
    "espeak": EspeakEngine,
    "piper": piper_voice.engine,
    "fake": SpeakingEngine,
    "cloning fake": partial(SpeakingEngine, clones_as="fake-1"),
    "xtts": tiny.engine,
}


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[SpeechEngine]:
    engine = ENGINES[request.param](2)
    yield engine
    engine.close()


def speak(engine: SpeechEngine, text: str, *, rate: float = 1, speaker: int = 0) -> list[SpeechChunk]:
    return list(engine.speakers[speaker].speak(text, resolve_style(engine.capabilities, "", "", rate)))


def length(chunks: list[SpeechChunk]) -> int:
    return sum(len(chunk.samples) for chunk in chunks)


def test_an_engine_has_the_speakers_that_were_asked_for(engine: SpeechEngine) -> None:
    assert len(engine.speakers) == 2


def test_speech_is_float_and_audible_and_in_range(engine: SpeechEngine) -> None:
    samples = np.concatenate([chunk.samples for chunk in speak(engine, "Hello world")])
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert 0.1 < np.abs(samples).max() <= 1.0


def test_what_begins_in_a_chunk_is_told_with_it(engine: SpeechEngine) -> None:
    end = 0
    for chunk in speak(engine, "one two three"):
        start, end = end, end + len(chunk.samples)
        begun = [(span.start, span.end) for name in ("words", "phonemes", "visemes") for span in getattr(chunk, name)]
        assert all(start <= begin < min(end, stop) for begin, stop in begun)


def test_phonemes_and_visemes_lie_end_to_end_over_the_whole_segment(engine: SpeechEngine) -> None:
    chunks = speak(engine, "Peter saw a boat, and two more")
    for name in ("phonemes", "visemes"):
        spans = [span for chunk in chunks for span in getattr(chunk, name)]
        assert spans[0].start == 0
        assert spans[-1].end == length(chunks)
        assert all(one.end == other.start for one, other in itertools.pairwise(spans))


def test_words_are_in_order_and_name_their_place_in_the_text(engine: SpeechEngine) -> None:
    text = "  Hello, (big) world - it's 7 o'clock"
    words = [word for chunk in speak(engine, text) for word in chunk.words]
    spoken = [text[word.text_begin : word.text_end] for word in words]
    assert spoken == ["Hello", "big", "world", "it's", "7", "o'clock"]
    assert all(one.end <= other.start for one, other in itertools.pairwise(words))


def test_weights_are_between_0_and_1_and_every_shape_is_one_of_the_contract(engine: SpeechEngine) -> None:
    visemes = [viseme for chunk in speak(engine, "A quick brown fox jumps") for viseme in chunk.visemes]
    assert all(0 < viseme.weight <= 1 and viseme.viseme in Viseme for viseme in visemes)


def test_nothing_to_say_makes_no_chunk(engine: SpeechEngine) -> None:
    for text in ("", "   ", "...", "?!", "\n\n", "\U0001f600", "❤️", "***", "\x00\x01", "()"):
        assert speak(engine, text) == [], repr(text)


def test_a_faster_rate_is_shorter_and_a_slower_one_longer(engine: SpeechEngine) -> None:
    plain = length(speak(engine, "How long does this sentence take"))
    assert length(speak(engine, "How long does this sentence take", rate=2)) == pytest.approx(plain / 2, rel=0.15)
    assert length(speak(engine, "How long does this sentence take", rate=0.5)) == pytest.approx(plain * 2, rel=0.15)


def test_speech_that_was_given_up_leaves_the_speaker_ready(engine: SpeechEngine) -> None:
    wanted = [word for chunk in speak(engine, "one two three") for word in chunk.words]
    abandoned = engine.speakers[0].speak("four five six", resolve_style(engine.capabilities, "", "", 1))
    next(abandoned)
    abandoned.close()
    words = [word for chunk in speak(engine, "one two three") for word in chunk.words]
    assert [(word.text_begin, word.text_end) for word in words] == [(word.text_begin, word.text_end) for word in wanted]


def test_capabilities_name_each_language_and_voice_once(engine: SpeechEngine) -> None:
    capabilities = engine.capabilities
    assert len(set(capabilities.languages)) == len(capabilities.languages) > 0
    assert len({voice.id for voice in capabilities.voices}) == len(capabilities.voices) > 0
    assert all(re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", voice.id) for voice in capabilities.voices)
    assert all(set(voice.languages) <= set(capabilities.languages) for voice in capabilities.voices)
    assert set(capabilities.segment_characters_by_language) <= set(capabilities.languages)
    assert "en" in capabilities.languages


def test_a_region_that_is_not_known_falls_back_to_its_language(engine: SpeechEngine) -> None:
    assert find_language(engine.capabilities, "de-AT") == "de"
    british = "en-GB" if "en-GB" in engine.capabilities.languages else "en"
    assert find_language(engine.capabilities, "EN_gb") == british


def test_an_unknown_language_is_refused_with_those_that_can_be_spoken(engine: SpeechEngine) -> None:
    with pytest.raises(UnsupportedError, match=r"xx-YY; it speaks .*de.*en"):
        resolve_style(engine.capabilities, "", "xx-YY", 1)


def test_an_unknown_voice_is_refused_with_those_there_are(engine: SpeechEngine) -> None:
    with pytest.raises(NotFoundError, match=f"voices/{engine.capabilities.voices[-1].id}"):
        resolve_style(engine.capabilities, "nobody", "en", 1)


@pytest.mark.parametrize("rate", [0.49, 2.01, -1, float("nan"), float("inf")])
def test_a_rate_out_of_range_is_refused_with_the_range(engine: SpeechEngine, rate: float) -> None:
    with pytest.raises(InvalidRequestError, match=r"0\.5 to 2"):
        resolve_style(engine.capabilities, "", "", rate)


def test_a_voice_of_a_recording_is_numbers_alone_and_speaks_beside_the_engines_own(engine: SpeechEngine) -> None:
    cloning = engine.capabilities.cloning
    assert engine.capabilities.can_clone == (cloning is not None)
    if cloning is None:
        return
    recording = soxr.resample(speech_like(4), RECORDED_HZ, cloning.sample_rate_hz)
    arrays = cloning.condition(recording)
    assert all(array.dtype.kind in "fiub" for array in arrays.values())
    assert sum(array.nbytes for array in arrays.values()) < MAX_ARRAYS_BYTES
    style = resolve_style(engine.capabilities, "", "", 1)
    own = engine.speakers[0].speak("one two", style)
    cloned = engine.speakers[1].speak("one two", replace(style, conditioning=Conditioning(arrays)))
    # In turns, as two streams take them.
    pairs = list(itertools.zip_longest(own, cloned))
    assert all(length([chunk[side] for chunk in pairs if chunk[side]]) > 0 for side in (0, 1))
