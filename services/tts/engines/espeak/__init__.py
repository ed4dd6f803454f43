"""espeak-ng: more than a hundred languages without a model or a GPU, a thousand times faster than speech."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from services.tts.engine import Capabilities, SpeechChunk, Style, Voice
from services.tts.engines.espeak.copies import Copies
from services.tts.engines.espeak.library import Library
from services.tts.engines.espeak.timing import timing_of
from services.tts.speakable import make_speakable
from services.tts.visemes import visemes_of

# Our voices by espeak-ng's variants, the default first: those that a recogniser of English understands best. Variants
# with an echo are left out: it sounds on in the closures of the mouth and has no end to cut at.
_VARIANTS = {"anna": "f1", "clara": "steph", "martin": "m6", "paul": "adam"}
# Named after their engine, because others lend them.
VOICES = (
    Voice("anna", "Anna (espeak-ng, female)"),
    Voice("clara", "Clara (espeak-ng, female, softer)"),
    Voice("martin", "Martin (espeak-ng, male)"),
    Voice("paul", "Paul (espeak-ng, male, softer)"),
)
_WORDS_PER_MINUTE = 175
# A clause of this length is 15 s of speech and 15 ms of work, which bounds the time to the first chunk.
_MAX_SEGMENT_CHARACTERS = 200
# Symbols and numbers may be longer spoken than written; what is longer than this is cut off.
_MAX_SEGMENT_S = 180
# Segments start in the middle of a wave; a ramp of this length takes the click away.
_RAMP_S = 0.003


def _ramped(samples: NDArray[np.int16], sample_rate_hz: int) -> NDArray[np.float32]:
    """Samples in [-1, 1] that start and end at zero."""
    speech = samples.astype(np.float32) / 32768.0
    ramp = np.linspace(0.0, 1.0, min(round(_RAMP_S * sample_rate_hz), len(speech)), dtype=np.float32)
    speech[: len(ramp)] *= ramp
    speech[len(speech) - len(ramp) :] *= ramp[::-1]
    return speech


class EspeakSpeaker:
    """A voice box with a library of its own, so that speakers cannot disturb each other."""

    def __init__(self, library: Library, voice_files: dict[str, str]) -> None:
        self._library = library
        self._voice_files = voice_files

    def speak(self, text: str, style: Style) -> Generator[SpeechChunk, None, None]:
        """One chunk: espeak-ng works through a clause at once, in less time than one chunk of it is heard."""
        spoken = make_speakable(text)
        if not spoken.text.strip():
            return
        rate_hz = self._library.sample_rate_hz
        recording = self._library.synthesize(
            spoken.text,
            f"{self._voice_files[style.language]}+{_VARIANTS[style.voice]}",
            round(_WORDS_PER_MINUTE * style.speaking_rate),
            _MAX_SEGMENT_S * rate_hz,
        )
        timing = timing_of(spoken, recording)
        if any(phoneme.symbol for phoneme in timing.phonemes):
            visemes = visemes_of(timing.phonemes, rate_hz)
            yield SpeechChunk(_ramped(recording.samples, rate_hz), timing.words, timing.phonemes, visemes)

    def close(self) -> None:
        """Free the library."""
        self._library.close()


class EspeakEngine:
    """One private copy of the library for each speaker."""

    def __init__(self, speaker_count: int) -> None:
        """Raises: EngineError if the library cannot be loaded."""
        self._copies = Copies(speaker_count)
        libraries = self._copies.libraries
        by_tag = self._copies.voice_files()
        self.capabilities = Capabilities(
            languages=tuple(sorted(by_tag)),
            voices=VOICES,
            sample_rate_hz=libraries[0].sample_rate_hz,
            has_exact_timing=True,
            segment_unit="clause",
            max_segment_characters=_MAX_SEGMENT_CHARACTERS,
        )
        self.speakers = tuple(EspeakSpeaker(library, by_tag) for library in libraries)

    def close(self) -> None:
        """Free the libraries and their folder."""
        self._copies.close()
