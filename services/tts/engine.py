"""What any speech engine offers: plain synchronous calls and plain values, no gRPC and no queue."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from services.common.errors import EngineError, InvalidRequestError, NotFoundError, UnsupportedError

SLOWEST, FASTEST = 0.5, 2.0
MAX_LANGUAGE_TAG_CHARACTERS = 35


class Viseme(IntEnum):
    """The 15 mouth shapes of the contract, with its numbers."""

    SIL = 1
    PP = 2
    FF = 3
    TH = 4
    DD = 5
    KK = 6
    CH = 7
    SS = 8
    NN = 9
    RR = 10
    AA = 11
    E = 12
    IH = 13
    OH = 14
    OU = 15


@dataclass(frozen=True, slots=True)
class WordSpan:
    """A spoken word: `[text_begin, text_end)` in code points of the text, `[start, end)` in samples."""

    text_begin: int
    text_end: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PhonemeSpan:
    """A phoneme in `[start, end)` samples. `symbol` is IPA without stress or tone; empty for a pause."""

    symbol: str
    start: int
    end: int
    is_stressed: bool = False


@dataclass(frozen=True, slots=True)
class VisemeSpan:
    """A mouth shape in `[start, end)` samples, reached by `weight`, 0 to 1."""

    viseme: Viseme
    start: int
    end: int
    weight: float


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A run of speech and all that begins in it.

    `samples` has shape (n,), float32 in [-1, 1], at the engine's rate. Spans count samples from the start of the
    segment and are ordered; over a whole segment phonemes, and visemes likewise, lie end to end without a gap.
    """

    samples: NDArray[np.float32]
    words: tuple[WordSpan, ...]
    phonemes: tuple[PhonemeSpan, ...]
    visemes: tuple[VisemeSpan, ...]


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice; it speaks every language of its engine."""

    id: str
    display_name: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do.

    Args:
        languages: BCP-47 tags.
        voices: the default one first, the others by id.
        has_exact_timing: whether spans are measured, not estimated.
        segment_unit: what the engine likes to be given at once; "clause" where longer text would not sound better.
        max_segment_characters: the longest text of one `speak`.
    """

    languages: tuple[str, ...]
    voices: tuple[Voice, ...]
    sample_rate_hz: int
    has_exact_timing: bool
    segment_unit: Literal["sentence", "clause"]
    max_segment_characters: int


@dataclass(frozen=True, slots=True)
class Style:
    """How to speak; `resolve_style` makes it, so that all of it is possible."""

    voice: str
    language: str
    speaking_rate: float


class Speaker(Protocol):
    """One voice box: speaks one segment at a time, used by one thread at a time."""

    def speak(self, text: str, style: Style) -> Generator[SpeechChunk, None, None]:
        """Speak a segment, without the pauses around it; no chunk where there is nothing to say.

        Closing the iterator ends the work at the chunk that it is in.

        Args:
            text: any text, at most `max_segment_characters`; never read as markup or as a command.
        Raises: EngineError.
        """


class SpeechEngine(Protocol):
    """A loaded engine with one speaker for each utterance that it can speak at once."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    @property
    def speakers(self) -> tuple[Speaker, ...]:
        """Its speakers, independent of each other."""

    def close(self) -> None:
        """Free what it holds; no speaker may be in use."""


def default_first(voices: tuple[Voice, ...], default: str) -> tuple[Voice, ...]:
    """The voices with the default one first. Args: default: an id or display name; empty keeps the order.

    Raises: EngineError if there is no such voice.
    """
    if not default:
        return voices
    chosen = [voice for voice in voices if default in (voice.id, voice.display_name)]
    if not chosen:
        names = ", ".join(voice.id for voice in voices)
        raise EngineError(f"default_voice {default!r} is none of this engine's; there are {names}")
    return (*chosen, *(voice for voice in voices if voice not in chosen))


def find_language(capabilities: Capabilities, tag: str) -> str | None:
    """The engine's language for a BCP-47 tag: itself, else the nearest parent that is spoken ("de" for "de-AT").

    Source: lookup of RFC 4647, section 3.4; no tag is longer than RFC 5646, section 4.4.1, advises.
    """
    spoken = {language.lower(): language for language in capabilities.languages}
    if len(tag) > MAX_LANGUAGE_TAG_CHARACTERS:
        return None
    subtags = tag.lower().replace("_", "-").split("-")
    while subtags:
        if language := spoken.get("-".join(subtags)):
            return language
        subtags.pop()
    return None


def resolve_style(capabilities: Capabilities, voice: str, language: str, speaking_rate: float) -> Style:
    """Fill in the defaults and refuse what the engine cannot do.

    Args:
        voice: an id; empty for the default.
        language: a BCP-47 tag; empty for "en".
        speaking_rate: 0.5 to 2; 0 for 1.
    Raises: NotFoundError, UnsupportedError, InvalidRequestError.
    """
    voice = voice or capabilities.voices[0].id
    if voice not in {known.id for known in capabilities.voices}:
        names = ", ".join(f"voices/{known.id}" for known in capabilities.voices)
        raise NotFoundError(f"there is no voice voices/{voice[:80]}; there are {names}")
    found = find_language(capabilities, language or "en")
    if found is None:
        raise UnsupportedError(
            f"this engine does not speak {language[:80]}; it speaks {', '.join(capabilities.languages)}"
        )
    speaking_rate = speaking_rate or 1.0
    if not SLOWEST <= speaking_rate <= FASTEST:
        raise InvalidRequestError(f"speaking_rate is {SLOWEST:g} to {FASTEST:g}, not {speaking_rate:g}")
    return Style(voice, found, speaking_rate)
