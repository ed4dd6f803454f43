"""Ears without models: a recogniser that counts quarter seconds, a detector of loudness, a scripted turn model."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from services.common.errors import EngineError
from services.stt.engine import Capabilities, Hearing, Transcript, Word

RATE_HZ = 16_000
WORD_SAMPLES = RATE_HZ // 4
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
IN_FRENCH = ("un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix")


def loud(seconds: float) -> NDArray[np.float32]:
    """What `LoudnessDetector` takes for a voice."""
    return np.full(round(seconds * RATE_HZ), 0.5, np.float32)


def quiet(seconds: float) -> NDArray[np.float32]:
    """What `LoudnessDetector` takes for silence."""
    return np.zeros(round(seconds * RATE_HZ), np.float32)


class HearingStream:
    """Hears one number for each whole quarter second of a stretch; the last one may still change."""

    def __init__(self, engine: HearingEngine, hearing: Hearing) -> None:
        self._engine = engine
        self._hearing = hearing
        self._samples = 0
        self._told = 0
        self._closed = False
        self.stretches: list[int] = []

    def push(self, samples: NDArray[np.float32]) -> Sequence[Transcript]:
        self._check()
        self._samples += len(samples)
        if self._samples // WORD_SAMPLES == self._told:
            return []
        self._told = self._samples // WORD_SAMPLES
        return [self._transcript(is_final=False)]

    def finish(self) -> Sequence[Transcript]:
        self._check()
        if not self._samples:
            return []
        final = self._transcript(is_final=True)
        self.stretches.append(self._samples)
        self._samples = self._told = 0
        return [final]

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._engine.closed()

    def _check(self) -> None:
        if not self._engine.may_work.is_set():
            self._engine.is_held.set()
            assert self._engine.may_work.wait(timeout=30)
        if self._engine.is_broken:
            raise EngineError("the ears are blocked")
        if self._closed:
            raise EngineError("the stream is closed")

    def _transcript(self, *, is_final: bool) -> Transcript:
        numbers = IN_FRENCH if self._hearing.translate_to else NUMBERS
        words = tuple(
            Word(numbers[index % len(numbers)], index * WORD_SAMPLES, (index + 1) * WORD_SAMPLES, 0.75)
            for index in range(self._samples // WORD_SAMPLES)
        )
        text = " ".join(word.text for word in words)
        stable = len(text) if is_final else len(" ".join(word.text for word in words[:-1]))
        if self._hearing.language or not self._engine.capabilities.names_languages:
            return Transcript(text, words, is_final, stable)
        # Of the languages to choose between, it always hears the last one.
        heard = (self._hearing.languages or self._engine.capabilities.languages)[-1]
        return Transcript(text, words, is_final, stable, heard, 0.75)


class HearingEngine:
    """Passes the same contract test as the real engines."""

    def __init__(
        self, languages: tuple[str, ...] = ("en", "de"), *, is_gifted: bool = False, names_languages: bool = True
    ) -> None:
        """Args: is_gifted: it finds out the language, translates to French, and takes phrases; names_languages: it says
        what it found out.
        """
        self.capabilities = Capabilities(
            sample_rate_hz=RATE_HZ,
            languages=languages,
            detects_languages=is_gifted,
            names_languages=names_languages,
            translations=frozenset((language, "fr") for language in languages if is_gifted),
            accepts_phrases=is_gifted,
        )
        self.hearings: list[Hearing] = []
        self.is_broken = False
        # Set while no stream is open.
        self.is_idle = threading.Event()
        self._open_streams = 0
        # Cleared to hold streams inside their next call.
        self.may_work = threading.Event()
        self.may_work.set()
        self.is_held = threading.Event()
        # Cleared to hold whoever opens a stream.
        self.may_open = threading.Event()
        self.may_open.set()
        self.is_opening = threading.Event()

    def open_stream(self, hearing: Hearing) -> HearingStream:
        self.hearings.append(hearing)
        self.is_opening.set()
        assert self.may_open.wait(timeout=30)
        self._open_streams += 1
        self.is_idle.clear()
        return HearingStream(self, hearing)

    def closed(self) -> None:
        """A stream has closed."""
        self._open_streams -= 1
        if not self._open_streams:
            self.is_idle.set()

    def close(self) -> None:
        self.is_broken = True


class LoudnessDetector:
    """Takes whatever is loud for a voice."""

    def probability(self, frame: NDArray[np.float32]) -> float:
        return 0.95 if np.abs(frame).mean() > 0.1 else 0.02


class ScriptedTurnModel:
    """Gives the answers it was made with, the last one for ever; at once, or when `answer` is called.

    Attributes:
        questions: the lengths in samples of what it was asked about.
    """

    def __init__(self, *probabilities: float, at_once: bool = True) -> None:
        self._probabilities = list(probabilities)
        self._at_once = at_once
        self._open: list[Future[float]] = []
        self.questions: list[int] = []

    def ask(self, samples: NDArray[np.float32]) -> Future[float]:
        self.questions.append(len(samples))
        self._open.append(Future())
        future = self._open[-1]
        if self._at_once:
            self.answer()
        return future

    def answer(self) -> None:
        """Answer the oldest open question."""
        probability = self._probabilities.pop(0) if len(self._probabilities) > 1 else self._probabilities[0]
        self._open.pop(0).set_result(probability)
