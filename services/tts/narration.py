"""One utterance on its way from what the engine made to chunks of PCM at the rate that the caller asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import soxr
from numpy.typing import NDArray

from services.common.audio import pcm16_of
from services.tts.engine import PhonemeSpan, SpeechChunk, Viseme, VisemeSpan, WordSpan
from services.tts.text import Segment

# Two ticks of a WebRTC track. Shorter chunks cost more calls; longer ones delay an interruption.
CHUNK_S = 0.04
# The mouth closes after the last sound.
FINAL_PAUSE_S = 0.06
_Span = TypeVar("_Span", WordSpan, PhonemeSpan, VisemeSpan)


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word as it is written, its place in the utterance's text, and when it is spoken."""

    word: str
    span: WordSpan


@dataclass(frozen=True, slots=True)
class Chunk:
    """At most `CHUNK_S` of 16-bit PCM and all that begins in it; every count is in samples of the output rate."""

    pcm: bytes
    start: int
    words: tuple[SpokenWord, ...]
    phonemes: tuple[PhonemeSpan, ...]
    visemes: tuple[VisemeSpan, ...]


class Narration:
    """Cuts what an engine speaks into chunks, segment after segment, with the pauses between them.

    Chunks lie end to end. Their whole length is that of the engine's audio, in output samples and rounded down, and all
    times are on the grid of the output samples, so that the last span ends where the audio does.

    Its generators do their work when they are iterated, in the order in which they were made; the step to a chunk takes
    a fraction of a millisecond.
    """

    def __init__(self, speaking_rate: float, engine_rate_hz: int, output_rate_hz: int) -> None:
        self._speaking_rate = speaking_rate
        self._engine_rate_hz = engine_rate_hz
        self._output_rate_hz = output_rate_hz
        self._chunk_samples = round(CHUNK_S * output_rate_hz)
        # Engine samples until the end of what has been handed to the resampler; output samples until the last chunk.
        self._spoken = 0
        self._emitted = 0
        # Of the segment that is spoken: where it begins, its resampler, and what fills no chunk yet.
        self._begin = 0
        self._resampler: _Resampler | None = None
        self._pending = np.zeros(0, np.float32)
        self._words: deque[SpokenWord] = deque()
        self._phonemes: deque[PhonemeSpan] = deque()
        self._visemes: deque[VisemeSpan] = deque()

    def _at(self, engine_sample: int) -> int:
        return engine_sample * self._output_rate_hz // self._engine_rate_hz

    def speak(self, segment: Segment, speech: SpeechChunk) -> Generator[Chunk, None, None]:
        """The chunks of a part of a segment; before its first part, of the segment's pause."""
        if self._resampler is None:
            if self._spoken:
                yield from self._pause(segment.pause_before_s / self._speaking_rate)
            self._begin = self._spoken
            # One of its own for each segment: its end is heard without waiting for the next.
            self._resampler = _Resampler(self._engine_rate_hz, self._output_rate_hz)
        self._note_spans(segment, speech, self._begin)
        step = round(CHUNK_S * self._engine_rate_hz)
        for index in range(0, len(speech.samples), step):
            part = speech.samples[index : index + step]
            self._spoken += len(part)
            self._pending = np.concatenate([self._pending, self._resampler.push(part)])
            while len(self._pending) >= self._chunk_samples:
                samples, self._pending = np.split(self._pending, [self._chunk_samples])
                yield self._chunk(samples)

    def end_segment(self) -> Generator[Chunk, None, None]:
        """The rest of a segment; none if there was nothing to say in it."""
        if self._resampler is not None:
            samples = np.concatenate([self._pending, self._resampler.finish()])
            self._resampler, self._pending = None, np.zeros(0, np.float32)
            yield from self._chunks(_fitted(samples, self._at(self._spoken) - self._emitted))

    def finish(self) -> Generator[Chunk, None, None]:
        """The short silence that ends an utterance; none if nothing was said."""
        if self._spoken:
            yield from self._pause(FINAL_PAUSE_S)

    def _pause(self, length_s: float) -> Iterator[Chunk]:
        begin = self._spoken
        self._spoken += round(length_s * self._engine_rate_hz)
        start, end = self._at(begin), self._at(self._spoken)
        if end > start:
            self._phonemes.append(PhonemeSpan("", start, end))
            self._visemes.append(VisemeSpan(Viseme.SIL, start, end, 1.0))
            yield from self._chunks(np.zeros(end - start, np.float32))

    def _note_spans(self, segment: Segment, speech: SpeechChunk, begin: int) -> None:
        for word in speech.words:
            start, end = self._at(begin + word.start), self._at(begin + word.end)
            span = WordSpan(segment.begin + word.text_begin, segment.begin + word.text_end, start, end)
            self._words.append(SpokenWord(segment.text[word.text_begin : word.text_end], span))
        for phoneme in speech.phonemes:
            start, end = self._at(begin + phoneme.start), self._at(begin + phoneme.end)
            self._phonemes.append(PhonemeSpan(phoneme.symbol, start, end, phoneme.is_stressed))
        for viseme in speech.visemes:
            start, end = self._at(begin + viseme.start), self._at(begin + viseme.end)
            self._visemes.append(VisemeSpan(viseme.viseme, start, end, viseme.weight))

    def _chunks(self, samples: NDArray[np.float32]) -> Iterator[Chunk]:
        for index in range(0, len(samples), self._chunk_samples):
            yield self._chunk(samples[index : index + self._chunk_samples])

    def _chunk(self, samples: NDArray[np.float32]) -> Chunk:
        start = self._emitted
        self._emitted += len(samples)
        words = []
        while self._words and self._words[0].span.start < self._emitted:
            words.append(self._words.popleft())
        return Chunk(
            pcm16_of(samples),
            start,
            tuple(words),
            _begun(self._phonemes, self._emitted),
            _begun(self._visemes, self._emitted),
        )


def _fitted(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Samples cut, or filled with silence, to a length: the resampler may be a few off."""
    return np.pad(samples, (0, max(0, length - len(samples))))[:length]


def _begun(spans: deque[_Span], end: int) -> tuple[_Span, ...]:
    """Take out the spans that begin before `end`."""
    begun = []
    while spans and spans[0].start < end:
        begun.append(spans.popleft())
    return tuple(begun)


class _Resampler:
    """A band-limited change of the sample rate; source: the soxr library at its high quality."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream: Any = None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32")

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return samples if self._stream is None else self._resample(samples, last=False)

    def finish(self) -> NDArray[np.float32]:
        nothing = np.zeros(0, np.float32)
        return nothing if self._stream is None else self._resample(nothing, last=True)

    def _resample(self, samples: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        out: NDArray[np.float32] = self._stream.resample_chunk(samples, last=last)
        return out
