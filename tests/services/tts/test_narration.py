"""Chunks of PCM at the rate that was asked for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from services.common.audio import samples_of_pcm16
from services.tts.engine import Style
from services.tts.narration import CHUNK_S, FINAL_PAUSE_S, Chunk, Narration
from services.tts.text import SENTENCE_PAUSE_S, Segmenter
from tests.fakes.speaking_engine import RATE_HZ, SpeakingSpeaker

STYLE = Style("beep", "en", 1.0)
RATES = [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000]


def narrate(text: str, rate_hz: int) -> list[Chunk]:
    narration, speaker = Narration(STYLE.speaking_rate, RATE_HZ, rate_hz), SpeakingSpeaker()
    segmenter = Segmenter("sentence", 100)
    segmenter.add(text)
    segmenter.complete()
    chunks: list[Chunk] = []
    while segment := segmenter.take():
        for speech in speaker.speak(segment.text, STYLE):
            chunks += narration.speak(segment, speech)
        chunks += narration.end_segment()
    return chunks + list(narration.finish())


@pytest.mark.parametrize("rate_hz", RATES)
def test_the_whole_length_is_exact_to_a_sample(rate_hz: int) -> None:
    chunks = narrate("abc de. fghi", rate_hz)
    engine_samples = RATE_HZ * (len("abcdefghi") / 10 + SENTENCE_PAUSE_S + FINAL_PAUSE_S)
    assert sum(len(chunk.pcm) // 2 for chunk in chunks) == int(engine_samples) * rate_hz // RATE_HZ


@pytest.mark.parametrize("rate_hz", RATES)
def test_chunks_are_short_and_lie_end_to_end(rate_hz: int) -> None:
    end = 0
    for chunk in narrate("abc de. fghi", rate_hz):
        assert chunk.start == end
        end += len(chunk.pcm) // 2
        assert 0 < len(chunk.pcm) // 2 <= round(CHUNK_S * rate_hz)


@pytest.mark.parametrize("rate_hz", RATES)
def test_timing_comes_no_later_than_its_audio_and_covers_all_of_it(rate_hz: int) -> None:
    chunks = narrate("abc de. fghi", rate_hz)
    for chunk in chunks:
        end = chunk.start + len(chunk.pcm) // 2
        starts = [word.span.start for word in chunk.words]
        starts += [phoneme.start for phoneme in chunk.phonemes]
        starts += [viseme.start for viseme in chunk.visemes]
        assert all(chunk.start <= start < end for start in starts)
    for name in ("phonemes", "visemes"):
        spans = [span for chunk in chunks for span in getattr(chunk, name)]
        assert (spans[0].start, spans[-1].end) == (0, chunks[-1].start + len(chunks[-1].pcm) // 2)
        assert all(one.end == other.start for one, other in itertools.pairwise(spans))


@pytest.mark.parametrize("rate_hz", RATES)
def test_the_tone_keeps_its_pitch_and_its_place(rate_hz: int) -> None:
    audio = np.concatenate([samples_of_pcm16(chunk.pcm) for chunk in narrate("aaaaaaaaaa. bb", rate_hz)])
    steady = audio[round(0.1 * rate_hz) : round(0.9 * rate_hz)]
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(0.1 * rate_hz), round(0.9 * rate_hz)) / rate_hz)
    assert np.abs(steady - wave).max() < 0.01
    pause = audio[round(1.01 * rate_hz) : round((0.99 + SENTENCE_PAUSE_S) * rate_hz)]
    assert np.abs(pause).max() < 0.01


def test_words_are_those_of_the_whole_text() -> None:
    text = "ab. cd ef"
    words = [word for chunk in narrate(text, 48_000) for word in chunk.words]
    assert [(word.word, word.span.text_begin) for word in words] == [("ab", 0), ("cd", 4), ("ef", 7)]
    assert [text[word.span.text_begin : word.span.text_end] for word in words] == ["ab", "cd", "ef"]


def test_an_utterance_without_anything_to_say_has_no_audio() -> None:
    assert narrate("... !", 48_000) == []
