"""Writes espeak-ng's phonemes in the symbols of a voice, as those were written that it learnt from."""

# ruff: noqa: RUF001 - punctuation of many scripts.

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.tts.engines.espeak.library import PhonemeEvent, WordEvent
from services.tts.speakable import SpeakableText, tokens_of

PAD, BEGIN, END, BLANK = "_", "^", "$", " "
# The marks that voices know, by those that are written.
_MARKS = {",": ",", ";": ";", ":": ":", ".": ".", "!": "!", "?": "?"}
_MARKS |= {"…": ";", "—": ";", "–": ";", "،": ",", "、": ",", "，": ",", "；": ";", "؛": ";", "：": ":"}
_MARKS |= {"。": ".", "｡": ".", "।": ".", "॥": ".", "۔": ".", "！": "!", "？": "?", "؟": "?"}
_MARKS_INSIDE_A_SENTENCE = ",;:"
_LANGUAGE_SWITCH = re.compile(r"\([\w-]*\)")
_Event = WordEvent | PhonemeEvent


@dataclass(frozen=True, slots=True)
class Spelling:
    """A text in a voice's symbols.

    Args:
        ids: what the voice reads.
        events: words, phonemes and pauses, which begin with the id that `sample` counts; pauses at both ends.
    """

    ids: tuple[int, ...]
    events: tuple[_Event, ...]

    def timed(self, begins: NDArray[np.int64]) -> tuple[_Event, ...]:
        """The events in samples. Args: begins: of each id, shape (ids,)."""
        return tuple(replace(event, sample=int(begins[event.sample])) for event in self.events)


class _Writer:
    def __init__(self, ids: Mapping[str, Sequence[int]]) -> None:
        self._known = ids
        self.ids: list[int] = []
        self.events: list[_Event] = []
        self.has_sound = False

    def put(self, symbol: str) -> None:
        """Each symbol is followed by a pad; what the voice has not learnt is left out."""
        if known := self._known.get(symbol):
            self.ids += [*known, *self._known[PAD]]

    def pause(self, symbols: str) -> None:
        self.events.append(PhonemeEvent("", len(self.ids)))
        for symbol in symbols:
            self.put(symbol)

    def phoneme(self, name: str) -> None:
        self.events.append(PhonemeEvent(name, len(self.ids)))
        self.has_sound = True
        for symbol in unicodedata.normalize("NFD", _LANGUAGE_SWITCH.sub("", name)):
            self.put(symbol)


def _mark_in(text: str) -> str:
    return next((_MARKS[char] for char in text if char in _MARKS), "")


def spell(spoken: SpeakableText, events: Sequence[_Event], ids: Mapping[str, Sequence[int]]) -> Spelling | None:
    """Returns: None if there is nothing to say.

    Args:
        spoken: what espeak-ng was given.
        events: what it made of it.
        ids: of the voice, by symbol; those of `PAD`, `BEGIN` and `END` are among them.
    Source: blanks between words, marks at the ends of clauses, one symbol for each code point of the decomposed IPA, as
        Piper's voices are trained: https://github.com/rhasspy/piper/blob/master/src/python/piper_train
    """
    tokens = tokens_of(spoken.text)
    writer = _Writer(ids)
    writer.events.append(PhonemeEvent("", 0))
    writer.put(BEGIN)
    ends_clause = False
    for event in events:
        if isinstance(event, WordEvent):
            if writer.has_sound:
                end = max((token.end for token in tokens if token.begin < event.position), default=0)
                mark = _mark_in(spoken.text[end : event.position]) if ends_clause else ""
                is_new_sentence = bool(mark) and mark not in _MARKS_INSIDE_A_SENTENCE
                writer.pause(mark if is_new_sentence else mark + BLANK)
            writer.events.append(WordEvent(event.position, len(writer.ids)))
            ends_clause = False
        elif event.name:
            writer.phoneme(event.name)
            ends_clause = False
        else:
            ends_clause = True
    if not writer.has_sound:
        return None
    writer.pause(_mark_in(spoken.text[tokens[-1].end :]) if tokens else "")
    return Spelling((*writer.ids, *ids[END]), tuple(writer.events))
