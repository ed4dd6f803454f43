"""What any speech recogniser offers: stretches of speech in, transcripts with word times out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    """What was said in one stretch of speech, so far (partial) or for good (final); the text may be empty.

    Attributes:
        words: those of the text, in order; none where the engine does not tell where they are.
        stable_characters: how many leading characters no later partial of the stretch changes; of a final, all count.
        language: the subtag that was heard, whatever the text is in; empty where the engine was told, or names none.
        language_probability: how sure it is of `language`, 0 to 1; None where it was told.
    """

    text: str
    words: tuple[Word, ...]
    is_final: bool
    stable_characters: int = 0
    language: str = ""
    language_probability: float | None = None


@dataclass(frozen=True, slots=True)
class Hearing:
    """What a caller wants heard, and how; `Capabilities.check` says whether an engine can.

    Attributes:
        language: the primary subtag that is spoken; empty where the engine has to find out.
        languages: the subtags that it finds out between; empty for all that it hears.
        translate_to: the subtag to write the text in; empty for the words that are spoken.
        phrases: names and rare words that are likely to be said, the likeliest first.
        wants_partials: somebody reads partials; where nobody does, an engine saves the work.
    """

    language: str = ""
    languages: tuple[str, ...] = ()
    translate_to: str = ""
    phrases: tuple[str, ...] = ()
    wants_partials: bool = True


def subtag_of(language_code: str) -> str:
    """The primary subtag of a BCP-47 tag."""
    return language_code.replace("_", "-").split("-")[0].lower()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do.

    Attributes:
        sample_rate_hz: the one rate that it reads.
        languages: primary BCP-47 subtags ("en"); the first is the default.
        detects_languages: it need not be told which of `languages` is spoken.
        names_languages: where it was not told, it says which it heard, and chooses between some of them if asked to.
        translations: pairs of subtags: what is spoken, what is written.
        accepts_phrases: it has a use for `Hearing.phrases`.
        has_partials: it says something before the end of a stretch.
        runs_on: the library, the device and the number format, for people; empty where there is nothing to tell.
    """

    sample_rate_hz: int
    languages: tuple[str, ...]
    detects_languages: bool = False
    names_languages: bool = True
    translations: frozenset[tuple[str, str]] = frozenset()
    accepts_phrases: bool = False
    has_partials: bool = True
    runs_on: str = ""

    def language_of(self, language_code: str) -> str:
        """The subtag that serves a BCP-47 tag; the default for an empty one.

        Raises: UnsupportedError, with those that it hears, if the engine does not hear the language.
        """
        language = subtag_of(language_code) or self.languages[0]
        if language not in self.languages:
            heard = ", ".join(self.languages)
            raise UnsupportedError(f'this engine does not hear "{language_code}"; it hears: {heard}')
        return language

    def check(self, hearing: Hearing) -> Hearing:
        """What the engine will do for a caller: the hearing, with what it cannot find out decided.

        Args: hearing: with subtags that it hears, from `language_of`.
        Raises: UnsupportedError, with what it can do, for anything that it cannot.
        """
        language, choice = hearing.language, hearing.languages
        if len(choice) == 1:
            language, choice = choice[0], ()
        known = ", ".join(self.languages)
        if choice and not self.detects_languages:
            raise UnsupportedError(f"this engine does not find out which language is spoken; name one of: {known}")
        if choice and not self.names_languages:
            raise UnsupportedError(
                f"this engine does not choose between languages; name none, and it hears all: {known}"
            )
        if not language and not self.detects_languages:
            language = self.languages[0]
        if hearing.phrases and not self.accepts_phrases:
            raise UnsupportedError("this engine has no use for phrases; leave them out")
        translate_to = "" if hearing.translate_to == language else hearing.translate_to
        sources = (language,) if language else choice or self.languages
        if translate_to and not any((source, translate_to) in self.translations for source in sources):
            raise UnsupportedError(self._untranslatable(language, translate_to))
        return replace(hearing, language=language, languages=choice, translate_to=translate_to)

    def _untranslatable(self, language: str, translate_to: str) -> str:
        if not self.translations:
            return f"this engine does not translate; it writes what it hears: {', '.join(self.languages)}"
        spoken = f'"{language}"' if language else "the languages asked for"
        possible = sorted(to for source, to in self.translations if not language or source == language)
        targets = ", ".join(dict.fromkeys(possible)) or "none"
        return f'this engine does not translate {spoken} to "{translate_to}"; it translates that to: {targets}'


class SpeechStream(Protocol):
    """The speech of one caller, one stretch after the other.

    A stretch begins with the first `push` after opening or after `finish`. Every stream is used by one thread at a
    time; the streams of one engine are used by several at once, so that an engine may batch them.
    """

    def push(self, samples: NDArray[np.float32]) -> Sequence[Transcript]:
        """Hear more of the stretch, and return the partials that are ready by now; they may lag behind the sound.

        Args:
            samples: shape (n,), in [-1, 1], at the engine's rate. None at all says that nobody speaks at the moment:
                the stretch may be over, or sound may follow.
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

    def open_stream(self, hearing: Hearing) -> SpeechStream:
        """A stream for one caller or one recording; it knows nothing of any other.

        Args:
            hearing: from `capabilities.check`.
        Raises: EngineError if the model cannot be started.
        """
        ...

    def close(self) -> None:
        """End what the engine started; its streams are of no use after it."""
        ...
