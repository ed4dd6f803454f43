"""Ordinals as words: with letters at their figures (1st), or with a dot (1.) where what stands beside it tells one."""

from __future__ import annotations

import re

from services.tts.engines.xtts.reading.counting import Counting
from services.tts.engines.xtts.reading.words import Words

# Characters, with a word before it.
_LONGEST_ARTICLE = 40


class Articles:
    """Words before an ordinal that tell its form."""

    def __init__(self, words: Words) -> None:
        self._forms = [
            (re.compile(rf"(?:.*\s)?(?:{each})", re.IGNORECASE), form) for each, form in words.ordinal_articles.items()
        ]

    def form_behind(self, text: str) -> str | None:
        """The form behind the last words of a text, or None where those are no article."""
        words = " ".join(text[-_LONGEST_ARTICLE:].split()[-2:])
        return next((form for article, form in self._forms if article.fullmatch(words)), None)


class Ordinals:
    """Of one language."""

    def __init__(self, words: Words, counting: Counting) -> None:
        self._words = words
        self._counting = counting
        self._articles = Articles(words)
        signs = "|".join(words.ordinal_signs)
        self._signed = re.compile(rf"(?<![0-9A-Za-z.,])([0-9]+)({signs})(?!\w)") if signs else None
        self._forms = [(re.compile(sign), form) for sign, form in words.ordinal_signs.items()]
        self._dotted = re.compile(r"(?<![0-9A-Za-z.,])([0-9]{1,4})\.(?=\s+([^\W\d_]+))") if words.dot_ordinal else None

    def expanded(self, text: str) -> str:
        """With words for ordinals."""
        if self._signed:
            text = self._signed.sub(self._with_sign, text)
        return self._dotted.sub(self._with_dot, text) if self._dotted else text

    def _with_sign(self, match: re.Match[str]) -> str:
        figures, sign = match[1], match[2]
        form = next((form for pattern, form in self._forms if pattern.search(sign)), "")
        # The nineties in Russian have the ending of a neuter.
        if form == "n" and "plural" in self._words.endings and figures.endswith("0"):
            form = "plural"
        return self._counting.ordinal(figures, form)

    def _with_dot(self, match: re.Match[str]) -> str:
        figures, following = match.groups()
        form = self._articles.form_behind(match.string[: match.start()])
        if form is None and not following.islower():
            return match[0]
        return self._counting.ordinal(figures, form or self._words.ordinal_nouns.get(following[-1], ""))
