"""Whole numbers as words in the 17 languages: num2words where it knows them, with its slips put right.

Known slips of num2words 0.5.14: commas within English and Portuguese numbers, "veintiuno mil", "quatre-vingtsième",
"einstausend", "dvěstě", "ezerkét", Turkish without blanks, Arabic hundreds and thousands that wait for a noun. It has
no ordinals in Czech, and neither Chinese nor Hindi. Portuguese is Brazil's, as most of the model's speakers are.
"""

# ruff: noqa: RUF001 - the dotless i.

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

# What is longer is a code, and read figure by figure.
LONGEST_NUMBER = 12

_TURKISH = (
    "bir|iki|üç|dört|beş|altmış|altı|yedi|sekiz|dokuz|on|yirmi|otuz|kırk|elli|yetmiş|seksen|doksan|yüz|bin|mily[oa][nr]"
)
_SLIPS: Mapping[str, tuple[tuple[re.Pattern[str], str], ...]] = {
    language: tuple((re.compile(wrong), right) for wrong, right in slips)
    for language, slips in {
        "en": ((",", ""),),
        "pt": ((",", ""),),
        "it": ((",", ""),),
        "es": (
            ("veintiuno (?=mil)", "veintiún "),
            (r"\buno (?=mil)", "un "),
            ("décimoprimero", "undécimo"),
            ("décimosegundo", "duodécimo"),
        ),
        "fr": (("(?<=vingt|.cent)sième", "ième"),),
        "de": (("einstausend", "eintausend"),),
        "nl": ((" honderd ?", "honderd"),),
        "ru": (("^одна тысяча", "тысяча"),),
        "cs": (("dvěstě", "dvě stě"), ("(?<=tři|yři)sta", " sta"), (r"(?<=pět|est|edm|osm|vět)set\b", " set")),
        "hu": (("két$", "kettő"), ("kétik$", "kettedik")),
        "tr": ((rf"({_TURKISH})(?=(?:{_TURKISH}))", r"\1 "),),
        "ar": ((" و ", " و"), (r"(مئتا|ألفا|مليونا)$", r"\1ن")),
    }.items()
}
_NAMES_OF_NUM2WORDS = {"pt": "pt_BR"}

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
_HINDI_ORDINALS = {1: "पहला", 2: "दूसरा", 3: "तीसरा", 4: "चौथा", 6: "छठा"}
_CHINESE_FIGURES = "零一二三四五六七八九"
_CHINESE_UNITS = ((100_000_000, "亿"), (10_000, "万"), (1000, "千"), (100, "百"), (10, "十"))
_KOREAN_ONES = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
_KOREAN_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
_CZECH_ORDINALS = (
    *("nultý", "první", "druhý", "třetí", "čtvrtý", "pátý", "šestý", "sedmý", "osmý", "devátý"),
    *("desátý", "jedenáctý", "dvanáctý", "třináctý", "čtrnáctý", "patnáctý"),
    *("šestnáctý", "sedmnáctý", "osmnáctý", "devatenáctý"),
)
_CZECH_TENS = ["dvacátý", "třicátý", "čtyřicátý", "padesátý", "šedesátý", "sedmdesátý", "osmdesátý", "devadesátý"]


@lru_cache(maxsize=4096)
def cardinal(number: int, language: str) -> str:
    """A number in lower case, as one counts without saying what. Args: number: 0 <= number < 10**LONGEST_NUMBER."""
    if language == "hi":
        return _hindi(number)
    if language == "zh":
        return _chinese(number)
    return _of_num2words(number, language, "cardinal")


@lru_cache(maxsize=1024)
def ordinal(number: int, language: str) -> str:
    """The masculine nominative; a cardinal in languages, and for numbers, that ordinals are not known of."""
    if number == 0 or (language == "pl" and number > 1000 and number % 1000 == 0):
        return cardinal(number, language)
    match language:
        case "cs":
            return _czech_ordinal(number)
        case "zh":
            return f"第{_chinese(number)}"
        case "hi":
            return _HINDI_ORDINALS.get(number, f"{_hindi(number)}वाँ")
        case "ko" if not 0 < number < 100:
            return f"{cardinal(number, language)} 번째"
        case _:
            return _of_num2words(number, language, "ordinal")


@lru_cache(maxsize=1024)
def year(number: int, language: str) -> str:
    """A year as its language says it. Args: number: 1000 <= number < 10000."""
    if language == "zh":
        return "".join(_CHINESE_FIGURES[int(figure)] for figure in str(number))
    if language == "hi" and 1100 <= number < 2000:
        hundreds, rest = divmod(number, 100)
        return f"{_hindi(hundreds)} सौ" + (f" {_hindi(rest)}" if rest else "")
    if language in ("en", "de", "nl"):
        return _of_num2words(number, language, "year")
    return cardinal(number, language)


def native_korean(number: int) -> str:
    """As before words that count things. Args: number: 0 < number < 100."""
    tens, ones = divmod(number, 10)
    return "스무" if number == 20 else _KOREAN_TENS[tens] + _KOREAN_ONES[ones]


def _of_num2words(number: int, language: str, to: str) -> str:
    from num2words import num2words

    words = str(num2words(number, lang=_NAMES_OF_NUM2WORDS.get(language, language), to=to)).lower()
    for wrong, right in _SLIPS.get(language, ()):
        words = wrong.sub(right, words)
    return words


def _hindi(number: int) -> str:
    if number < 100:
        return _HINDI_BELOW_100[number]
    unit, name = next((unit, name) for unit, name in _HINDI_UNITS if number >= unit)
    count, rest = divmod(number, unit)
    return f"{_hindi(count)} {name}" + (f" {_hindi(rest)}" if rest else "")


def _chinese(number: int) -> str:
    if 10 <= number < 20:
        return _chinese_within(number)[1:]
    return _chinese_within(number)


def _chinese_within(number: int) -> str:
    """As after a larger unit, where ten is "一十"."""
    if number < 10:
        return _CHINESE_FIGURES[number]
    unit, name = next((unit, name) for unit, name in _CHINESE_UNITS if number >= unit)
    count, rest = divmod(number, unit)
    # Two is "两" in thousands and more, unless something stands before it.
    words = ("两" if count == 2 and unit >= 1000 else _chinese(count)) + name
    if not rest:
        return words
    return words + ("零" if rest < unit // 10 else "") + _chinese_within(rest)


def _czech_ordinal(number: int) -> str:
    if number < 20:
        return _CZECH_ORDINALS[number]
    tens, ones = divmod(number, 10)
    if number < 100:
        return _CZECH_TENS[tens - 2] + (f" {_CZECH_ORDINALS[ones]}" if ones else "")
    rest = number % 100
    if rest == 0:
        return cardinal(number, "cs")
    return f"{cardinal(number - rest, 'cs')} {_czech_ordinal(rest)}"
