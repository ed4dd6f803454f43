"""What any speech recogniser offers: stretches of speech in, transcripts with word times out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.common.errors import UnsupportedError


@dataclass(frozen=True, slots=True)
class Word:
    """A word and where it is spoken.

    Attributes:
        text: as it is written.
        start: its first sample, counted from the first sample of the stretch.
        end: one past its last sample; not before `start`.
        confidence: 0 to 1; None where the engine does not say.
    """

    text: str
    start: int
    end: int
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in one stretch of speech, so far (partial) or for good (final); the text may be empty."""

    text: str
    words: tuple[Word, ...]
    is_final: bool


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do.

    Attributes:
        sample_rate_hz: the one rate that it reads.
        languages: primary BCP-47 subtags ("en"); the first is the default.
    """

    sample_rate_hz: int
    languages: tuple[str, ...]

    def language_of(self, language_code: str) -> str:
        """The subtag that serves a BCP-47 tag; the default for an empty one.

        Raises: UnsupportedError, with those that it hears, if the engine does not hear the language.
        """
        language = language_code.replace("_", "-").split("-")[0].lower() or self.languages[0]
        if language not in self.languages:
            heard = ", ".join(self.languages)
            raise UnsupportedError(f'this engine does not hear "{language_code}"; it hears: {heard}')
        return language


class SpeechStream(Protocol):
    """The speech of one caller, one stretch after the other.

    A stretch begins with the first `push` after opening or after `finish`. Every stream is used by one thread at a
    time; the streams of one engine are used by several at once, so that an engine may batch them.
    """

    def push(self, samples: NDArray[np.float32]) -> Sequence[Transcript]:
        """Hear more of the stretch, and return the partials that are ready by now; they may lag behind the sound.

        Args:
            samples: shape (n,), in [-1, 1], at the engine's rate.
        Raises: EngineError if the model failed; the stream is of no use after it.
        """
        ...

    def finish(self) -> Sequence[Transcript]:
        """End the stretch and return its final, if anything was pushed. Raises: as `push`."""
        ...

    def close(self) -> None:
        """Give back what the stream holds; may be called twice, and in the middle of a stretch."""
        ...


class SpeechEngine(Protocol):
    """A loaded recogniser."""

    @property
    def capabilities(self) -> Capabilities: ...

    def open_stream(self, language: str) -> SpeechStream:
        """A stream for one caller or one recording; it knows nothing of any other.

        Args:
            language: one of `capabilities.languages`.
        Raises: EngineError if the model cannot be started.
        """
        ...

    def close(self) -> None:
        """End what the engine started; its streams are of no use after it."""
        ...
