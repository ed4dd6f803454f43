"""Text as it is read aloud: figures, signs and abbreviations as words, before the library's own cleaners.

Those are left nothing to do: they know few abbreviations and some of them wrongly ("misess", the initial P. as a Polish
lady), drop minus signs and currencies, read the last figure of a sentence as an ordinal, and fail on every number in
Hindi and on ordinals in Czech.

What inflects is said in the nominative unless what stands beside it tells the case; `words` holds which of those are
known. A year is read as such where its language has a way of its own: in German and Dutch from 1100 to 1999; in English
every number of four figures from 1100 to 2099 is read in pairs, as its speakers do with years, rooms and models, unless
it is grouped or has a unit, or counts something ("1999 dogs", not "in 1999 dogs").
"""

# ruff: noqa: RUF001 - signs of many scripts.

from __future__ import annotations

import re
import unicodedata
from functools import cache

from services.tts.engines.xtts.reading.abbreviations import Abbreviations, Addresses
from services.tts.engines.xtts.reading.counting import NUMBER, Counting
from services.tts.engines.xtts.reading.dates import Dates
from services.tts.engines.xtts.reading.numerals import native_korean
from services.tts.engines.xtts.reading.ordinals import Ordinals
from services.tts.engines.xtts.reading.quantities import Quantities, any_of
from services.tts.engines.xtts.reading.times import Times
from services.tts.engines.xtts.reading.words import WORDS, Noun, Words

_FIGURE = re.compile("[0-9]")
_BLANKS = "\u00a0\u2009\u202f"
_DASHES = r"\-" "\u2010\u2011\u2012\u2013\u2014\u2212"
# An Arabic percent sign and marks between figures, a slash of fractions, and signs for two letters.
_PLAIN = str.maketrans(
    {"٪": "%", "٫": ".", "٬": ",", "⁄": "/", "℃": "°C", "℉": "°F", "％": "%", "：": ":", "￥": "¥", "＄": "$"}
)

_PHONE = re.compile(
    rf"(?<![0-9A-Za-z.,])(?:\+|\(?0)[0-9](?:[0-9()/ {_BLANKS}{_DASHES}]{{5,}}[0-9]|(?:\.[0-9]{{2}}){{4}})"
    r"(?![0-9A-Za-z,]|\.[0-9])"
)
_AMERICAN_PHONE = re.compile(r"(?<![0-9A-Za-z.,-])(?:\([0-9]{3}\)\s?|[0-9]{3}[- ])?[0-9]{3}-[0-9]{4}(?![0-9A-Za-z-])")
_CODE = re.compile(r"(?<![0-9A-Za-z.,-])[0-9]+(?:-[0-9]+){2,}(?![0-9A-Za-z-])")
_VERSION = re.compile(r"\bv\.?\s?(?=[0-9]+\.[0-9])", re.IGNORECASE)
_DAYS = re.compile(rf"(?<![0-9A-Za-z.,])([0-9]{{1,2}}\.)\s?[{_DASHES}]\s?(?=[0-9]{{1,2}}\.\s)")
_RANGE = re.compile(
    rf"(?<![0-9A-Za-z.,:/{_DASHES}])({NUMBER}(?::[0-9]{{2}})?)(?:([{_DASHES}])|\s([{_DASHES}])\s)"
    rf"({NUMBER}(?::[0-9]{{2}})?)(?![0-9:/{_DASHES}]|[.,][0-9])"
)
_MINUS = re.compile(
    rf"(?:(?<![^\W\u3040-\u9fff\uac00-\ud7a3])(?<![.,)\]{_DASHES}])[-\u2013]|\u2212\s?)(?=(?:R?[€$£¥₹₩₺₽]\s?)?[0-9])"
)
_PLUS = re.compile(r"(?<![0-9A-Za-z+])\+\s?(?=[0-9])")
_SLASH = re.compile(r"(?<=[^\W\d_])/(?=[^\W\d_])")
_TIMES = re.compile(rf"({NUMBER})\s?[x×*]\s?(?=[0-9])")
_TIMES_MORE = re.compile(rf"(?<![0-9A-Za-z.,])({NUMBER})\s?[x×](?!\w)")
_RATIO = re.compile(r"(?<![0-9A-Za-z:.,])([0-9]+)\s?:\s?([0-9]+)(?![0-9A-Za-z:])")
# Words behind which Korean counts in numerals of its own.
_KOREAN_COUNTED = re.compile(
    r"(?<![0-9.,])([1-9][0-9]?)\s?(?=개(?!월)|명|살|마리|잔|병|권|시간|달(?!러)|켤레|그루|송이|사람)|"
    r"(?<![0-9.,])([1-9]|1[0-2])(?=시(?![가-힣]{2}))"
)
_KOREAN_MONTHS = re.compile(r"(?<![0-9.,])0?(6|10)\s?월")
_CHINESE_TWO = re.compile(r"(?<![0-9.,])2\s?(?=[个個位名次只本条條张張天种種家件块杯双辆座间])")


def expand_figures(text: str, language: str) -> str:
    """The text as words in lower case, without any figure.

    Args: language: a BCP-47 tag; the text of others than the 17 stays as it is.
    """
    reader = _reader(language.split("-")[0].lower())
    return text if reader is None else reader.read(text)


@cache
def _reader(language: str) -> _Reader | None:
    words = WORDS.get(language)
    return None if words is None else _Reader(language, words)


