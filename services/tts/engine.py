"""What any speech engine offers: plain synchronous calls and plain values, no gRPC and no queue."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError, NotFoundError, UnsupportedError

SLOWEST, FASTEST = 0.5, 2.0
MAX_LANGUAGE_TAG_CHARACTERS = 35
# An answer that names voices names no more than these.
_MAX_NAMED_VOICES = 20
SegmentUnit: TypeAlias = Literal["sentence", "clause"]


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
    """A voice.

    Args:
        id: 1 to 63 of a-z, 0-9 and "-", not "-" at either end.
        display_name: for people.
        languages: BCP-47 tags of the engine's languages that it speaks; empty where it speaks all of them.
    """

    id: str
    display_name: str
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Conditioning:
    """What an engine made of the recording of a voice: that voice, for the engine.

    There is one object for each voice while the voice is known, so an engine may keep what it makes of the arrays, on a
    GPU for one, in a `weakref.WeakKeyDictionary` by this object: a voice that is deleted is then gone there too.

    Args: arrays: as `Cloning.condition` gave them, here or in another process.
    """

    arrays: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Cloning:
    """How an engine takes on a voice.

    Args:
        model: names what made the arrays and its version ("xtts-v2.0.3"); arrays of another model are not spoken.
        sample_rate_hz: of the recordings that `condition` takes.
        condition: makes a voice of its recording; blocking, called by one thread at a time while speakers speak. Takes
            3 to 30 s of one person's speech, shape (n,), float32 in [-1, 1]. Gives plain arrays by name, no objects,
            a few megabytes at most: the service stores them. Raises EngineError.
    """

    model: str
    sample_rate_hz: int
    condition: Callable[[NDArray[np.float32]], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do.

    Args:
        languages: BCP-47 tags.
        voices: its own, which stay as they are: the default one first; of those that speak a language alike the first
            is heard.
        has_exact_timing: whether spans are measured, not estimated.
        segment_unit: what the engine likes to be given at once; "clause" where longer text would not sound better.
        max_segment_characters: the longest text of one `speak`.
        first_segment_unit: the same for the first segment of an utterance, None for `segment_unit`; "clause" where it
            is heard sooner, and sounds right alone.
        segment_characters_by_language: the longest text for languages that have a limit of their own.
        cloning: how it takes on a voice of a recording; None where it has its own voices only.
        gpu_name: of the GPU that it runs on, as its driver calls it; empty where it runs on the CPU.
        path: which of its ways to compute runs here, in words; empty where it has only one.
    """

    languages: tuple[str, ...]
    voices: tuple[Voice, ...]
    sample_rate_hz: int
    has_exact_timing: bool
    segment_unit: SegmentUnit
    max_segment_characters: int
    first_segment_unit: SegmentUnit | None = None
    segment_characters_by_language: Mapping[str, int] = field(default_factory=dict)
    cloning: Cloning | None = None
    gpu_name: str = ""
    path: str = ""

    @property
    def can_clone(self) -> bool:
        return self.cloning is not None

    def segment_characters(self, language: str) -> int:
        """The longest text of one `speak`. Args: language: one of `languages`."""
        return self.segment_characters_by_language.get(language, self.max_segment_characters)


@dataclass(frozen=True, slots=True)
class Style:
    """How to speak; `resolve_style` makes it, so that all of it is possible.

    Args:
        voice: the id of one of the engine's own voices, or of a cloned one.
        conditioning: what the engine made of that voice's recording; None for its own voices.
    """

    voice: str
    language: str
    speaking_rate: float
    conditioning: Conditioning | None = None


class Speaker(Protocol):
    """One voice box: speaks one segment at a time, used by one thread at a time.

    Speakers may share a model, which then takes what they ask for in batches: each waits on its own thread, in the step
    of its generator, for the chunk that the batch makes for it.
    """

    def speak(self, text: str, style: Style) -> Generator[SpeechChunk, None, None]:
        """Speak a segment, without the pauses around it; no chunk where there is nothing to say.

        Closing the iterator ends the work at the chunk that it is in.

        Args:
            text: any text, at most `segment_characters` of the language; never read as markup or as a command.
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


def find_language(capabilities: Capabilities, tag: str) -> str | None:
    """The engine's language for a BCP-47 tag: itself, else the nearest parent that is spoken ("de" for "de-AT")."""
    return language_among(capabilities.languages, tag)


def language_among(languages: Iterable[str], tag: str) -> str | None:
    """The one of the languages that a BCP-47 tag asks for: itself, else its nearest parent among them.

    Source: lookup of RFC 4647, section 3.4; no tag is longer than RFC 5646, section 4.4.1, advises.
    """
    spoken = {language.lower(): language for language in languages}
    if len(tag) > MAX_LANGUAGE_TAG_CHARACTERS:
        return None
    subtags = tag.lower().replace("_", "-").split("-")
    while subtags:
        if language := spoken.get("-".join(subtags)):
            return language
        subtags.pop()
    return None


def resolve_style(
    capabilities: Capabilities,
    voice: str,
    language: str,
    speaking_rate: float,
    voices: Sequence[Voice] = (),
) -> Style:
    """Fill in the defaults and refuse what the engine cannot do.

    Args:
        voice: an id; empty for the first voice that speaks the language, and its region where one is named.
        language: a BCP-47 tag; empty for "en", or for the first language of a voice that does not speak that.
        speaking_rate: 0.5 to 2; 0 for 1.
        voices: those that there are, the default one first; empty for the engine's own.
    Raises: NotFoundError, UnsupportedError, InvalidRequestError.
    """
    voices = voices or capabilities.voices
    able = [known for known in voices if known.id == voice] if voice else voices
    if not able:
        raise NotFoundError(f"there is no voice voices/{voice[:80]}; there are {names_of(voices)}")
    pairs = [(known, language_among(languages_of(known, capabilities), language or "en")) for known in able]
    # Of several voices the one that speaks most exactly what was asked for; of those that speak it alike, the first.
    chosen, found = max(pairs, key=lambda pair: len(pair[1] or ""))
    if found is None and not language:
        found = languages_of(chosen, capabilities)[0]
    if found is None:
        what = f"the voice voices/{voice}" if voice else "this engine"
        spoken = languages_of(chosen, capabilities) if voice else capabilities.languages
        raise UnsupportedError(f"{what} does not speak {language[:80]}; it speaks {', '.join(spoken)}")
    speaking_rate = speaking_rate or 1.0
    if not SLOWEST <= speaking_rate <= FASTEST:
        raise InvalidRequestError(f"speaking_rate is {SLOWEST:g} to {FASTEST:g}, not {speaking_rate:g}")
    return Style(chosen.id, found, speaking_rate)


def languages_of(voice: Voice, capabilities: Capabilities) -> tuple[str, ...]:
    """The BCP-47 tags that a voice speaks."""
    return voice.languages or capabilities.languages


def names_of(voices: Sequence[Voice]) -> str:
    """The resource names of voices, for an answer."""
    names = ", ".join(f"voices/{voice.id}" for voice in voices[:_MAX_NAMED_VOICES])
    more = len(voices) - _MAX_NAMED_VOICES
    return f"{names} and {more} more, which ListVoices names" if more > 0 else names
