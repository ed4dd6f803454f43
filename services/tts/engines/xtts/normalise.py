"""Figures as words, before the library's own cleaners: what those leave out, read wrongly, or fail on.

The library reads ordinals, abbreviations and signs in each language, and its reading of those is kept. It writes the
German "Komma" and "Million" with capitals that the model does not know, fails on every number in Hindi and on ordinals
in Czech, leaves figures in Japanese as they are, drops the signs of currencies, and takes the last figure of a sentence
for an ordinal. Dates, times, decimals, amounts and whole numbers are therefore read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Words:
    """Of one language. Attributes: point: between a number and its decimals; euro, dollar, pound: for amounts."""

    point: str
    percent: str
    euro: str
    dollar: str
    pound: str


_WORDS = {
    "en": _Words("point", "percent", "euros", "dollars", "pounds"),
    "es": _Words("coma", "por ciento", "euros", "dólares", "libras"),
    "fr": _Words("virgule", "pour cent", "euros", "dollars", "livres"),
    "de": _Words("komma", "prozent", "euro", "dollar", "pfund"),
    "it": _Words("virgola", "per cento", "euro", "dollari", "sterline"),
    "pt": _Words("vírgula", "por cento", "euros", "dólares", "libras"),
    "pl": _Words("przecinek", "procent", "euro", "dolarów", "funtów"),
    "tr": _Words("virgül", "yüzde", "euro", "dolar", "sterlin"),
    "ru": _Words("запятая", "процентов", "евро", "долларов", "фунтов"),
    "nl": _Words("komma", "procent", "euro", "dollar", "pond"),
    "cs": _Words("celá", "procent", "eur", "dolarů", "liber"),
    "ar": _Words("فاصلة", "في المئة", "يورو", "دولار", "جنيه"),
    "hu": _Words("egész", "százalék", "euró", "dollár", "font"),
    "ko": _Words("점", "퍼센트", "유로", "달러", "파운드"),
    "ja": _Words("点", "パーセント", "ユーロ", "ドル", "ポンド"),
    "hi": _Words("दशमलव", "प्रतिशत", "यूरो", "डॉलर", "पाउंड"),
}
# The library reads all other figures of Chinese.
_CHINESE_SIGNS = {"€": "欧元", "$": "美元", "£": "英镑"}
# The percent word stands before the number.
_PERCENT_FIRST = ("tr",)
# A figure and a dot are an ordinal where a word follows, and nothing of the kind at the end of a sentence.
_DOT_IS_ORDINAL = ("de", "tr", "hu")

_HINDI_BELOW_100 = " ".join(
    (
        "शून्य एक दो तीन चार पाँच छह सात आठ नौ दस ग्यारह बारह तेरह चौदह पंद्रह सोलह सत्रह अठारह उन्नीस",
        "बीस इक्कीस बाईस तेईस चौबीस पच्चीस छब्बीस सत्ताईस अट्ठाईस उनतीस तीस इकतीस बत्तीस तैंतीस चौंतीस",
        "पैंतीस छत्तीस सैंतीस अड़तीस उनतालीस चालीस इकतालीस बयालीस तैंतालीस चौवालीस पैंतालीस छियालीस",
        "सैंतालीस अड़तालीस उनचास पचास इक्यावन बावन तिरपन चौवन पचपन छप्पन सत्तावन अट्ठावन उनसठ साठ इकसठ",
        "बासठ तिरसठ चौंसठ पैंसठ छियासठ सड़सठ अड़सठ उनहत्तर सत्तर इकहत्तर बहत्तर तिहत्तर चौहत्तर पचहत्तर",
        "छिहत्तर सतहत्तर अठहत्तर उन्यासी अस्सी इक्यासी बयासी तिरासी चौरासी पचासी छियासी सत्तासी अट्ठासी",
        "नवासी नब्बे इक्यानवे बानवे तिरानवे चौरानवे पंचानवे छियानवे सत्तानवे अट्ठानवे निन्यानवे",
    )
).split(" ")
_HINDI_UNITS = ((10_000_000, "करोड़"), (100_000, "लाख"), (1000, "हज़ार"), (100, "सौ"))

_DATE = re.compile(r"\b(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4})\b")
_TIME = re.compile(r"\b(\d{1,2}):(\d{2})\b")
_AMOUNT = re.compile(r"([€$£])\s?(\d[\d.,]*\d|\d)|(\d[\d.,]*\d|\d)\s?([€$£])")
_PERCENT = re.compile(r"(\d[\d.,]*\d|\d)\s?%")
_GROUPED_BY_COMMA = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d)")
_WITH_COMMAS = ("en", "ja")
_GROUPED = re.compile(r"\b\d{1,3}(?:[.\u00a0\u202f]\d{3})+(?!\d)")
_DECIMAL = re.compile(r"(?<![\d.,])(\d+)[.,](\d+)(?![\d.,]*\d)")
_WHOLE = re.compile(r"\d+(?![\w°ºª])")
# In a script that puts no blanks between words.
_WHOLE_WITHIN_WORDS = re.compile(r"\d+")
_WHOLE_NO_ORDINAL = re.compile(r"\d+(?![\w°ºª]|\.\s+\S)")
# What is longer is a code, and read figure by figure.
_LONGEST_NUMBER = 12


def expand_figures(text: str, language: str) -> str:
    """The text with its figures as words, in lower case. Args: language: a BCP-47 tag; others stay as they are."""
    language = language.split("-")[0]
    if language == "zh":
        return _AMOUNT.sub(lambda m: f"{m[2] or m[3]} {_CHINESE_SIGNS[m[1] or m[4]]}", text)
    words = _WORDS.get(language)
    if words is None:
        return text
    signs = {"€": words.euro, "$": words.dollar, "£": words.pound}
    # German says "dritter fünfter"; elsewhere the figures stand alone.
    mark = "." if language == "de" else ""
    text = _DATE.sub(rf"\1{mark} \2{mark} \3", text)
    text = _TIME.sub(r"\1 \2", text)
    text = _AMOUNT.sub(lambda m: f"{m[2] or m[3]} {signs[m[1] or m[4]]}", text)
    percent = rf"{words.percent} \1" if language in _PERCENT_FIRST else rf"\1 {words.percent}"
    text = _PERCENT.sub(percent, text)
    grouped = _GROUPED_BY_COMMA if language in _WITH_COMMAS else _GROUPED
    text = grouped.sub(lambda m: re.sub(r"\D", "", m[0]), text)

    def decimal(match: re.Match[str]) -> str:
        figures = " ".join(_said(figure, language) for figure in match[2])
        return f"{_said(match[1], language)} {words.point} {figures}"

    text = _DECIMAL.sub(decimal, text)
    whole = _WHOLE_NO_ORDINAL if language in _DOT_IS_ORDINAL else _WHOLE
    if language == "ja":
        whole = _WHOLE_WITHIN_WORDS
    return whole.sub(lambda m: _said(m[0], language), text).lower()


def _said(figures: str, language: str) -> str:
    """A whole number as words; one with zeros before it, or a very long one, figure by figure."""
    if len(figures) > 1 and (figures[0] == "0" or len(figures) > _LONGEST_NUMBER):
        return " ".join(_said(figure, language) for figure in figures)
    if language == "hi":
        return _hindi(int(figures))
    from num2words import num2words

    return str(num2words(int(figures), lang=language)).lower()


def _hindi(number: int) -> str:
    if number < 100:
        return _HINDI_BELOW_100[number]
    unit, name = next((unit, name) for unit, name in _HINDI_UNITS if number >= unit)
    count, rest = divmod(number, unit)
    return f"{_hindi(count)} {name}" + (f" {_hindi(rest)}" if rest else "")
