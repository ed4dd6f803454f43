"""Dates, years and decades as words."""

# ruff: noqa: RUF001 - quotation marks.

from __future__ import annotations

import re
from collections.abc import Callable

from services.tts.engines.xtts.reading.counting import Counting, lost_stop
from services.tts.engines.xtts.reading.ordinals import Articles
from services.tts.engines.xtts.reading.words import Words

_ISO_DATE = re.compile(r"(?<![0-9A-Za-z.-])([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?![0-9A-Za-z-])")
_YEAR_FIRST = re.compile(r"(?<![0-9A-Za-z.])([0-9]{4})[./]\s?([0-9]{1,2})[./]\s?([0-9]{1,2})\.?(?![0-9A-Za-z/])")
_DOTTED_DATE = re.compile(
    r"(?<![0-9A-Za-z.,])([0-9]{1,2})\.\s?([0-9]{1,2})\.\s?([0-9]{4}|[0-9]{2})(?![0-9A-Za-z]|[.,][0-9])"
)
_DASHED_DATE = re.compile(r"(?<![0-9A-Za-z.-])([0-9]{1,2})-([0-9]{1,2})-([0-9]{4})(?![0-9A-Za-z-])")
_SLASHED_DATE = re.compile(r"(?<![0-9A-Za-z/])([0-9]{1,2})/([0-9]{1,2})/([0-9]{4}|[0-9]{2})(?![0-9A-Za-z/])")
_DAY_AND_MONTH = re.compile(r"(?<![0-9A-Za-z.,])([0-9]{1,2})\.\s?([0-9]{1,2})\.(?![0-9])")
# Of two figures, years up to this one are of this century.
_LATEST_SHORT_YEAR = 49
_ENGLISH_PAIRS = re.compile(r"(?<![0-9A-Za-z.,$€£-])(1[1-9][0-9]{2}|20[0-9]{2})(?![0-9A-Za-z%]|[.,:/][0-9])")
_ENGLISH_BEFORE_YEARS = re.compile(
    r"\b(?:in|since|until|till|from|before|after|by|year|of|during|between|and|to|early|late|mid|circa|around)\s$",
    re.IGNORECASE,
)
_ENGLISH_COUNTED = re.compile(
    r"\s(?:(?!(?:this|was|has|always|perhaps|less|plus|unless|across)\b)[a-z]{3,}s|people|men|women|children)\b"
)
_DECADE = re.compile(
    r"(?:(?<![0-9A-Za-z.,])(?:[’']|(?=[0-9]{4}))|(?<=the )|(?<=early )|(?<=mid-)|(?<=late ))([0-9]{1,3}0)[’']?s\b"
)


