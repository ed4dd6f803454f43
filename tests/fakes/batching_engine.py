"""Speakers that share one model: a thread of its own that makes the next chunk for all who wait for one, together."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import Future

import numpy as np

from services.tts.engine import Capabilities, PhonemeSpan, SpeechChunk, Style, Voice, WordSpan
from services.tts.speakable import Token, make_speakable, tokens_of
from services.tts.visemes import visemes_of

RATE_HZ = 16_000
# A chunk is a word, however long.
CHUNK_SAMPLES = RATE_HZ // 4
_Asked = tuple[Token, tuple[int, int], int, str]


class SharedModel:
    """Keeps the words of each batch that it made, and stops before the next one where a test says so."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.may_step = threading.Event()
        self.may_step.set()
        self._changed = threading.Condition()
        self._waiting: list[tuple[_Asked, Future[SpeechChunk]]] = []
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="shared-model")
        self._thread.start()

    def ask(self, asked: _Asked) -> SpeechChunk:
        """Wait for the batch that holds this chunk."""
        future: Future[SpeechChunk] = Future()
        with self._changed:
            self._waiting.append((asked, future))
            self._changed.notify_all()
        return future.result(timeout=30)

    def wait_until_asked_by(self, count: int) -> None:
        """Return once so many wait for the next batch."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._waiting) >= count, timeout=30)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if self._is_closed:
                    return
            assert self.may_step.wait(timeout=30)
            with self._changed:
                batch, self._waiting = self._waiting, []
            self.batches.append([word for (_, _, _, word), _ in batch])
            for asked, future in batch:
                future.set_result(_chunk(*asked))

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()


def _chunk(_: Token, text_range: tuple[int, int], start: int, word: str) -> SpeechChunk:
    end = start + CHUNK_SAMPLES
    phonemes = (PhonemeSpan(word[0].lower(), start, end),)
    samples = np.full(CHUNK_SAMPLES, 0.25, np.float32)
    return SpeechChunk(samples, (WordSpan(*text_range, start, end),), phonemes, visemes_of(phonemes, RATE_HZ))


class BatchedSpeaker:
    """Asks the shared model for one chunk after the other."""

    def __init__(self, model: SharedModel) -> None:
        self._model = model
        self.texts: list[str] = []

    def speak(self, text: str, style: Style) -> Generator[SpeechChunk, None, None]:
        self.texts.append(text)
        spoken = make_speakable(text)
        for number, token in enumerate(tokens_of(spoken.text)):
            text_range = spoken.spans[token.begin][0], spoken.spans[token.end - 1][1]
            word = spoken.text[token.begin : token.end]
            yield self._model.ask((token, text_range, number * CHUNK_SAMPLES, word))


class BatchingEngine:
    """As many speakers as streams, one model."""

    def __init__(self, speaker_count: int) -> None:
        self.capabilities = Capabilities(
            languages=("de", "en"),
            voices=(Voice("one", "One"),),
            sample_rate_hz=RATE_HZ,
            has_exact_timing=False,
            segment_unit="sentence",
            max_segment_characters=200,
            first_segment_unit="clause",
            segment_characters_by_language={"de": 30},
        )
        self.model = SharedModel()
        self.speakers = tuple(BatchedSpeaker(self.model) for _ in range(speaker_count))

    def close(self) -> None:
        self.model.close()
