"""Cuts text that comes in pieces into the segments that an engine speaks one at a time."""

# ruff: noqa: RUF001 - punctuation of many scripts.

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from services.tts.engine import SegmentUnit

_SENTENCE_MARKS = ".!?…。！？｡।॥؟۔"
_CLAUSE_MARKS = ",;:—–،؛，、；："
# Languages written without blanks go on right behind these.
_MARKS_WITHOUT_BLANK = "。！？｡।॥，、；："
_CLOSERS = "\"'”’»)]}」』）】*_`"
_COMMAS = ",،，、"
_ABBREVIATION = re.compile(
    "abs|approx|bspw|bzw|ca|cf|col|dr|etc|evtl|fig|gen|ggf|inc|jr|lt|ltd|mme|mr|mrs|ms|no|nr|prof|sr|sra|st|str|usw|"
    "vgl|vs|zb"
)
_LAST_TOKEN = re.compile(r"[\w.]+$")
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
# A first clause that is shorter than this is over before the next segment can be made, and sounds torn off: about a
# second of speech, in letters of an alphabet. A syllable or a word that is one wide character counts for three.
_SHORTEST_FIRST_CLAUSE = 15
_WIDE_COUNTS = 3
# How far a cut inside a word moves back so as not to separate a letter from its marks.
_LONGEST_CLUSTER = 16

# Silence between segments at the voice's own pace, as espeak-ng leaves it between clauses.
SENTENCE_PAUSE_S = 0.3
CLAUSE_PAUSE_S = 0.2
COMMA_PAUSE_S = 0.15


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of an utterance's text that starts at code point `begin`, and the silence that belongs before it."""

    text: str
    begin: int
    pause_before_s: float


class Segmenter:
    """An utterance's text, from pieces to segments.

    Where a segment ends depends on the text alone, never on how it was cut into pieces: a mark ends a sentence once
    the character after it is known. `flush` and the last piece make what there is final.
    """

    def __init__(self, unit: SegmentUnit, max_characters: int, first_unit: SegmentUnit | None = None) -> None:
        """Args: first_unit: what ends the first segment; None for `unit`."""
        self._marks = _marks_of(first_unit or unit)
        self._later_marks = _marks_of(unit)
        # What ends the first segment only.
        self._early_marks = set(self._marks) - set(self._later_marks)
        self._max_characters = max_characters
        self._text = ""
        self._begin = 0
        # Text before this code point will not be continued in its segment.
        self._settled = 0
        self._pause_s = 0.0
        self.is_complete = False

    @property
    def length(self) -> int:
        """Code points so far."""
        return len(self._text)

    def add(self, text: str) -> None:
        """Append a piece."""
        self._text += text

    def flush(self) -> None:
        """Let what there is be spoken, whole sentence or not."""
        self._settled = len(self._text)

    def complete(self) -> None:
        """No more text will come."""
        self.flush()
        self.is_complete = True

    def take(self) -> Segment | None:
        """The next segment whose end is known, if there is one."""
        while self._begin < len(self._text) and self._text[self._begin].isspace():
            self._begin += 1
        limit = self._begin + self._max_characters + 1
        is_settled = self._begin < self._settled
        window = self._text[self._begin : min(limit, self._settled) if is_settled else limit]
        is_whole = is_settled and self._begin + len(window) == self._settled
        end, pause_s = self._end_of_segment(window, is_whole=is_whole)
        if not end:
            return None
        segment = Segment(window[:end], self._begin, self._pause_s)
        self._begin += end
        self._pause_s = pause_s
        self._marks, self._early_marks = self._later_marks, set()
        return segment

    def _end_of_segment(self, window: str, *, is_whole: bool) -> tuple[int, float]:
        """Where the first segment of the window ends, 0 if that is not known yet, and the pause that follows it."""
        index = 0
        while index < len(window):
            if window[index] == "\n" and (blank := _BLANK_LINE.match(window, index)):
                return blank.end(), SENTENCE_PAUSE_S
            if window[index] not in self._marks:
                index += 1
                continue
            end = index + 1
            while end < len(window) and window[end] in self._marks + _CLOSERS:
                end += 1
            if end == len(window) and not is_whole:
                break
            marks = [mark for mark in window[index:end] if mark in self._marks]
            is_torn_off = self._early_marks.issuperset(marks) and _weight(window[:end]) < _SHORTEST_FIRST_CLAUSE
            if end <= self._max_characters and self._is_boundary(window, index, end, marks) and not is_torn_off:
                return end, _pause_after(marks)
            index = end
        if is_whole and len(window) <= self._max_characters:
            return len(window), 0.0
        return self._cut(window) if len(window) > self._max_characters else (0, 0.0)

    def _cut(self, window: str) -> tuple[int, float]:
        """Where to end a sentence that is too long: behind a clause of its second half, else between two words."""
        size = self._max_characters
        for index in range(size - 1, size // 2, -1):
            end = index + 1
            while end < size and window[end] in _CLOSERS:
                end += 1
            mark = window[index]
            if mark in _CLAUSE_MARKS and self._is_boundary(window, index, end, [mark]):
                return end, _pause_after([mark])
        return _cut_words(window, size), 0.0

    @staticmethod
    def _is_boundary(window: str, index: int, end: int, marks: list[str]) -> bool:
        following = window[end : end + 1]
        if following and not following.isspace():
            between_digits = window[index - 1 : index].isdigit() and following.isdigit()
            return marks[-1] in _MARKS_WITHOUT_BLANK and not between_digits
        if marks != ["."]:
            return True
        token = _LAST_TOKEN.search(window[:index])
        if token is None:
            return True
        # An initial, an ordinal or an abbreviation: wait, the engine will see it together with what follows.
        word = token.group().lower()
        is_short = len(word) == 1 or (word.isdigit() and len(word) <= 2)
        return not (is_short or "." in word or _ABBREVIATION.fullmatch(word))


def _marks_of(unit: SegmentUnit) -> str:
    return _SENTENCE_MARKS if unit == "sentence" else _SENTENCE_MARKS + _CLAUSE_MARKS


def _pause_after(marks: list[str]) -> float:
    if any(mark in _SENTENCE_MARKS for mark in marks):
        return SENTENCE_PAUSE_S
    return COMMA_PAUSE_S if all(mark in _COMMAS for mark in marks) else CLAUSE_PAUSE_S


def _weight(text: str) -> int:
    """How long a text takes to say, in letters of an alphabet."""
    return sum(_WIDE_COUNTS if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _cut_words(window: str, size: int) -> int:
    """Where to cut text that has no mark: at its last blank, else between two letters."""
    for index in range(size, 0, -1):
        if window[index].isspace():
            return index
    for index in range(size, max(size - _LONGEST_CLUSTER, 1), -1):
        if not unicodedata.category(window[index]).startswith("M") and window[index] not in "\u200c\u200d":
            return index
    return size
