"""Piper's voices: a neural voice for each language, several times faster than speech on one core, without a GPU.

Languages that have no such voice are spoken by espeak-ng, whose voices are listed behind them.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from services.common.errors import EngineError, NotReadyError
from services.tts.engine import Capabilities, SpeechChunk, Style, Voice, language_among
from services.tts.engines.espeak import VOICES as ESPEAK_VOICES
from services.tts.engines.espeak import EspeakSpeaker
from services.tts.engines.espeak.copies import Copies
from services.tts.engines.espeak.library import Library
from services.tts.engines.espeak.timing import Timing, timing_of_events
from services.tts.engines.piper.lent import at_rate, languages_to_lend
from services.tts.engines.piper.spelling import Spelling, spell
from services.tts.engines.piper.voice_files import VoiceFile, find
from services.tts.engines.piper.voice_model import LoadedVoices, Plan
from services.tts.speakable import make_speakable
from services.tts.visemes import visemes_of

# Of espeak-ng, whose sound is not heard.
_WORDS_PER_MINUTE = 175
# A segment of this length is about 13 s of speech. How it is spoken is decided at once, in a tenth of a second or two;
# its sound is made in pieces.
_MAX_SEGMENT_CHARACTERS = 200
# Symbols and numbers may be longer spoken than written; what is longer than this is cut off.
_MAX_SEGMENT_S = 60
# What stays of the silence that a voice makes before and after a segment; the service makes its own pauses.
_LEAD_S, _TAIL_S = 0.03, 0.08
# Segments are cut out of a voice's silence; a ramp of this length takes the click away.
_RAMP_S = 0.003


@dataclass(frozen=True, slots=True)
class _Person:
    """Whom a voice id names. Args: speaker: of the file's; espeak_voice: the voice file of espeak-ng."""

    voice: Voice
    file: VoiceFile
    speaker: int
    espeak_voice: str


class PiperSpeaker:
    """A voice box: phonemes of a copy of espeak-ng, and models that all speakers share."""

    def __init__(
        self,
        library: Library,
        people: dict[str, _Person],
        loaded: LoadedVoices,
        rate_hz: int,
        espeak_voices: dict[str, str],
    ) -> None:
        """Args: people: by the id of the voice; rate_hz: of the sound, whatever that of the voice is; espeak_voices:
        voice files by language tag, for voices that are nobody's of `people`.
        """
        self._library = library
        self._people = people
        self._loaded = loaded
        self._rate_hz = rate_hz
        self._espeak = EspeakSpeaker(library, espeak_voices)

    def speak(self, text: str, style: Style) -> Generator[SpeechChunk, None, None]:
        """The first chunk is a quarter of a second of speech, the others are up to one second."""
        person = self._people.get(style.voice)
        if person is None:
            for chunk in self._espeak.speak(text, style):
                yield at_rate(chunk, self._library.sample_rate_hz, self._rate_hz)
            return
        spoken = make_speakable(text)
        if not spoken.text.strip():
            return
        most = _MAX_SEGMENT_S * self._library.sample_rate_hz
        recording = self._library.synthesize(spoken.text, person.espeak_voice, _WORDS_PER_MINUTE, most)
        spelling = spell(spoken, recording.events, person.file.ids)
        if spelling is None:
            return
        try:
            model = self._loaded.get(person.file)
        except NotReadyError as gone:
            raise EngineError(str(gone)) from gone
        plan = model.plan(spelling.ids, person.speaker, style.speaking_rate)
        first, last = _heard(spelling, plan, person.file)
        begins = self._to_samples(np.clip(np.cumsum(plan.frames) - plan.frames, first, last) - first, person.file)
        length = int(self._to_samples(np.array(last - first), person.file))
        timing = timing_of_events(spoken, spelling.timed(begins), length)
        pieces = self._at_rate(model.sound(plan, first, last), person.file.sample_rate_hz)
        yield from _chunks(pieces, timing, length, self._rate_hz)

    def _to_samples(self, frames: NDArray[np.int64], file: VoiceFile) -> NDArray[np.int64]:
        """Where frames begin in the sound that is given out."""
        return frames * file.frame_samples * self._rate_hz // file.sample_rate_hz

    def _at_rate(self, pieces: Iterator[NDArray[np.float32]], rate_hz: int) -> Iterator[NDArray[np.float32]]:
        """Pieces at the rate of the sound that is given out. Args: rate_hz: theirs."""
        if rate_hz == self._rate_hz:
            yield from pieces
            return
        resampler = soxr.ResampleStream(rate_hz, self._rate_hz, 1, dtype="float32")
        for piece in pieces:
            yield resampler.resample_chunk(piece)
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _heard(spelling: Spelling, plan: Plan, file: VoiceFile) -> tuple[int, int]:
    """The first frame that is heard, and the one behind the last: the segment without the silence around it."""
    frame_s = file.frame_samples / file.sample_rate_hz
    ends = np.cumsum(plan.frames)
    begins = ends - plan.frames
    lead, tail = (round(length_s / frame_s) for length_s in (_LEAD_S, _TAIL_S))
    first = max(int(begins[spelling.events[1].sample]) - lead, 0)
    return first, min(int(begins[spelling.events[-1].sample]) + tail, int(ends[-1]))


