"""Estimated times, held against speech whose exact times are known: espeak-ng's other voices, at other paces."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.errors import EngineError
from services.tts.engine import SpeechChunk, Viseme, VisemeSpan, resolve_style
from services.tts.engines.espeak import EspeakEngine
from services.tts.estimated_timing import Anchor, RunningTiming, timing_over
from services.tts.pronunciation import Pronouncer, Pronouncers

SENTENCES = {
    "en": "Good morning, how are you today? The ship sailed past the old bridge, and everybody cheered.",
    "de": "Guten Morgen, wie geht es Ihnen heute? Das Schiff fuhr an der alten Brücke vorbei, und alle jubelten.",
    "fr": "Bonjour, comment allez-vous aujourd'hui ? Le bateau passa devant un vieux pont, et tout le monde applaudit.",
    "es": "Buenos días, ¿cómo está usted hoy? El barco pasó por el viejo puente, y todos aplaudieron.",
}
# Silence before and after the speech, and a noise under it, as neural voices have them.
LEAD_S, TAIL_S, NOISE = 0.12, 0.2, 0.001


@dataclass(frozen=True)
class Scripted:
    """Speech of which everything is known. Args: chunk: exact; lead: samples before it in `samples`."""

    text: str
    language: str
    chunk: SpeechChunk
    samples: NDArray[np.float32]
    lead: int
    rate_hz: int


@pytest.fixture(scope="module")
def pronouncer() -> Iterator[Pronouncer]:
    pronouncers = Pronouncers(1)
    yield pronouncers.each[0]
    pronouncers.close()


@pytest.fixture(scope="module")
def scripted() -> Iterator[list[Scripted]]:
    engine = EspeakEngine(1)
    rate_hz = engine.capabilities.sample_rate_hz
    lead, tail = round(LEAD_S * rate_hz), round(TAIL_S * rate_hz)
    noise = np.random.default_rng(7)
    made = []
    for language, text in SENTENCES.items():
        for voice, rate in (("anna", 0.7), ("martin", 1.3), ("paul", 1.0)):
            (chunk,) = engine.speakers[0].speak(text, resolve_style(engine.capabilities, voice, language, rate))
            samples = np.pad(chunk.samples, (lead, tail))
            samples += noise.normal(0.0, NOISE, len(samples)).astype(np.float32)
            made.append(Scripted(text, language, chunk, samples, lead, rate_hz))
    yield made
    engine.close()


def word_errors_ms(one: Scripted, told: list[SpeechChunk]) -> list[float]:
    words = [word for chunk in told for word in chunk.words]
    assert [(w.text_begin, w.text_end) for w in words] == [(w.text_begin, w.text_end) for w in one.chunk.words]
    pairs = zip(words, one.chunk.words, strict=True)
    return [1000.0 * abs(word.start - exact.start - one.lead) / one.rate_hz for word, exact in pairs]


def shapes_over(visemes: tuple[VisemeSpan, ...] | list[VisemeSpan], length: int) -> NDArray[np.int64]:
    shapes = np.zeros(length, np.int64)
    for span in visemes:
        shapes[span.start : span.end] = span.viseme
    return shapes


def right_shapes(one: Scripted, told: list[SpeechChunk]) -> float:
    """The share of the speech in which the mouth has the right shape."""
    estimated = shapes_over([span for chunk in told for span in chunk.visemes], len(one.samples))
    exact = shapes_over(one.chunk.visemes, len(one.chunk.samples))
    return float((estimated[one.lead : one.lead + len(exact)] == exact).mean())


def in_parts(one: Scripted, pronouncer: Pronouncer, part_s: float, anchors: list[Anchor]) -> list[SpeechChunk]:
    pronunciation = pronouncer.pronounce(one.text, one.language)
    assert pronunciation is not None
    timing = RunningTiming(pronunciation, one.rate_hz)
    step = round(part_s * one.rate_hz)
    told = []
    for begin in range(0, len(one.samples), step):
        part = one.samples[begin : begin + step]
        told.append(timing.advance(part, anchors if not begin else (), is_last=begin + step >= len(one.samples)))
    return told


def whole(one: Scripted, pronouncer: Pronouncer) -> list[SpeechChunk]:
    pronunciation = pronouncer.pronounce(one.text, one.language)
    assert pronunciation is not None
    return [timing_over(pronunciation, one.samples, one.rate_hz)]


def test_words_and_mouth_of_a_whole_segment_are_where_they_really_are(
    scripted: list[Scripted], pronouncer: Pronouncer
) -> None:
    told = [whole(one, pronouncer) for one in scripted]
    errors = [error for one, chunks in zip(scripted, told, strict=True) for error in word_errors_ms(one, chunks)]
    assert np.mean(errors) < 10
    assert np.percentile(errors, 95) < 35
    assert np.mean([right_shapes(one, chunks) for one, chunks in zip(scripted, told, strict=True)]) > 0.88


def test_alignment_is_far_better_than_stretching_the_phonemes_over_the_sound(
    scripted: list[Scripted], pronouncer: Pronouncer
) -> None:
    stretched, aligned = [], []
    for one in scripted:
        pronunciation = pronouncer.pronounce(one.text, one.language)
        assert pronunciation is not None
        factor = len(one.chunk.samples) / len(pronunciation.samples)
        for word, exact in zip(pronunciation.words, one.chunk.words, strict=True):
            stretched.append(1000.0 * abs(word.start * factor - exact.start) / one.rate_hz)
        aligned += word_errors_ms(one, whole(one, pronouncer))
    assert np.mean(aligned) < 0.5 * np.mean(stretched)


def test_a_segment_that_comes_in_parts_is_told_in_time_and_nearly_as_well(
    scripted: list[Scripted], pronouncer: Pronouncer
) -> None:
    told = [in_parts(one, pronouncer, 0.9, []) for one in scripted]
    errors = [error for one, chunks in zip(scripted, told, strict=True) for error in word_errors_ms(one, chunks)]
    assert np.mean(errors) < 20
    assert np.percentile(errors, 95) < 80
    assert np.mean([right_shapes(one, chunks) for one, chunks in zip(scripted, told, strict=True)]) > 0.85


def test_anchors_of_an_engine_help_and_wrong_ones_do_no_harm(scripted: list[Scripted], pronouncer: Pronouncer) -> None:
    spread = np.random.default_rng(3)
    without, helped, misled = [], [], []
    for one in scripted[::3]:
        near = [
            Anchor(word.text_begin, word.start + one.lead + round(spread.normal(0.0, 0.03) * one.rate_hz))
            for word in one.chunk.words
        ]
        wrong = [Anchor(one.chunk.words[-1].text_begin, one.lead), Anchor(10_000, 5), Anchor(0, -100)]
        without += word_errors_ms(one, in_parts(one, pronouncer, 0.3, []))
        helped += word_errors_ms(one, in_parts(one, pronouncer, 0.3, near))
        misled += word_errors_ms(one, in_parts(one, pronouncer, 0.3, wrong))
    assert np.mean(helped) <= np.mean(without) + 1
    assert np.percentile(helped, 95) < 90
    assert np.mean(misled) < np.mean(without) + 10


@pytest.mark.parametrize("part_s", [0.05, 0.4, 30.0])
def test_what_begins_in_a_part_is_told_with_it_and_spans_lie_end_to_end(
    scripted: list[Scripted], pronouncer: Pronouncer, part_s: float
) -> None:
    one = scripted[0]
    told = in_parts(one, pronouncer, part_s, [])
    end = 0
    for chunk in told:
        start, end = end, end + len(chunk.samples)
        spans = [(span.start, span.end) for name in ("words", "phonemes", "visemes") for span in getattr(chunk, name)]
        assert all(start <= begin < min(end, stop) for begin, stop in spans)
    for name in ("phonemes", "visemes"):
        lying = [(span.start, span.end) for chunk in told for span in getattr(chunk, name)]
        assert (lying[0][0], lying[-1][1]) == (0, len(one.samples))
        assert all(before[1] == after[0] for before, after in itertools.pairwise(lying))
    words = [word for chunk in told for word in chunk.words]
    assert all(before.end <= after.start for before, after in itertools.pairwise(words))


def test_the_mouth_rests_in_the_silence_around_the_speech(scripted: list[Scripted], pronouncer: Pronouncer) -> None:
    for one in scripted:
        (chunk,) = whole(one, pronouncer)
        first, last = chunk.visemes[0], chunk.visemes[-1]
        assert (first.viseme, last.viseme) == (Viseme.SIL, Viseme.SIL)
        assert first.end == pytest.approx(one.lead, abs=0.03 * one.rate_hz)
        assert last.start == pytest.approx(one.lead + len(one.chunk.samples), abs=0.05 * one.rate_hz)


@pytest.mark.parametrize("part_s", [0.4, 30.0])
def test_a_pause_that_the_text_does_not_tell_of_closes_the_mouth_and_holds_the_next_word_back(
    scripted: list[Scripted], pronouncer: Pronouncer, part_s: float
) -> None:
    one = next(one for one in scripted if one.language == "en")
    # Before "sailed", which begins softly and follows a closure.
    sailed = next(word for word in one.chunk.words if one.text[word.text_begin : word.text_end] == "sailed")
    pause = round(1.2 * one.rate_hz)
    cut = one.lead + sailed.start
    samples = np.concatenate([one.samples[:cut], np.zeros(pause, np.float32), one.samples[cut:]])
    told = in_parts(replace(one, samples=samples), pronouncer, part_s, [])
    words = {one.text[word.text_begin : word.text_end]: word for chunk in told for word in chunk.words}
    assert words["sailed"].start == pytest.approx(cut + pause, abs=0.1 * one.rate_hz)
    shapes = shapes_over([span for chunk in told for span in chunk.visemes], len(samples))
    assert (shapes[cut : cut + pause] == Viseme.SIL).mean() > 0.75


@pytest.mark.parametrize("length", [1, 10, 300, 5_000])
@pytest.mark.parametrize("level", [0.0, 0.5])
def test_audio_that_cannot_be_the_text_still_gets_spans_to_its_end(
    pronouncer: Pronouncer, length: int, level: float
) -> None:
    pronunciation = pronouncer.pronounce("a rather long sentence, of which nothing can be heard here", "en")
    assert pronunciation is not None
    samples = np.full(length, level, np.float32)
    chunk = timing_over(pronunciation, samples, 24_000, [Anchor(0, 10**6), Anchor(9, -3)])
    assert (chunk.phonemes[0].start, chunk.phonemes[-1].end) == (0, length)
    assert (chunk.visemes[0].start, chunk.visemes[-1].end) == (0, length)
    assert all(0 <= word.start < length for word in chunk.words)


def test_nothing_to_say_and_a_language_that_nobody_knows(pronouncer: Pronouncer) -> None:
    assert pronouncer.pronounce(" ... ", "en") is None
    assert pronouncer.pronounce("\x01**", "en") is None
    with pytest.raises(EngineError, match="xx"):
        pronouncer.pronounce("hello", "xx")
    chinese = pronouncer.pronounce("早上好", "zh-cn")
    assert chinese is not None
    assert chinese.words
