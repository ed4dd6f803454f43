"""How a text is pronounced: espeak-ng says it, with the times of its phonemes and words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.common.errors import EngineError
from services.tts.engine import PhonemeSpan, WordSpan, language_among
from services.tts.engines.espeak.copies import Copies
from services.tts.engines.espeak.library import Library
from services.tts.engines.espeak.timing import timing_of
from services.tts.speakable import make_speakable

# A calm reader's pace, which other voices are near.
_WORDS_PER_MINUTE = 175
# Symbols and numbers may be longer spoken than written; what is longer than this is cut off.
_MAX_SPEECH_S = 180


@dataclass(frozen=True, slots=True)
class Pronunciation:
    """A text as espeak-ng says it.

    Args:
        phonemes: end to end over `samples`, in samples.
        words: text ranges in the source text; each begins and ends where a phoneme does.
        samples: shape (n,), float32 in [-1, 1].
    """

    phonemes: tuple[PhonemeSpan, ...]
    words: tuple[WordSpan, ...]
    samples: NDArray[np.float32]
    sample_rate_hz: int


class Pronouncer:
    """Knows how texts are pronounced; used by one thread at a time."""

    def __init__(self, library: Library, voice_files: dict[str, str]) -> None:
        """Args: library: its own; voice_files: espeak-ng's, by BCP-47 tag."""
        self._library = library
        self._voice_files = voice_files

    def pronounce(self, text: str, language: str) -> Pronunciation | None:
        """A few milliseconds of work. Returns: None if there is nothing to say.

        Args:
            text: any text; never read as markup or as a command.
            language: a BCP-47 tag.
        Raises: EngineError if espeak-ng does not know the language.
        """
        spoken = make_speakable(text)
        if not spoken.text.strip():
            return None
        found = language_among(self._voice_files, language)
        if found is None:
            raise EngineError(f"espeak-ng does not know how {language} is pronounced")
        rate_hz = self._library.sample_rate_hz
        voice = self._voice_files[found]
        recording = self._library.synthesize(spoken.text, voice, _WORDS_PER_MINUTE, _MAX_SPEECH_S * rate_hz)
        timing = timing_of(spoken, recording)
        if not any(phoneme.symbol for phoneme in timing.phonemes):
            return None
        samples = recording.samples.astype(np.float32) / 32768.0
        return Pronunciation(timing.phonemes, timing.words, samples, rate_hz)


class Pronouncers:
    """One pronouncer for each thread that needs one."""

    def __init__(self, count: int) -> None:
        """Args: count: at least 1. Raises: EngineError if libespeak-ng cannot be loaded."""
        self._copies = Copies(count)
        voice_files = self._copies.voice_files()
        self.each = tuple(Pronouncer(library, voice_files) for library in self._copies.libraries)

    def close(self) -> None:
        """Free the libraries; no pronouncer may be in use."""
        self._copies.close()