class _Reader:
    """Of one language. Each step leaves fewer figures to those after it."""

    def __init__(self, language: str, words: Words) -> None:
        self._language = language
        self._words = words
        self._blank = "" if words.joins else " "
        self._counting = Counting(language, words)
        self._dates = Dates(language, words, self._counting)
        self._times = Times(language, words, self._counting)
        self._quantities = Quantities(words, self._counting)
        self._ordinals = Ordinals(words, self._counting)
        self._abbreviations = Abbreviations(language, words)
        self._addresses = Addresses(words)
        blanks = _BLANKS + (" " if words.blank_groups else "")
        self._groups = re.compile(rf"(?<![0-9A-Za-z.,:/-])[0-9]{{1,3}}(?:[{blanks}'’][0-9]{{3}})+(?![0-9])")
        self._group_mark = "," if words.decimal_mark == "." else "."
        self._times_more = Noun.of(words.times_more)
        joint = f"[{words.joint}]?" if words.joint else ""
        self._glued = re.compile(rf"({NUMBER}){joint}({words.glue})(?![^\W_])") if words.glue else None
        self._signs = {**words.signs, **self._quantities.bare_signs()}
        self._signs |= {"@": words.at, "#": words.hash, "+": words.plus, "=": words.equals, "×": words.times}
        self._sign = re.compile(any_of(self._signs))

    def read(self, text: str) -> str:
        """As `expand_figures`."""
        text = self._addresses.expanded(_with_plain_figures(text))
        text = self._abbreviations.expanded(text)
        if _FIGURE.search(text):
            text = self._without_figures(text)
        text = self._sign.sub(lambda m: f" {self._signs[m[0]]} ", text)
        text = _SLASH.sub(" ", text)
        for pattern, other in self._words.elisions:
            text = re.sub(pattern, other, text)
        return " ".join(_lower(text, self._language).split())

    def _without_figures(self, text: str) -> str:
        words, number = self._words, self._counting.number
        text = re.sub(r"#\s?(?=[0-9])", f"{words.number}{self._blank}", text)
        text = _DAYS.sub(rf"\1 {words.to} ", text)
        text = self._dates.dates(text)
        for code in (_PHONE, _AMERICAN_PHONE, _CODE):
            text = code.sub(lambda m: self._code(m[0]), text)
        text = _VERSION.sub(f"{words.version}{self._blank}", text)
        text = self._groups.sub(lambda m: re.sub("[^0-9]", self._group_mark, m[0]), text)
        text = self._dates.years(text)
        text = _RANGE.sub(self._range, text)
        text = _MINUS.sub(f"{words.minus}{self._blank}", text)
        text = _PLUS.sub(f"{words.plus}{self._blank}", text)
        text = self._times.expanded(text)
        text = self._ordinals.expanded(text)
        text = _TIMES.sub(rf"\1{self._blank}{words.times}{self._blank}", text)
        text = self._quantities.expanded(text)
        text = _TIMES_MORE.sub(lambda m: self._counting.counted(m[1], self._times_more), text)
        text = _RATIO.sub(lambda m: self._joined(m[1], words.ratio, m[2]), text)
        text = self._dates.pairs(text)
        if self._language == "ko":
            text = _KOREAN_COUNTED.sub(lambda m: f"{native_korean(int(m[1] or m[2]))} ", text)
            text = _KOREAN_MONTHS.sub(lambda m: "유월" if m[1] == "6" else "시월", text)
        if self._language == "zh":
            text = _CHINESE_TWO.sub("两", text)
        if self._glued:
            text = self._glued.sub(lambda m: self._glued_number(m[1]) + m[2], text)
        if not words.joins:
            text = re.sub(r"(?<=[^\W\d_])(?=[0-9])|(?<=[0-9])(?=[^\W\d_])", " ", text)
        return re.sub(NUMBER, lambda m: number(m[0]), text)

    def _glued_number(self, written: str) -> str:
        is_decade = len(written) == 4 and written.isdigit() and written < "2000"
        return self._counting.year(written) if is_decade else self._counting.number(written)

    def _code(self, written: str) -> str:
        """Figure by figure, with a short rest between groups."""
        count = self._counting
        said = ", ".join(
            count.number(group) if self._words.says_pairs and len(group) == 2 else count.figures(group)
            for group in re.findall("[0-9]+", written)
        )
        return f"{self._words.plus}{self._blank}{said}" if written.startswith("+") else said

    def _range(self, match: re.Match[str]) -> str:
        """From a smaller to a larger; else a difference if it is written as such, or a score."""
        first, close, spaced, last = match.groups()
        low, high = (re.sub("[^0-9]", "", each) for each in (first, last))
        if (close or spaced) == "\u2212" or (spaced and int(low) >= int(high)):
            return f"{first}{self._blank}{self._words.minus}{self._blank}{last}"
        # 2020-21 are two years.
        is_range = int(low) < int(high) or (len(low), len(high)) == (4, 2)
        return self._joined(first, self._words.to if is_range else self._words.ratio, last)

    def _joined(self, first: str, word: str, last: str) -> str:
        return f"{first}{self._blank}{word}{self._blank}{last}" if word else f"{first} {last}"


def _with_plain_figures(text: str) -> str:
    """Figures of other scripts, in circles and so on as ASCII; fractions of one sign as three."""
    text = text.translate(_PLAIN)
    if text.isascii():
        return text
    plain = []
    for char in text:
        if char.isascii() or char in "²³" or unicodedata.category(char) not in ("Nd", "No", "Nl"):
            plain.append(char)
        elif (figure := unicodedata.digit(char, None)) is not None:
            plain.append(str(figure))
        else:
            written = unicodedata.normalize("NFKC", char).replace("⁄", "/")
            plain.append(f" {written}" if "/" in written and plain and plain[-1].isdigit() else written)
    return "".join(plain)


def _lower(text: str, language: str) -> str:
    """As the language has it: in Turkish, I is the capital of the letter without a dot."""
    return (text.replace("İ", "i").replace("I", "ı") if language == "tr" else text).lower()
