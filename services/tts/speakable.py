"""What of a text can be spoken: neither commands nor pictures nor the marks of a markup."""

# ruff: noqa: RUF001 - punctuation of many scripts.

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

# Marks that writers (and language models) put around or before words to set them in bold, as code or as a heading.
_MARKUP = re.compile(r"(?<!\S)#{1,6}(?=\s)|[*_~`]+(?=\S)|(?<=\S)[*_~`]+|(?:^|(?<=\n))[ \t]*[*](?=[ \t])")
_PICTURES = ((0x1F000, 0x1FAFF), (0x2600, 0x27BF), (0x2B00, 0x2BFF), (0xFE00, 0xFE0F), (0xE0000, 0xE0FFF))
_KEYCAP = "\u20e3"
_JOINERS = "\u200c\u200d"
_SPOKEN_MARKS = "%&@#§*"


@dataclass(frozen=True, slots=True)
class SpeakableText:
    """Text for an engine and where each of its characters comes from.

    `spans[i]` is the range of code points of the source that became `text[i]`.
    """

    text: str
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Token:
    """A written word `[begin, end)`; `is_glued` when no blank stands before it, as in Chinese."""

    begin: int
    end: int
    is_glued: bool


def _is_picture(char: str) -> bool:
    return char == _KEYCAP or any(low <= ord(char) <= high for low, high in _PICTURES)


def _plain(char: str) -> str:
    """The character, a blank in its place, or nothing."""
    category = unicodedata.category(char)
    if category == "Cf":
        return char if char in _JOINERS else ""
    if category in ("Cc", "Co", "Cs", "Cn"):
        return "\n" if char == "\n" else " "
    return " " if _is_picture(char) else char


def _joins_the_one_before(char: str) -> bool:
    # Vowels and final consonants of decomposed Korean syllables join like marks do.
    return unicodedata.category(char).startswith("M") or 0x1160 <= ord(char) <= 0x11FF


def make_speakable(text: str) -> SpeakableText:
    """Leave out what must not be spoken, and compose accents (NFC), which engines know only as one letter."""
    is_markup = [False] * len(text)
    for match in _MARKUP.finditer(text):
        is_markup[match.start() : match.end()] = [True] * len(match.group())
    spoken: list[str] = []
    spans: list[tuple[int, int]] = []
    begin = 0
    while begin < len(text):
        end = begin + 1
        while end < len(text) and _joins_the_one_before(text[end]):
            end += 1
        cluster = "" if is_markup[begin] else "".join(map(_plain, text[begin:end]))
        for char in unicodedata.normalize("NFC", cluster):
            spoken.append(char)
            spans.append((begin, end))
        begin = end
    return SpeakableText("".join(spoken), tuple(spans))


_DASHES = "—–…"
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f]")
_RUN = re.compile(
    rf"{_UNSPACED.pattern}|[^\s{_DASHES}\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f]+"
)


def _is_spoken(char: str) -> bool:
    return unicodedata.category(char)[0] in "LNSM" or char in _SPOKEN_MARKS


def tokens_of(text: str) -> list[Token]:
    """The written words, without the punctuation around them; each character where words have no blanks between."""
    tokens: list[Token] = []
    for run in _RUN.finditer(text):
        begin, end = run.span()
        while begin < end and not _is_spoken(text[begin]):
            begin += 1
        while end > begin and not _is_spoken(text[end - 1]):
            end -= 1
        if begin < end:
            is_glued = bool(tokens) and tokens[-1].end == begin
            tokens.append(Token(begin, end, is_glued))
    return tokens
