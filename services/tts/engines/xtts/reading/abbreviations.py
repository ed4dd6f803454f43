"""Abbreviations, and addresses of the net, as words."""

# ruff: noqa: RUF001 - quotation marks.

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from services.tts.engines.xtts.reading.words import Words

_NAME_AHEAD = re.compile(r"\s?[^\W_]")
_SENTENCE_END = re.compile(r"\s*(?:$|\n)")
# What coqui-tts would read as a title, whatever it stands for.
_TITLES_OF_THE_LIBRARY = {"pl": "pm", "cs": "p", "tr": "b", "hu": "b"}

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_TOP_LEVEL = (
    "com|org|net|io|ai|dev|app|eu|gov|edu|info|"
    "de|at|ch|fr|es|it|pt|br|pl|tr|ru|nl|be|cz|hu|kr|jp|cn|co\\.uk|uk|us|ca|au|tv"
)
_URL = re.compile(
    r"(?:https?://|www\.)[^\s<>\"']*[^\s<>\"'.,;:!?)\]}]|"
    rf"(?<![\w.@/-])(?:[a-z0-9-]+\.)+(?:{_TOP_LEVEL})(?![\w-]|\.\w)(?:/[\w./-]*\w)?"
)
# A longer path, or one with a query, is for machines.
_LONGEST_PATH = 40


class Abbreviations:
    """Of one language."""

    def __init__(self, language: str, words: Words) -> None:
        counted = {*words.units, *words.scales, *words.money}
        self._counted = counted | {f"{sign}." for sign in counted if len(sign) > 1}
        self._words_of = {_squeezed(key): said for key, said in words.abbreviations.items()}
        self._words_before_figures = {_squeezed(key): said for key, said in words.before_figures.items()}
        self._words_of_ends = words.word_ends
        self._words_after_names = words.after_names
        self._everywhere = _pattern(words.abbreviations)
        self._before_figures = _pattern(words.before_figures, r"(?=\s?[0-9])")
        ends = "|".join(map(re.escape, words.word_ends))
        self._ends = re.compile(rf"(?<=[^\W\d_]{{2}})-?({ends})") if ends else None
        names = "|".join(re.escape(key) for key in words.after_names)
        self._after_names = (
            re.compile(rf"\b([A-Z][\w’']+|[0-9]+(?:st|nd|rd|th))\s({names})(?!\s+[A-Z])", re.IGNORECASE)
            if names
            else None
        )
        titles = _TITLES_OF_THE_LIBRARY.get(language)
        self._initials = re.compile(rf"\b([{titles.upper()}])\.\s(?=[^\W\d_])") if titles else None
        self._titles = re.compile(rf"\b([{titles}])\.", re.IGNORECASE) if titles else None

    def expanded(self, text: str) -> str:
        """With words for abbreviations. A dot that ends the text stays."""
        if "." not in text and not self._everywhere.search(text):
            return text
        if self._after_names:
            text = self._after_names.sub(self._street, text)
        if self._ends:
            text = self._ends.sub(lambda m: self._words_of_ends[m[1]] + _stop(m), text)
        text = self._before_figures.sub(
            lambda m: self._word(m, self._words_before_figures) + ("" if m.string[m.end()].isspace() else " "), text
        )
        text = self._everywhere.sub(self._abbreviation, text)
        if self._initials and self._titles:
            text = self._titles.sub(r"\1 .", self._initials.sub(r"\1 ", text))
        return text

    def _street(self, match: re.Match[str]) -> str:
        street = self._words_after_names.get(match[2].lower())
        if street is None or match[1][0].islower():
            return match[0]
        return f"{match[1]} {street}{_stop(match)}"

    def _abbreviation(self, match: re.Match[str]) -> str:
        written, text = match[0], match.string
        figures_before = text[: match.start()].rstrip()[-1:].isdigit()
        if figures_before and written in self._counted:
            return written
        if len(written.rstrip(".")) == 1:
            ahead = _NAME_AHEAD.match(text, match.end())
            is_initial = text[: match.start()].rstrip()[-1:] == "."
            if ahead is None or ahead[0][-1].islower() or is_initial:
                return written
        glued = text[match.end() : match.end() + 1]
        return self._word(match, self._words_of) + _stop(match) + (" " if glued.isalnum() else "")

    @staticmethod
    def _word(match: re.Match[str], words: Mapping[str, str]) -> str:
        key = _squeezed(match[0])
        return words.get(key) or words[key[0].lower() + key[1:]]


def _squeezed(written: str) -> str:
    return re.sub(r"\s", "", written)


def _pattern(keys: Iterable[str], ahead: str = "") -> re.Pattern[str]:
    """Of any of these, or none at all: with or without blanks inside, and with a capital letter for a small one."""
    patterns = []
    for key in sorted(keys, key=len, reverse=True):
        letters = [r"\s?" if char == " " else re.escape(char) for char in key]
        if key[0].islower() and len(key.rstrip(".")) > 1:
            letters[0] = f"[{key[0]}{key[0].upper()}]"
        written = re.sub(r"\\\.(?=[^\\])", r"\\.\\s?", "".join(letters))
        patterns.append(written + ("" if key.endswith((".", ":", "/", "°", "º")) else r"(?![\w.])"))
    return re.compile(rf"(?<![\w.])(?:{'|'.join(patterns)}){ahead}" if patterns else "(?!)")


def _stop(match: re.Match[str]) -> str:
    """A dot where the abbreviation's own ended the sentence."""
    return "." if match[0].endswith(".") and _SENTENCE_END.match(match.string, match.end()) else ""


class Addresses:
    """Of one language: how its speakers spell those of the net."""

    def __init__(self, words: Words) -> None:
        self._says = {
            ".": words.dot, "/": words.slash, "-": words.dash, "_": words.underscore, "@": words.at, "+": words.plus,
        }  # fmt: skip
        self._hash = words.hash

    def expanded(self, text: str) -> str:
        """With words for the signs in e-mail addresses and those of pages, and for the hash of a topic."""
        if "@" in text:
            text = _EMAIL.sub(lambda m: self._spelled(m[0].rstrip(".")) + "." * m[0].endswith("."), text)
        if "." in text:
            text = _URL.sub(lambda m: self._page(m[0]), text)
        if "#" in text:
            text = re.sub(r"(?<![\w&])#(?=[^\W\d_])", f"{self._hash} ", text)
        return text

    def _page(self, address: str) -> str:
        address = re.sub(r"^https?://", "", address).rstrip("/")
        host, slash, path = address.partition("/")
        host = host.partition("?")[0].partition("#")[0]
        is_sayable = len(path) <= _LONGEST_PATH and not set(path) & set("?=&%#")
        return self._spelled(host + slash + path if is_sayable else host)

    def _spelled(self, address: str) -> str:
        words = "".join(f" {self._says[char]} " if char in self._says else char for char in address)
        return re.sub(r"\s+", " ", words).strip()
