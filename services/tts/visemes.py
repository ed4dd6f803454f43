"""The mouth shapes that belong to IPA phonemes, whatever engine speaks them."""

# ruff: noqa: RUF001 - phonetic letters look like others.

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from services.tts.engine import PhonemeSpan, Viseme, VisemeSpan

# Letters, and pairs of letters that are one shape, by the shape that they need. The consonant rows are the contract's;
# vowels go to the nearest of five by lip opening, spreading and rounding.
_LETTERS: dict[Viseme, str] = {
    Viseme.PP: "p b m ɓ ʙ ɸ β ᵐ",
    Viseme.FF: "f v ɱ ʋ ⱱ",
    Viseme.TH: "θ ð",
    Viseme.DD: "t d ʈ ɖ ɗ ᶑ ɾ",
    Viseme.KK: "k ɡ g ŋ q ɢ ɴ x ɣ χ c ɟ ɠ ʄ ʛ ɰ ᵑ",
    Viseme.CH: "ʃ ʒ ʂ ʐ ɕ ʑ ɧ tʃ dʒ tɕ dʑ tʂ dʐ ʈʂ ɖʐ ʧ ʤ",
    Viseme.SS: "s z ts dz ʦ ʣ",
    Viseme.NN: "n l ɲ ɳ ɭ ʎ ʟ ɫ ɬ ɮ",
    Viseme.RR: "r ɹ ɻ ɽ ɺ ʀ ʁ",
    Viseme.AA: "a ɑ ɐ ʌ æ ɶ",
    Viseme.E: "e ɛ ə ɘ ɜ ɞ ɤ",
    Viseme.IH: "i ɪ ɨ ᵻ ɯ j ʝ ç",
    Viseme.OH: "o ɔ ɒ œ ɵ",
    Viseme.OU: "u ʊ ʉ y ʏ ø w ʍ ɥ",
}
_SHAPES = {letters: (viseme,) for viseme, row in _LETTERS.items() for letters in row.split()} | {
    "ɚ": (Viseme.E, Viseme.RR),
    "ɝ": (Viseme.E, Viseme.RR),
}
# Made in the throat: the mouth already has the shape of what comes next.
_GLOTTAL = frozenset("hɦʔħʕ")
_VOWELS = frozenset("aɑɐʌæɶeɛəɘɜɞɤiɪɨᵻɯoɔɒœɵuʊʉyʏøɚɝ")
_REDUCED = frozenset("əɐɨᵻɘ")
# What alters a letter without another mouth shape: length, aspiration, palatalisation, tone, ties.
_MODIFIERS = frozenset("ːˑʰʱʲʷˠˤᵝⁿˡˀʼ˞ˈˌ.‿")
# The mouth does not rest in a pause that is shorter than this; espeak puts such pauses before German vowels.
MIN_REST_S = 0.05


def letters_of(symbol: str) -> list[str]:
    """The letters of a phoneme that have a shape each, longest match first; modifiers are left out."""
    plain = "".join(
        char
        for char in unicodedata.normalize("NFD", symbol)
        if char not in _MODIFIERS and unicodedata.category(char) not in ("Mn", "Sk", "Nd", "No")
    )
    # ç is one letter of the IPA, not a c with a mark.
    plain = plain if "ç" not in symbol else "".join(char for char in symbol if char in _SHAPES or char in _GLOTTAL)
    letters = []
    while plain:
        size = 2 if plain[:2] in _SHAPES else 1
        letters.append(plain[:size])
        plain = plain[size:]
    return letters


def is_mapped(symbol: str) -> bool:
    """Whether every letter of a phoneme stands in the table."""
    letters = letters_of(symbol)
    return bool(letters) and all(letter in _SHAPES or letter in _GLOTTAL for letter in letters)


def _weight(letter: str, *, is_stressed: bool) -> float:
    if letter not in _VOWELS:
        return 1.0
    return 1.0 if is_stressed else 0.5 if letter in _REDUCED else 0.8


def _shapes_of(phoneme: PhonemeSpan) -> list[tuple[Viseme | None, float]]:
    """Shape and weight of each part of a phoneme; None for a part that takes the shape of the next."""
    shapes: list[tuple[Viseme | None, float]] = []
    for letter in letters_of(phoneme.symbol):
        if letter in _GLOTTAL:
            shapes.append((None, 0.6))
            continue
        # A sound that no table knows opens the mouth a little.
        known = _SHAPES.get(letter)
        weight = 0.4 if known is None else _weight(letter, is_stressed=phoneme.is_stressed)
        shapes.extend((viseme, weight) for viseme in known or (Viseme.E,))
    return shapes or [(Viseme.E, 0.4)]


def visemes_of(phonemes: Sequence[PhonemeSpan], sample_rate_hz: int) -> tuple[VisemeSpan, ...]:
    """Mouth shapes that lie end to end over the same time as the phonemes.

    A diphthong is held half as long in each of its shapes. A pause is SIL, unless it is too short to rest in.

    Args:
        phonemes: end to end, ordered.
    """
    parts: list[tuple[Viseme | None, int, int, float]] = []
    for phoneme in phonemes:
        length = phoneme.end - phoneme.start
        if not phoneme.symbol:
            rests = length >= MIN_REST_S * sample_rate_hz or not parts
            viseme, weight = (Viseme.SIL, 1.0) if rests else (parts[-1][0], parts[-1][3])
            parts.append((viseme, phoneme.start, phoneme.end, weight))
            continue
        shapes = _shapes_of(phoneme)
        for index, (viseme, weight) in enumerate(shapes):
            start = phoneme.start + length * index // len(shapes)
            parts.append((viseme, start, phoneme.start + length * (index + 1) // len(shapes), weight))
    spans: list[VisemeSpan] = []
    following = Viseme.E
    for viseme, start, end, weight in reversed(parts):
        # Before a closure or a pause, breath leaves through a slightly open mouth.
        shape = viseme or (following if following not in (Viseme.SIL, Viseme.PP) else Viseme.E)
        following = shape
        if spans and spans[-1].viseme is shape and spans[-1].weight == weight:
            spans[-1] = VisemeSpan(shape, start, spans[-1].end, weight)
        elif end > start:
            spans.append(VisemeSpan(shape, start, end, weight))
    return tuple(reversed(spans))
