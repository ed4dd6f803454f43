"""Amounts of money, percentages and measures as words."""

from __future__ import annotations

import re
from collections.abc import Iterable

from services.tts.engines.xtts.reading.counting import NUMBER, Counting, lost_stop
from services.tts.engines.xtts.reading.words import Noun, Words

# "s" is "with" in Czech and "and" in Hungarian.
_UNITS_THAT_ARE_WORDS = ("s",)
_FRACTION = re.compile(r"(?<![0-9A-Za-z/.,])(?:([0-9]+)\s)?([0-9]{1,4})/([0-9]{1,4})(?![0-9A-Za-z/])")
_NAMED_FRACTIONS = ("1/2", "1/3", "2/3", "1/4", "3/4")
_PER = re.compile(r"(?<=[€$£¥₽₺%])/(?=[^\W\d_])")
# "Kapitel 1 Einführung".
_NAME_BEFORE = re.compile(r"(?<!\w)[^\W\d_a-zäöüß]\w*\s$")
_CENTS = re.compile(r"(.*[0-9])[.,]([0-9]{2})")


class Quantities:
    """Of one language."""

    def __init__(self, words: Words, counting: Counting) -> None:
        self._words = words
        self._counting = counting
        self._blank = "" if words.joins else " "
        end = "" if words.joins else r"(?![^\W_])"
        # A suffix may follow at a joint, which goes.
        if words.joint:
            end = rf"(?:[{words.joint}](?=[^\W\d_])|{end})"
        self._currencies = {
            sign: (Noun.of(whole), Noun.of(cent) if cent else None) for sign, (whole, cent) in words.money.items()
        }
        self._scales = {sign: Noun.of(noun) for sign, noun in words.scales.items()}
        self._percent = Noun.of(words.percent)
        self._fractions = dict(zip(_NAMED_FRACTIONS, words.fractions, strict=True))
        scale = any_of(self._scales)
        letters = any_of(sign for sign in self._currencies if sign[0].isalpha())
        signs = any_of(sign for sign in self._currencies if not sign[0].isalpha())
        currency = any_of(self._currencies)
        scaled = rf"({NUMBER})(?:\s?({scale})(?![^\W_]))?" if not words.joins else rf"({NUMBER})(?:\s?({scale}))?"
        self._sign_first = re.compile(rf"((?<![^\W\d_])(?:{letters})|{signs})\s?{scaled}")
        # Of two numbers around letters, these belong to the first.
        self._letters_last = re.compile(rf"(?<![0-9A-Za-z.,]){scaled}\s?({letters}){end}")
        self._sign_last = re.compile(rf"(?<![0-9A-Za-z.,]){scaled}\s?({currency}){end}")
        # A letter by itself is more often part of a name, as in 4K and row 7B.
        by_themselves = any_of(sign for sign in self._scales if len(sign) > 1 or words.joins or sign in ("k", "M"))
        self._scaled = re.compile(rf"(?<![0-9A-Za-z.,])({NUMBER})\s?({by_themselves}){end}")
        self._percents = re.compile(
            rf"({NUMBER})\s?%(?:[{words.joint}](?=[^\W\d_]))?" if words.joint else rf"({NUMBER})\s?%"
        )
        self._percents_first = re.compile(rf"(?<!\w)%\s?({NUMBER})")
        unit = any_of(sign for sign in words.units if sign not in _UNITS_THAT_ARE_WORDS)
        also_words = "|".join(rf"{sign}(?!\s\w)" for sign in _UNITS_THAT_ARE_WORDS)
        self._measures = re.compile(rf"({NUMBER})\s?({unit}|{also_words}){end}(?!/)")
        self._unit_ahead = re.compile(rf"\s?({unit}){end}")

        # Nouns that are written out agree, too: "1 Minute" in German.
        self._nouns = {form: noun for noun in self._all_nouns() for form in noun.forms if noun.gender in words.endings}
        self._agreeing = (
            re.compile(rf"(?<![0-9A-Za-z.,])([0-9]+)(?=\s({any_of(self._nouns)})(?!\w))", re.IGNORECASE)
            if self._nouns
            else None
        )

        self._counted_genders = [(re.compile(word), gender) for word, gender in words.counted_genders]
        self._counted = re.compile(r"(?<![0-9A-Za-z.,])([0-9]+)(?=\s([^\W\d_]+)(?!\w))")

    def expanded(self, text: str) -> str:
        """With words for all of these, and for fractions."""
        text = _PER.sub(f" {self._words.per} ", text)
        text = self._letters_last.sub(lambda m: self._amount(m[1], m[2], m[3]) + lost_stop(m), text)
        text = self._sign_first.sub(lambda m: self._amount(m[2], m[3], m[1]), text)
        text = self._sign_last.sub(lambda m: self._amount(m[1], m[2], m[3]), text)
        text = self._percents.sub(self._percentage, text)
        text = self._percents_first.sub(self._percentage, text)
        text = self._with_fractions(text)
        text = self._measures.sub(lambda m: self._counting.counted(m[1], self._words.units[m[2]]) + lost_stop(m), text)
        text = self._agreeing.sub(lambda m: self._agreed(m[1], m[2]), text) if self._agreeing else text
        text = self._counted.sub(self._guessed, text) if self._counted_genders else text
        return self._scaled.sub(lambda m: re.sub(" d[ei]$", "", self._counting.counted(m[1], self._scales[m[2]])), text)

    def _all_nouns(self) -> list[Noun]:
        money = [noun for pair in self._currencies.values() for noun in pair if noun]
        return [*money, *self._scales.values(), *self._words.units.values()]

    def _agreed(self, written: str, form: str) -> str:
        words = self._counting.number(written)
        # Case-blind patterns match letters that no lower case tells, such as the long s.
        noun = self._nouns.get(form.lower())
        return words if noun is None else self._counting.inflected(words, noun.gender)

    def _guessed(self, match: re.Match[str]) -> str:
        """A number with the gender that the next word seems to have, behind what is not numbered by it."""
        if _NAME_BEFORE.search(match.string, 0, match.start()):
            return match[0]
        gender = next((gender for word, gender in self._counted_genders if word.fullmatch(match[2])), None)
        number = self._counting.number(match[1])
        inflected = number if gender is None else self._counting.inflected(number, gender)
        return match[0] if inflected == number else inflected

    def bare_signs(self) -> dict[str, str]:
        """What is said for the signs of currencies, and for percent, without a number."""
        signs = {sign: whole.forms[-1] for sign, (whole, _) in self._currencies.items() if not sign[-1].isalpha()}
        return signs | {"%": self._percent.forms[-1]}

    def _amount(self, written: str, scale: str | None, sign: str) -> str:
        whole, cent = self._currencies[sign]
        if scale:
            count = self._counting.counted(written, self._scales[scale])
            # "Five million dollars", of which there are many.
            many = whole.forms[min(2, len(whole.forms) - 1)]
            return f"{count}{self._blank}{many}"
        cents = _CENTS.fullmatch(written)
        if cents is None or cent is None or "." in cents[2]:
            return self._counting.counted(written, whole)
        euros, hundredths = self._counting.counted(cents[1], whole), cents[2]
        if hundredths == "00":
            return euros
        said = self._counting.counted(str(int(hundredths)), cent)
        if set(cents[1]) == {"0"}:
            return said
        if not self._words.money_says_cents:
            said = self._counting.number(str(int(hundredths)))
        return self._words.money_format.format(whole=euros, cents=said)

    def _percentage(self, match: re.Match[str]) -> str:
        counted = self._counting.counted(match[1], self._percent)
        if self._words.percent_format == "{number} {percent}":
            return counted
        return self._words.percent_format.format(number=self._counting.number(match[1]), percent=self._words.percent)

    def _with_fractions(self, text: str) -> str:
        parts, end = [], 0
        for match in _FRACTION.finditer(text):
            said = self._fraction(match)
            parts += [text[end : match.start()], said]
            end = match.end()
            if unit := self._unit_ahead.match(text, end):
                forms = self._words.units[unit[1]].forms
                parts.append(f"{self._blank}{forms[min(len(forms) - 1, 1) if match[1] else 0]}")
                end = unit.end()
        return "".join([*parts, text[end:]])

    def _fraction(self, match: re.Match[str]) -> str:
        whole, over, under = match.groups()
        number = self._counting.number
        if whole and over == "1" and under == "2":
            return f"{number(whole)}{self._blank}{self._words.half_more}"
        if int(over) >= int(under):
            said = f"{number(over)} {number(under)}"
        else:
            said = self._fractions.get(f"{over}/{under}") or self._words.over.format(number(over), number(under))
        return said if not whole else f"{number(whole)} {self._words.signs['&']} {said}"


def any_of(signs: Iterable[str]) -> str:
    """A pattern for any of these, the longest first."""
    return "|".join(re.escape(sign) for sign in sorted(signs, key=len, reverse=True)) or "(?!)"
