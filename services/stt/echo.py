"""Tells the assistant's own voice, as a microphone hears it, from somebody who speaks over it."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

# "Yes", or "no, stop", said over an answer that has the same words, is a caller far more often than an echo.
_FEWEST_WORDS = 3
# Each word that the recogniser got wrong breaks two pairs of neighbours: this is one word in four.
_SHARE_OF_PAIRS = 0.5
# Typewriter's and printer's; they stand inside words.
_APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}"
# Scripts that put no blanks between words; each of their characters counts as a word.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


def is_echo(heard: str, assistant: str) -> bool:
    """Whether what was heard while the assistant spoke has the assistant's words, in the assistant's order.

    Args:
        heard: what the recogniser made of the sound.
        assistant: what the assistant says; the sound may have any stretch of it.
    """
    words = _words_of(heard)
    if len(words) < _FEWEST_WORDS:
        return False
    spoken = set(pairwise(_words_of(assistant)))
    pairs = list(pairwise(words))
    return sum(pair in spoken for pair in pairs) >= _SHARE_OF_PAIRS * len(pairs)


def _words_of(text: str) -> list[str]:
    """The words without case and punctuation."""
    spaced = []
    for character in unicodedata.normalize("NFKC", text).casefold():
        if not (character.isalnum() or unicodedata.category(character).startswith("M")):
            spaced.append("" if character in _APOSTROPHES else " ")
        elif character.isascii() or not unicodedata.name(character, "").startswith(_UNSPACED):
            spaced.append(character)
        else:
            spaced.append(f" {character} ")
    return "".join(spaced).split()
