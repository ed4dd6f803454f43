"""One private copy of libespeak-ng, called through ctypes; the only place that knows its C interface."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.common.errors import EngineError

# Names and values of espeak-ng's speak_lib.h, version 1.52.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_PHONEME_EVENTS = 0x0001
_INITIALIZE_PHONEME_IPA = 0x0002
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
_PARAMETER_RATE = 1
_EVENT_LIST_TERMINATED, _EVENT_WORD, _EVENT_PHONEME = 0, 1, 7
_EE_OK = 0
# The library keeps the path of its data in a buffer of 160 bytes.
MAX_DATA_PATH_BYTES = 159


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


class _Voice(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True, slots=True)
class WordEvent:
    """A word begins: at character `position` of the text, from 0, and at `sample` of the audio."""

    position: int
    sample: int


@dataclass(frozen=True, slots=True)
class PhonemeEvent:
    """A phoneme begins at `sample`; `name` is what espeak-ng writes, with stress, empty for a pause."""

    name: str
    sample: int


@dataclass(frozen=True, slots=True)
class Recording:
    """What one call made: samples of shape (n,), 16-bit, and the events in their order."""

    samples: NDArray[np.int16]
    events: tuple[WordEvent | PhonemeEvent, ...]


class Library:
    """One loaded copy. It is not safe for two threads, and two copies from one file name are the same one."""

    def __init__(self, library_path: Path, data_path: Path) -> None:
        """Raises: EngineError if the file cannot be loaded or its data is not found."""
        try:
            self._c = ctypes.CDLL(str(library_path))
        except OSError as error:
            raise EngineError(f"libespeak-ng cannot be loaded: {error}") from error
        self._declare()
        options = _INITIALIZE_PHONEME_EVENTS | _INITIALIZE_PHONEME_IPA | _INITIALIZE_DONT_EXIT
        self.sample_rate_hz = int(self._c.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, bytes(data_path), options))
        if self.sample_rate_hz <= 0:
            raise EngineError(f"libespeak-ng does not start with the data in {data_path}")
        self._pcm: list[bytes] = []
        self._samples_left = 0
        self._events: list[WordEvent | PhonemeEvent] = []
        self._failure: Exception | None = None
        # The library keeps the pointer, so the object must live as long.
        self._callback = _Callback(self._on_audio)
        self._c.espeak_SetSynthCallback(self._callback)
        self._voice = ""

    def _declare(self) -> None:
        c = self._c
        c.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
        c.espeak_SetSynthCallback.argtypes = [_Callback]
        c.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
        c.espeak_SetParameter.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
        c.espeak_ListVoices.argtypes = [ctypes.c_void_p]
        c.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        c.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]

    def languages(self) -> dict[str, str]:
        """Voice file by language tag, in espeak-ng's spelling; of several, the one that it prefers."""
        found: dict[str, tuple[int, str]] = {}
        voices = self._c.espeak_ListVoices(None)
        index = 0
        while voices[index]:
            voice = voices[index].contents
            index += 1
            # A list of (priority byte, tag, NUL), closed by a priority of 0; a lower priority is preferred.
            at: int = voice.languages
            while priority := ctypes.string_at(at, 1)[0]:
                tag = ctypes.string_at(at + 1)
                at += len(tag) + 2
                if priority < found.get(tag.decode(), (256, ""))[0]:
                    found[tag.decode()] = (priority, voice.identifier.decode())
        return {tag: identifier for tag, (_, identifier) in found.items()}

    def synthesize(self, text: str, voice: str, words_per_minute: int, max_samples: int) -> Recording:
        """Speak plain text: no SSML, no phoneme input; no pause is added at its end.

        Args:
            text: without control characters, which the library reads as commands.
            voice: a voice file, with "+variant" behind it or not.
            words_per_minute: 80 to 450.
            max_samples: the work stops there, so that no text can fill the memory.
        Raises: EngineError.
        """
        if voice != self._voice and self._c.espeak_SetVoiceByName(voice.encode()) != _EE_OK:
            raise EngineError(f"espeak-ng has no voice {voice}")
        self._voice = voice
        self._c.espeak_SetParameter(_PARAMETER_RATE, words_per_minute, 0)
        self._pcm, self._events, self._failure, self._samples_left = [], [], None, max_samples
        encoded = text.encode()
        error = self._c.espeak_Synth(encoded, len(encoded) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
        if self._failure is not None:
            raise self._failure
        if error != _EE_OK:
            raise EngineError(f"espeak-ng failed with its error {error}")
        return Recording(np.frombuffer(b"".join(self._pcm), np.int16), tuple(self._events))

    def _on_audio(self, samples: int | None, count: int, events: ctypes._Pointer[_Event]) -> int:
        """Called by the library for each stretch of audio. Returns: 1 to stop."""
        try:
            index = 0
            while (event := events[index]).type != _EVENT_LIST_TERMINATED:
                index += 1
                if event.type == _EVENT_WORD:
                    self._events.append(WordEvent(event.text_position - 1, event.sample))
                elif event.type == _EVENT_PHONEME:
                    # Eight bytes, cut without regard to characters and not closed by NUL when full.
                    self._events.append(PhonemeEvent(event.id.string.decode(errors="ignore"), event.sample))
            if samples is not None and count > 0:
                count = min(count, self._samples_left)
                self._samples_left -= count
                self._pcm.append(ctypes.string_at(samples, count * 2))
        except Exception as failure:
            # An exception does not pass through C; it is raised again behind the call.
            self._failure = failure
            return 1
        return int(self._samples_left == 0)

    def close(self) -> None:
        """Free the library's memory; its code stays mapped."""
        self._c.espeak_Terminate()