class Dates:
    """Of one language.

    03/05/2024 is the third of May but in American English, and of other orders where a month above 12 tells; 2024-05-03
    and what else begins with a year is read from there in every language.
    """

    def __init__(self, language: str, words: Words, counting: Counting) -> None:
        self._language = language
        self._words = words
        self._counting = counting
        months = "|".join(sorted(words.months, key=len, reverse=True))
        # "may" and "march" are verbs, too.
        if language == "en":
            months = re.sub("(may|march)", lambda m: f"(?-i:{m[1].capitalize()})", months)
        signs = "|".join(words.ordinal_signs) or "(?!)"
        self._articles = Articles(words)
        # The word for a year is in the format of the date.
        said = "|".join(behind for _, behind, *_ in words.years if behind) if words.year_form else "(?!)"
        year = rf"(?:,?\s(?:de\s)?([0-9]{{4}})(?![0-9A-Za-z]|[.,][0-9])(?:\s(?:{said}))?)?"
        self._day_month = re.compile(
            rf"(?<![0-9A-Za-z.,:])([0-9]{{1,2}})(?:\.|{signs})?\s?(?:de\s|of\s)?({months})\b{year}",
            re.IGNORECASE,
        )
        # In Hungarian a suffix tells the ending of the day again.
        day = rf"([0-9]{{1,2}})(?:(?:{signs})\b|\.(?!$)|-(j?[aeáé][a-zé]*)|(?![0-9A-Za-z:]|[.,][0-9]))"
        self._month_day = (
            re.compile(rf"(?:(?<![0-9A-Za-z.,])([0-9]{{4}})\.?\s)?\b({months})\s{day}{year}", re.IGNORECASE)
            if words.month_first
            else None
        )
        end = "" if words.joins else r"(?!\w)"
        self._years = [
            (re.compile(rf"({before})(?<![0-9A-Za-z.,])([0-9]{{4}})(\s?)({behind}){end}"), form, said)
            for before, behind, form, said in words.years
        ]

    def dates(self, text: str) -> str:
        """With words for dates."""
        text = _ISO_DATE.sub(lambda m: self._date(m, m[1], m[2], m[3]), text)
        text = _YEAR_FIRST.sub(lambda m: self._date(m, m[1], m[2], m[3]) + lost_stop(m), text)
        text = _DOTTED_DATE.sub(lambda m: self._date(m, m[3], m[2], m[1]), text)
        for pattern in (_SLASHED_DATE, _DASHED_DATE):
            text = pattern.sub(self._in_own_order, text)
        if self._words.bare_day_and_month:
            text = _DAY_AND_MONTH.sub(lambda m: self._date(m, "", m[2], m[1]) + lost_stop(m), text)
        if self._month_day:
            text = self._month_day.sub(self._in_words_month_first, text)
        return self._day_month.sub(self._in_words, text)

    def years(self, text: str) -> str:
        """With words for years that stand beside a word that tells that they are such, and for decades of English."""
        if self._language == "en":
            text = _DECADE.sub(lambda m: self._decade(m[1]), text)
        for pattern, form, said in self._years:
            text = pattern.sub(self._year_reader(form, said), text)
        return text

    def pairs(self, text: str) -> str:
        """With words for 1999 and the like where all such are read in pairs."""
        if self._language in ("en", "de", "nl"):
            text = _ENGLISH_PAIRS.sub(self._pair, text)
        return text

    def _year_reader(self, form: str, said: str) -> Callable[[re.Match[str]], str]:
        def read(match: re.Match[str]) -> str:
            words = self._counting.year(match[2], form)
            stop = lost_stop(match) if said else ""
            return f"{match[1]}{words}{match[3] or (' ' if said else '')}{said or match[4]}{stop}"

        return read

    def _pair(self, match: re.Match[str]) -> str:
        is_told = _ENGLISH_BEFORE_YEARS.search(match.string, max(match.start() - 10, 0), match.start())
        if self._language == "en" and not is_told and _ENGLISH_COUNTED.match(match.string, match.end()):
            return match[0]
        return self._counting.year(match[1])

    def _decade(self, figures: str) -> str:
        words = self._counting.year(figures) if len(figures) == 4 else self._counting.number(figures)
        return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"

    def _in_own_order(self, match: re.Match[str]) -> str:
        first, second, year = match.groups()
        is_month_first = (self._words.date_order == "mdy" and int(first) <= 12) or int(second) > 12
        day, month = (second, first) if is_month_first else (first, second)
        return self._date(match, year, month, day)

    def _date(self, match: re.Match[str], year: str, month: str, day: str) -> str:
        if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
            return match[0]
        before = match.string[: match.start()]
        if len(year) == 2:
            year = ("20" if int(year) <= _LATEST_SHORT_YEAR else "19") + year
        return self._written(
            self._day(day, self._articles.form_behind(before)), self._words.months[int(month) - 1], year
        )

    def _written(self, day: str, month: str, year: str) -> str:
        said = self._words.date.format(day=day, month=month, year="\0")
        if not year:
            # What stands around the year goes with it.
            return f"{month} {day}" if self._words.month_first else f"{day} {month}"
        return said.replace("\0", self._counting.year(year, self._words.year_form))

    def _day(self, figures: str, form: str | None) -> str:
        if int(figures) == 1 and self._words.first_day:
            return self._words.first_day
        if self._words.day:
            return self._counting.ordinal(figures, self._words.day if form is None else form)
        return self._counting.number(str(int(figures)))

    def _in_words(self, match: re.Match[str]) -> str:
        figures, month, year = match.groups()
        if not 1 <= int(figures) <= 31:
            return match[0]
        day = self._day(figures, self._articles.form_behind(match.string[: match.start()]))
        if " of " in match[0]:
            return f"{day} of {month.lower()}" + (f", {self._counting.year(year)}" if year else "")
        written = self._written(day, month.lower(), year or "")
        if not year and "de {month}" in self._words.date:
            written = f"{day} de {month.lower()}"
        return written

    def _in_words_month_first(self, match: re.Match[str]) -> str:
        year_before, month, figures, suffix, year = match.groups()
        if not 1 <= int(figures) <= 31:
            return match[0]
        day = self._day(figures, None)
        if suffix:
            # The noun's own ending is a short vowel, which the suffix tells again.
            day = day[:-1] + suffix if int(figures) > 1 else "elsej" + suffix.removeprefix("j")
        written = self._written(day, month.lower(), year_before or year or "")
        return written + lost_stop(match)
