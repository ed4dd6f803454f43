"""What is thought of one window of sound: its text so far, how much of it is settled, and whether it is believed."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.common.log import get_logger
from services.stt.engine import Word
from services.stt.engines.whisper import guards
from services.stt.engines.whisper.agreement import Agreement
from services.stt.engines.whisper.runtime import STATE_SAMPLES, Decoded
from services.stt.engines.whisper.vocabulary import Vocabulary

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The text of a window. Args: settled_words: how many of them stay."""

    tokens: tuple[int, ...]
    words: tuple[Word, ...]
    settled_words: int


NOTHING = Hypothesis((), (), 0)


class Window:
    """One window of sound, of which more and more is heard."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._agreement = Agreement()
        self._probabilities: tuple[float, ...] = ()
        self._starts: tuple[int, ...] = ()

    @property
    def settled(self) -> tuple[int, ...]:
        """The tokens that every later hypothesis begins with."""
        return self._agreement.settled

    @property
    def places(self) -> tuple[int, ...]:
        """The encoder states at which those tokens begin."""
        return self._starts[: len(self.settled)]

    def take(
        self, decoded: Decoded, sound: NDArray[np.float32], language: str, *, is_paused: bool, may_settle: bool
    ) -> Hypothesis:
        """Judge what was decoded of the sound so far.

        Args:
            decoded: begins with `settled`.
            language: the subtag of what is written.
            is_paused: nobody has spoken since; its last word is whole.
            may_settle: the language is known, so that what is written now may stay.
        """
        new = decoded.tokens[len(self.settled) :]
        tokens = decoded.tokens
        probabilities = (*self._probabilities[: len(self.settled)], *decoded.probabilities)
        starts = self._vocabulary.word_starts(tokens, language)
        texts = [
            self._vocabulary.text_of(tokens[begin:end]) for begin, end in itertools.pairwise([*starts, len(tokens)])
        ]
        round_end = guards.loop_at([" ".join(guards.words_of(text)) or text for text in texts])
        if round_end is not None and starts[round_end] >= len(self.settled):
            log.info("transcript_cut", reason="loop", words=len(texts) - round_end)
            tokens, texts, starts = tokens[: starts[round_end]], texts[:round_end], starts[:round_end]
        reason = guards.verdict(self._evidence("".join(texts), decoded, sound)) if new else ""
        if reason:
            log.info("transcript_doubted", reason=reason, words=len(texts) - self._settled_words(starts))
            self._agreement.forget()
            settled_words = self._settled_words(starts)
            tokens, texts, starts = self.settled, texts[:settled_words], starts[:settled_words]
        elif may_settle:
            self._agreement.take(tokens, starts, may_settle_all=is_paused)
        self._probabilities, self._starts = probabilities, decoded.starts
        words = _words(texts, starts, len(tokens), decoded.starts, probabilities, len(sound))
        return Hypothesis(tokens, words, self._settled_words(starts))

    def is_worth_another_try(self, decoded: Decoded, sound: NDArray[np.float32]) -> bool:
        """Whether other tokens for the same sound may be better; nothing is taken. Args: as of `take`."""
        text = self._vocabulary.text_of(decoded.tokens)
        return guards.is_worth_another_try(self._evidence(text, decoded, sound))

    def _settled_words(self, starts: list[int]) -> int:
        return sum(start < len(self.settled) for start in starts)

    def _evidence(self, text: str, decoded: Decoded, sound: NDArray[np.float32]) -> guards.Evidence:
        level, variation = guards.level_of(sound)
        # Of all tokens, as if they had been decoded at once: few new ones alone say little.
        settled = self._probabilities[: len(self.settled)]
        count = len(decoded.tokens) - len(settled) + 1
        total = decoded.average_log_probability * count + sum(math.log(max(share, 1e-9)) for share in settled)
        return guards.Evidence(
            text=text,
            no_speech_probability=decoded.no_speech_probability,
            average_log_probability=total / (count + len(settled)),
            duration_s=len(sound) / (50 * STATE_SAMPLES),
            level_dbfs=level,
            variation_db=variation,
        )


def _words(
    texts: list[str],
    starts: list[int],
    tokens: int,
    token_states: tuple[int, ...],
    probabilities: tuple[float, ...],
    samples: int,
) -> tuple[Word, ...]:
    """The words with their places and how sure the model is of them; what is blank is none."""
    words: list[Word] = []
    for text, begin, end in zip(texts, starts, [*starts[1:], tokens][: len(starts)], strict=True):
        if not text.strip():
            continue
        last = words[-1].end if words else 0
        # A word lasts a sample at least, and lies within the sound.
        first = min(max(token_states[begin] * STATE_SAMPLES, last), samples - 1)
        behind = min(max(token_states[end] * STATE_SAMPLES, first + 1), samples)
        share = probabilities[begin:end]
        words.append(Word(text.strip(), first, behind, float(np.mean(share)) if share else None))
    return tuple(words)
