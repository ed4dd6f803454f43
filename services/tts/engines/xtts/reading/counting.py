"""Numbers as they are written in a language, read as its words, alone or with what they count."""

from __future__ import annotations

import re

from services.tts.engines.xtts.reading.numerals import LONGEST_NUMBER, cardinal, ordinal, year
from services.tts.engines.xtts.reading.words import Noun, Words

# Matches more than numbers: versions and lists, too.
NUMBER = r"(?<![0-9])(?<![0-9][.,])(?>[0-9]+(?:[.,][0-9]+)*)"
_IP_PARTS = 4


class Counting:
    """The numbers of one language."""

    def __init__(self, language: str, words: Words) -> None:
        """Args: language: by which `cardinal` knows it."""
        self._language = language
        self._words = words
        self._group_mark = "," if words.decimal_mark == "." else "."
        self._blank = "" if words.joins else " "
        self._point = Noun.of(words.point)
        self._endings = {
            form: tuple((re.compile(ending), other) for ending, other in rules) for form, rules in words.endings.items()
        }

    def number(self, written: str) -> str:
        """The words of what `NUMBER` matches; of what is no number, of its parts."""
        parts = self._parsed(written)
        if parts is not None:
            return self._number(*parts)
        figures = re.split("[.,]", written)
        if "," in written:
            return ", ".join(self._whole(part) for part in figures)
        say = self.figures if len(figures) == _IP_PARTS else self._whole
        return f"{self._blank}{self._words.dot}{self._blank}".join(say(part) for part in figures)

    def counted(self, written: str, noun: Noun) -> str:
        """A number with what it counts, in the form that it asks for."""
        parts = self._parsed(written)
        if parts is None:
            return f"{self.number(written)}{self._blank}{noun.forms[-1]}"
        whole, decimals = parts
        # A long one is a code, whatever its value.
        count = int(whole[-LONGEST_NUMBER:])
        index = len(noun.forms) - 1 if decimals and self._words.plural in ("polish", "czech") else 0
        if not index:
            index = min(_form_of(self._words.plural, count, has_decimals=bool(decimals)), len(noun.forms) - 1)
        form = noun.forms[index]
        if self._words.plural == "arabic" and not decimals and count in (1, 2) and len(noun.forms) > 1:
            one = "واحدة" if noun.gender == "f" else "واحد"
            return f"{form} {one}" if count == 1 else form
        number = self._number(whole, decimals) if decimals else self.inflected(self._whole(whole), noun.gender)
        return f"{number}{self._blank}{form}"

    def ordinal(self, figures: str, form: str = "") -> str:
        """Args: form: of `Words.endings`."""
        if len(figures) > LONGEST_NUMBER // 2:
            return self.figures(figures)
        words = ordinal(int(figures), self._language)
        return self.inflected(words, f"ordinal {form}" if f"ordinal {form}" in self._endings else form)

    def year(self, figures: str, form: str = "") -> str:
        """Args: figures: four; form: of an ordinal, or "year" or "" for none."""
        if form not in ("", "year"):
            return self.ordinal(figures, form)
        return year(int(figures), self._language) if figures[0] != "0" else self._whole(figures)

    def figures(self, figures: str) -> str:
        """Figure by figure."""
        return self._blank.join(cardinal(int(figure), self._language) for figure in figures)

    def inflected(self, words: str, form: str) -> str:
        """Args: form: of `Words.endings`; others change nothing."""
        for ending, other in self._endings.get(form, ()):
            words = ending.sub(other, words)
        return words

    def _number(self, whole: str, decimals: str) -> str:
        if not decimals:
            return self._whole(whole)
        if len(self._point.forms) > 1:
            words = self.counted(whole, self._point)
        else:
            words = f"{self._whole(whole)}{self._blank}{self._point.forms[0]}"
        if not self._words.decimals_as_number or len(decimals) > 3:
            return f"{words}{self._blank}{self.figures(decimals)}"
        value = decimals.lstrip("0")
        zeros = decimals[: len(decimals) - len(value)]
        said = [self.figures(zeros)] if zeros else []
        return self._blank.join([words, *said, *([self._whole(value)] if value else [])])

    def _whole(self, figures: str) -> str:
        """One with zeros before it, or a very long one, figure by figure."""
        if len(figures) > LONGEST_NUMBER:
            return self.figures(figures)
        value = figures.lstrip("0")
        zeros = len(figures) - len(value) - (not value)
        words = cardinal(int(figures), self._language)
        return self._blank.join([*[cardinal(0, self._language)] * zeros, words])

    def _parsed(self, written: str) -> tuple[str, str] | None:
        """Figures before and behind the decimal mark; None for what is no number."""
        marks = re.sub("[0-9]", "", written)
        if not marks:
            return written, ""
        head, tail = written[: written.rindex(marks[-1])], written[written.rindex(marks[-1]) + 1 :]
        if len(set(marks)) == 2:
            is_number = marks.count(marks[-1]) == 1 and _is_grouped(head, marks[0])
            return (head.replace(marks[0], ""), tail) if is_number else None
        if _is_grouped(written, marks[0]) and (len(marks) > 1 or marks == self._group_mark):
            return written.replace(marks[0], ""), ""
        return (head, tail) if len(marks) == 1 else None


def lost_stop(match: re.Match[str]) -> str:
    """A dot that belonged to what was read and ended the text, too."""
    return "." if match[0].endswith(".") and match.end() == len(match.string) else ""


def _is_grouped(written: str, mark: str) -> bool:
    """Whether thousands, or thousands and hundreds of those as in India, are set apart by a mark."""
    first, *rest = written.split(mark)
    if not rest or first.startswith("0") or len(first) > 3:
        return False
    return len(rest[-1]) == 3 and (all(len(part) == 3 for part in rest) or _is_indian(first, rest))


def _is_indian(first: str, rest: list[str]) -> bool:
    return len(first) <= 2 and all(len(part) == 2 for part in rest[:-1])


def _form_of(plural: str, count: int, *, has_decimals: bool) -> int:
    """The index of a noun's form behind a number. Source: the plural rules of the Unicode CLDR."""
    if plural == "none":
        return 0
    if plural == "french":
        return int(count > 1)
    if plural == "two":
        return int(count != 1 or has_decimals)
    if plural == "arabic":
        if has_decimals or count > 99:
            return 0
        return 0 if count == 1 else 1 if count == 2 else 2 if 3 <= count <= 10 else 3
    if has_decimals:
        return 1
    if plural == "czech":
        return 0 if count == 1 else 1 if 2 <= count <= 4 else 2
    is_few = count % 10 in (2, 3, 4) and count % 100 not in (12, 13, 14)
    if plural == "polish":
        return 0 if count == 1 else 1 if is_few else 2
    return 0 if count % 10 == 1 and count % 100 != 11 else 1 if is_few else 2