def _chunks(pieces: Iterator[NDArray[np.float32]], timing: Timing, length: int, rate_hz: int) -> Iterator[SpeechChunk]:
    """Pieces with what begins in them, in range, and together as long as the timing says."""
    visemes = visemes_of(timing.phonemes, rate_hz)
    ramp = _RAMP_S * rate_hz
    begin = 0
    # The resampler may keep a few samples to itself.
    for piece in itertools.chain(pieces, [np.zeros(length, np.float32)]):
        samples = piece[: length - begin]
        if not len(samples):
            continue
        places = np.arange(begin, begin + len(samples))
        edges = np.clip(np.minimum(places, length - 1 - places) / ramp, 0.0, 1.0).astype(np.float32)
        end = begin + len(samples)
        yield SpeechChunk(
            np.clip(samples, -1.0, 1.0) * edges,
            tuple(word for word in timing.words if begin <= word.start < end),
            tuple(phoneme for phoneme in timing.phonemes if begin <= phoneme.start < end),
            tuple(viseme for viseme in visemes if begin <= viseme.start < end),
        )
        begin = end


def _people(files: tuple[VoiceFile, ...], espeak_voices: dict[str, str]) -> list[_Person]:
    """Everybody who speaks in some voices. Args: espeak_voices: voice files by language tag. Raises: NotReadyError."""
    people = []
    for file in files:
        tag = language_among(espeak_voices, file.espeak_voice)
        if tag is None:
            raise NotReadyError(f"{file.path} needs phonemes of {file.espeak_voice}, which espeak-ng does not know")
        # Whoever asks for a language alone hears how it is spoken in one of its regions.
        languages = tuple(dict.fromkeys((file.language, file.language.split("-")[0])))
        for speaker, number in file.speakers.items():
            voice = Voice(file.voice_id(speaker), file.display_name(speaker), languages)
            people.append(_Person(voice, file, number, espeak_voices[tag]))
    return people


def _lent_voices(taken: Iterable[str], languages: tuple[str, ...]) -> tuple[Voice, ...]:
    """espeak-ng's voices, but those whose id is taken."""
    return tuple(replace(voice, languages=languages) for voice in ESPEAK_VOICES if voice.id not in taken)


class PiperEngine:
    """All voices of a folder, each of which speaks its own language, and espeak-ng's for the languages they lack."""

    def __init__(self, folder: Path, speaker_count: int, max_loaded: int) -> None:
        """Args: max_loaded: how many voices are kept in memory, about 100 MB each.

        Raises: NotReadyError, in a sentence, if there is no voice or one of them is not whole; EngineError.
        """
        files = find(folder)
        self._loaded = LoadedVoices(max_loaded)
        # Those that fit are ready for their first caller, and are known to be whole.
        for file in files[:max_loaded]:
            self._loaded.get(file)
        self._copies = Copies(speaker_count)
        espeak_voices = self._copies.voice_files()
        try:
            people = _people(files, espeak_voices)
        except NotReadyError:
            self._copies.close()
            raise
        by_id = {person.voice.id: person for person in people}
        own = {language for person in people for language in person.voice.languages}
        lent = languages_to_lend(espeak_voices, own)
        espeak_rate_hz = self._copies.libraries[0].sample_rate_hz
        rate_hz = max(espeak_rate_hz, *(file.sample_rate_hz for file in files))
        self.capabilities = Capabilities(
            languages=tuple(sorted({*own, *lent})),
            voices=(*(person.voice for person in people), *_lent_voices(by_id, lent)),
            sample_rate_hz=rate_hz,
            has_exact_timing=True,
            segment_unit="sentence",
            max_segment_characters=_MAX_SEGMENT_CHARACTERS,
            first_segment_unit="clause",
        )
        self.speakers = tuple(
            PiperSpeaker(library, by_id, self._loaded, rate_hz, espeak_voices) for library in self._copies.libraries
        )

    def close(self) -> None:
        """Free the voices and the libraries."""
        self._loaded.clear()
        self._copies.close()
