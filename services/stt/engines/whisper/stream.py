"""One caller's stream: sound is taken in at once, and hypotheses about it come when the model has time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.common.errors import EngineError
from services.stt.engine import Hearing, Transcript, Word
from services.stt.engines.whisper.hypothesis import NOTHING, Hypothesis, Window
from services.stt.engines.whisper.runtime import (
    MAX_TOKENS,
    SAMPLE_RATE_HZ,
    STATE_SAMPLES,
    WINDOW_SAMPLES,
    Decoded,
    Prompt,
)
from services.stt.engines.whisper.vocabulary import Vocabulary, joined

if TYPE_CHECKING:
    from services.stt.engines.whisper.batches import Batches

# A stretch of 30 s in frames of 32 ms is a little longer than the window; what is beyond is silence, or a sound's end.
_CAPACITY = WINDOW_SAMPLES + SAMPLE_RATE_HZ // 10
_FIRST_SAMPLES = SAMPLE_RATE_HZ * 3 // 10
_INTERVAL_SAMPLES = SAMPLE_RATE_HZ // 4
# The model knows 30 languages from a second of speech, and guesses from less.
_LANGUAGE_SAMPLES = SAMPLE_RATE_HZ
_LANGUAGE_SURE_FROM = 0.5
_LANGUAGE_SETTLED_SAMPLES = 3 * SAMPLE_RATE_HZ
_PHRASE_TOKENS = 112
_CONTEXT_TOKENS = 64
# What was drawn at a higher temperature may be far off, and leads astray; as in the reference implementation.
_CONTEXT_TEMPERATURE = 0.5
# Nobody speaks more tokens per second; a loop does.
_TOKENS_PER_SECOND = 14
_FEWEST_NEW_TOKENS = 16
_MOST_NEW_TOKENS = 224
_ANSWER_TIMEOUT_S = 60.0


@dataclass(slots=True, eq=False)
class Job:
    """A window's sound on its way through the model.

    Attributes:
        covers: samples of the window that it is about.
        may_be_final: the stretch is over, or nobody has spoken since.
        language: the subtag of what is written; known once the prompt is.
        may_settle: as of `Window.take`; known once the prompt is.
        temperature: by which its tokens were drawn; 0 for the likeliest.
    """

    stream: WhisperStream
    window: Window
    sound: NDArray[np.float32]
    covers: int
    may_be_final: bool
    language: str = ""
    may_settle: bool = False
    temperature: float = 0.0

    def is_worth_another_try(self, decoded: Decoded) -> bool:
        """As `Window.is_worth_another_try`; only for what somebody waits for."""
        return self.may_be_final and self.window.is_worth_another_try(decoded, self.sound)

    def judge(self, decoded: Decoded) -> Hypothesis:
        """What is thought of the sound now.

        It takes milliseconds and needs no lock: a stream has one job at a time, so one thread at a time uses a window.
        """
        is_paused = self.stream.is_paused_behind(self.covers)
        return self.window.take(decoded, self.sound, self.language, is_paused=is_paused, may_settle=self.may_settle)


class WhisperStream:
    """A stream, as `SpeechStream`. What the batches' threads touch is guarded by its lock."""

    def __init__(self, batches: Batches, vocabulary: Vocabulary, hearing: Hearing) -> None:
        self._batches = batches
        self._vocabulary = vocabulary
        self._hearing = hearing
        phrases = f" {', '.join(hearing.phrases)}." if hearing.phrases else ""
        self._phrases = vocabulary.encode(phrases)[:_PHRASE_TOKENS]
        self._context: tuple[int, ...] = ()
        self._context_language = ""
        self._sound = np.zeros(_CAPACITY, np.float32)
        self._is_open = True
        self._failure: EngineError | None = None
        self._begin_stretch()

    def _begin_stretch(self) -> None:
        self._kept: tuple[Word, ...] = ()
        self._before = 0  # samples of the stretch before the window
        self._language = self._hearing.language
        self._language_probability: float | None = None
        self._language_settled = bool(self._language)
        self._begin_window(0)
        self._has_begun = False
        self._partial: Transcript | None = None

    def _begin_window(self, filled: int) -> None:
        self._window = Window(self._vocabulary)
        self._hypothesis = NOTHING
        self._filled = filled
        self._looked_at = 0  # samples that the latest job is about
        self._job: Job | None = None
        self._covered = 0  # samples that the hypothesis is about
        self._temperature = 0.0  # of the hypothesis
        self._is_paused = False
        # What still waits is about a sound that is over.
        self._batches.leave(self)

    # --- the caller's thread ------------------------------------------------------------------------------------

    def push(self, samples: NDArray[np.float32]) -> Sequence[Transcript]:
        """As `SpeechStream.push`."""
        with self._batches.lock:
            self._check()
            self._has_begun = True
            while len(samples) > _CAPACITY - self._filled:
                room = _CAPACITY - self._filled
                self._append(samples[:room])
                samples = samples[room:]
                self._move_on()
            self._append(samples)
            self._is_paused = not len(samples)
            if self._hearing.wants_partials and self._is_due():
                self._batches.ask(self, is_final=self._is_paused)
            partial, self._partial = self._partial, None
        return [partial] if partial is not None else []

    def finish(self) -> Sequence[Transcript]:
        """As `SpeechStream.finish`."""
        with self._batches.lock:
            self._check()
            if not self._has_begun:
                return []
            self._wait_for_all()
            final = self._transcript(is_final=True)
            self._keep_as_context(self._vocabulary.encode(final.text))
            self._begin_stretch()
        return [final]

    def close(self) -> None:
        """As `SpeechStream.close`."""
        with self._batches.lock:
            self._is_open = False
            self._batches.leave(self)

    def _check(self) -> None:
        if not self._is_open:
            raise EngineError("this stream has been closed; open another")
        self._batches.check()
        if self._failure is not None:
            raise EngineError(f"{self._failure}; open the stream again") from self._failure

    def _append(self, samples: NDArray[np.float32]) -> None:
        self._sound[self._filled : self._filled + len(samples)] = samples
        self._filled += len(samples)

    def _is_due(self) -> bool:
        unheard = self._filled - self._looked_at
        if self._filled < _FIRST_SAMPLES:
            return False
        return unheard >= _INTERVAL_SAMPLES or (self._is_paused and unheard > 0)

    def _wait_for_all(self) -> None:
        """Until the hypothesis is about all of the sound. What is on its way and covers it is not asked for again."""
        if self._filled == 0:
            return
        self._is_paused = True
        if self._covered != self._filled and (self._job is None or self._looked_at != self._filled):
            self._batches.ask(self, is_final=True)

        def is_over() -> bool:
            return self._covered == self._filled or bool(self._failure or self._batches.failure)

        if not self._batches.changed.wait_for(is_over, _ANSWER_TIMEOUT_S):
            raise EngineError(f"the recogniser gave no answer in {_ANSWER_TIMEOUT_S:.0f} s; open the stream again")
        self._check()

    def _move_on(self) -> None:
        """The window is full: keep its words, and begin the next one where the last of them begins."""
        self._wait_for_all()
        words = self._hypothesis.words
        # The last word may have been cut in two.
        cut = words[-1].start if len(words) > 1 and words[-1].start > WINDOW_SAMPLES // 2 else self._filled
        self._kept = self._all_words(words[:-1] if cut < self._filled else words)
        rest = self._sound[cut : self._filled].copy()
        self._before += cut
        self._keep_as_context(self._hypothesis.tokens)
        self._begin_window(0)
        self._append(rest)

    def _keep_as_context(self, tokens: tuple[int, ...]) -> None:
        self._context = tokens[-_CONTEXT_TOKENS:] if self._temperature <= _CONTEXT_TEMPERATURE else ()
        self._context_language = self._language

    # --- the batches' threads, with the lock --------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether a job is on its way."""
        return self._job is not None

    def take_job(self) -> Job:
        """All of the window's sound so far; what is worked on from now."""
        self._looked_at = self._filled
        sound = self._sound[: min(self._filled, WINDOW_SAMPLES)].copy()
        self._job = Job(self, self._window, sound, self._filled, may_be_final=self._is_paused)
        return self._job

    @property
    def needs_language(self) -> bool:
        """Whether somebody has to find out what is spoken."""
        return not self._language_settled

    def hear_language(self, shares: dict[int, float], samples: int) -> None:
        """Take the likeliest of the languages to choose from. Args: samples: of sound that they were found in."""
        choice = self._hearing.languages or tuple(self._vocabulary.languages)
        of_choice = {language: shares[self._vocabulary.languages[language]] for language in choice}
        # Among those that are possible: what the caller has ruled out is not in doubt.
        total = sum(of_choice.values()) or 1.0
        self._language = max(of_choice, key=lambda language: of_choice[language])
        self._language_probability = min(of_choice[self._language] / total, 1.0)
        is_sure = samples >= _LANGUAGE_SAMPLES and self._language_probability >= _LANGUAGE_SURE_FROM
        self._language_settled = is_sure or samples >= _LANGUAGE_SETTLED_SAMPLES

    def is_paused_behind(self, samples: int) -> bool:
        """Whether nobody has spoken since that sample of the window."""
        return self._is_paused and samples == self._filled

    def prompt(self, job: Job) -> Prompt:
        """What the decoding of a job begins with."""
        samples = len(job.sound)
        job.language = self._hearing.translate_to or self._language
        job.may_settle = self._language_settled
        translate = bool(self._hearing.translate_to) and self._hearing.translate_to != self._language
        start = self._vocabulary.start_of(self._language, translate=translate)
        # What was said in another language leads astray.
        said_before = self._context if self._context_language == self._language else ()
        context = (*self._phrases, *said_before)
        if context:
            context = (self._vocabulary.context, *context)
        text = job.window.settled
        wanted = _FEWEST_NEW_TOKENS + _TOKENS_PER_SECOND * samples // SAMPLE_RATE_HZ
        room = MAX_TOKENS - len(context) - len(start) - len(text)
        return Prompt(
            start=(*context, *start),
            transcript_at=len(context),
            text=text,
            states=max(1, min(samples, WINDOW_SAMPLES) // STATE_SAMPLES),
            max_new=max(1, min(wanted - len(text), _MOST_NEW_TOKENS, room)),
            places=job.window.places,
        )

    def hear(self, job: Job, hypothesis: Hypothesis) -> None:
        """Take what is thought of a job; nobody wants it any more if the window has ended."""
        if job is not self._job:
            return
        self._job = None
        self._hypothesis = hypothesis
        self._covered = job.covers
        self._temperature = job.temperature
        if self._hearing.wants_partials:
            self._partial = self._transcript(is_final=False)

    def fail(self, failure: EngineError) -> None:
        """The model has failed on this stream's sound."""
        self._failure = failure

    # --- either -------------------------------------------------------------------------------------------------

    def _all_words(self, words: tuple[Word, ...]) -> tuple[Word, ...]:
        moved = (Word(word.text, word.start + self._before, word.end + self._before, word.confidence) for word in words)
        return (*self._kept, *moved)

    def _transcript(self, *, is_final: bool) -> Transcript:
        hypothesis: Hypothesis = self._hypothesis
        words = self._all_words(hypothesis.words)
        settled = len(self._kept) + min(hypothesis.settled_words, len(hypothesis.words))
        written_in = self._hearing.translate_to or self._language
        text = joined([word.text for word in words], written_in)
        stable = len(text) if is_final else len(joined([word.text for word in words[:settled]], written_in))
        found_out = not self._hearing.language
        return Transcript(
            text,
            words,
            is_final,
            stable,
            self._language if found_out else "",
            self._language_probability if found_out else None,
        )
