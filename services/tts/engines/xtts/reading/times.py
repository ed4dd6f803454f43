"""Times of the day as words."""

from __future__ import annotations

import re

from services.tts.engines.xtts.reading.counting import Counting
from services.tts.engines.xtts.reading.numerals import native_korean
from services.tts.engines.xtts.reading.words import Noun, Words

_HOUR = r"(?<![0-9A-Za-z:.,])([01]?[0-9]|2[0-4])"
_SENTENCE_AHEAD = re.compile(r"\s*$|\s+[A-Z]")


class Times:
    """Of one language."""

    def __init__(self, language: str, words: Words, counting: Counting) -> None:
        self._language = language
        self._words = words
        self._counting = counting
        self._hour = Noun.of(words.hour) if words.hour else None
        word = rf"(?:\s?(?:{words.clock_word})(?!\w))" if words.clock_word else "(?!)"
        joint = rf"(?:[{words.joint}](?=[^\W\d_]))?" if words.joint else ""
        self._times = re.compile(
            rf"{_HOUR}:([0-5][0-9])(?::([0-5][0-9]))?(?![0-9A-Za-z:]|[.,][0-9]){word}?{joint}", re.IGNORECASE
        )
        self._times_with_h = re.compile(rf"{_HOUR}\s?h\s?([0-5][0-9])(?!\w)()", re.IGNORECASE)
        self._full_hours = re.compile(rf"{_HOUR}()(){word}(?!\w)", re.IGNORECASE) if words.clock_word else None
        self._dotted_times = re.compile(
            rf"\b((?:{words.dotted_time or '(?!)'})\s)([01]?[0-9]|2[0-4])\.([0-5][0-9])(?![0-9A-Za-z]|[.,][0-9]){joint}"
        )
        self._dotted_times_with_word = re.compile(rf"{_HOUR}\.([0-5][0-9])(){word}", re.IGNORECASE)
        self._half_days = re.compile(rf"{_HOUR}(?::([0-5][0-9]))?\s?([ap])(?:\.\s?m\.|m\b\.?|\sm\b)", re.IGNORECASE)

    def expanded(self, text: str) -> str:
        """With words for times of the day."""
        if self._language == "en":
            text = self._half_days.sub(self._half_day, text)
        text = self._times.sub(self._time, text)
        text = self._times_with_h.sub(self._time, text)
        text = self._dotted_times_with_word.sub(self._time, text)
        text = self._dotted_times.sub(lambda m: m[1] + self._time_of(m, m[2], m[3], ""), text)
        return self._full_hours.sub(self._time, text) if self._full_hours else text

    def _time(self, match: re.Match[str]) -> str:
        hour, minute, second = match.groups()
        return self._time_of(match, hour, minute or "", second or "")

    def _time_of(self, match: re.Match[str], hour: str, minute: str, second: str) -> str:
        if self._words.hour_form:
            before = match.string[: match.start()].rstrip().rpartition(" ")[2].lower()
            is_behind = before in self._words.hour_prepositions.split("|")
            said = self._counting.ordinal(
                hour, f"{self._words.hour_form} behind" if is_behind else self._words.hour_form
            )
        else:
            noun = self._hour
            said = self._counting.number(str(int(hour)))
            said = self._counting.inflected(said, noun.gender if noun else "m")
            if self._language == "ko" and 1 <= int(hour) <= 12:
                said = native_korean(int(hour)) + " "
            elif self._language == "zh" and int(hour) == 2:
                said = "两"
        hours = self._counting.counted(str(int(hour)), self._hour) if self._hour else said
        if not int(minute or 0) and not second:
            return self._words.full_hour.format(hour=said, hours=hours)
        zero = self._words.zero_minute
        minutes = self._counting.number(str(int(minute)))
        if zero and int(minute) < 10:
            minutes = f"{zero}{'' if self._words.joins else ' '}{minutes}"
        written = self._words.clock.format(hour=said, hours=hours, minute=minutes)
        return f"{written} {self._counting.number(str(int(second)))}" if second else written

    def _half_day(self, match: re.Match[str]) -> str:
        hour, minute, half = match.groups()
        words = [self._counting.number(hour)]
        if int(minute or 0):
            words.append(("oh " if int(minute) < 10 else "") + self._counting.number(str(int(minute))))
        ends = match[0].endswith(".") and _SENTENCE_AHEAD.match(match.string, match.end())
        return f"{' '.join(words)} {half.lower()} m{'.' if ends else ''}"
