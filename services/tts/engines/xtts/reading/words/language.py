"""The form in which a language's words around figures are written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# In the order of `money`.
SIGNS = ("€", "$", "£", "¥", "₩", "₹", "zł", "Kč", "Ft", "₺", "₽", "R$", "CHF")
_ALIASES = {
    "EUR": "€", "USD": "$", "US$": "$", "GBP": "£", "JPY": "¥", "KRW": "₩", "INR": "₹", "PLN": "zł", "CZK": "Kč",
    "HUF": "Ft", "TRY": "₺", "TL": "₺", "RUB": "₽", "BRL": "R$", "Fr.": "CHF",
}  # fmt: skip

Plural = Literal["none", "two", "french", "polish", "czech", "russian", "arabic"]
Rules = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Noun:
    """What is counted. Attributes: gender: m, f or n, where numbers agree with it; forms: by `Plural`, "
    "at least one."""

    gender: str
    forms: tuple[str, ...]

    @staticmethod
    def of(written: str) -> Noun:
        """Of "form|form" or, unless it is masculine, "f:form|form"."""
        gender, colon, forms = written.rpartition(":")
        return Noun(gender if colon else "m", tuple(forms.split("|")))

    def prefixed(self, prefix: str) -> Noun:
        """As "kilo" and "meter" make "kilometer"."""
        return Noun(self.gender, tuple(prefix + form for form in self.forms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Of one language; in lower case, each as it stands beside a number in the nominative.

    Attributes:
        decimal_mark: the other of "." and "," groups thousands.
        blank_groups: whether blanks group thousands, too; narrow and no-break ones do everywhere.
        joins: whether figures stand within words without blanks, as in Chinese.
        point: between a number and its decimals, a noun where it is counted as such. decimals_as_number: whether these
            are said as one number, and not figure by figure.
        to, ratio, times: of 10-20, 3:1 and 3 x 4. times_more: of 2x.
        over: format of a fraction that `fractions` (1/2, 1/3, 2/3, 1/4, 3/4) does not name. half_more: of 2 1/2.
        dot, slash, dash, underscore, at: of addresses; the dot also of versions.
        number: of "#1". hash: of "#word". version: of v1.2.
        signs: what else is said for a sign, wherever it stands.
        per: of "5 €/month".
        percent_format: of "{number} {percent}".
        months: as behind a day. date: format of {day}, {month}, {year}. date_order: of 03/05/2024, where only one is
            possible that one. day: the form of an ordinal, or "" for a cardinal; first_day: of the 1st, where it is
            another word. year_form: of an ordinal, or "" for a year as it is counted.
        month_first: whether a date in words may have the day behind the month ("May 3").
        clock, full_hour: formats of {hour}, {hours} (with the noun `hour`) and {minute}. zero_minute: before minutes
            below 10. hour_form: of an ordinal, where hours are such; and one more for behind `hour_prepositions`.
        clock_word: pattern of the word behind a time, which `clock` says again.
        dotted_time: pattern of what stands before 14.30 where that is a time.
        money: noun and noun of the hundredth ("" where decimals are said), by sign. money_format: of {whole} and
            {cents}; money_says_cents: whether the word for these is said.
        scales: nouns of 5M, by their signs, and by themselves where a currency may stand around both.
        abbreviations: by what is written, or that with a capital first letter unless it is all; of one letter only
            where a name or a number follows.
        before_figures: abbreviations that are such only before a number.
        after_names: abbreviations that are such only behind a name.
        word_ends: abbreviations at the end of a longer word.
        ordinal_signs: form of the ordinal by the pattern of what stands at the figures.
        dot_ordinal: whether a dot behind a number makes an ordinal of it before a word in lower case or a month;
            `ordinal_articles`: form by the pattern of a word before, behind which it does so before every word, and
            `ordinal_nouns`: form by the last letter of the word that follows.
        bare_day_and_month: whether "3.5." is a date.
        years: (pattern before, pattern behind, form of the ordinal or "year", word said behind unless it stays).
        says_pairs: whether two figures of a telephone number are said as one number.
        glue: pattern of letters that are written at figures and belong to their word. joint: sign that is left out
            between the two.
        counted_genders: of words behind a number, by pattern: what the endings tell of most.
        elisions: patterns of what is replaced in all that was read.
        endings: by a gender or the name of a form, what is replaced in the words of a number; an ordinal goes by
            "ordinal f" for "f" where there is that.
    """

    decimal_mark: str = ","
    blank_groups: bool = True
    joins: bool = False
    plural: Plural = "two"
    point: str
    decimals_as_number: bool = False
    minus: str
    plus: str
    equals: str
    times: str
    times_more: str
    to: str
    ratio: str
    over: str
    fractions: tuple[str, str, str, str, str]
    half_more: str
    dot: str
    slash: str
    dash: str
    underscore: str
    at: str
    number: str
    hash: str
    version: str
    signs: Mapping[str, str]
    per: str = ""
    percent: str
    percent_format: str = "{number} {percent}"
    months: tuple[str, ...]
    date: str = "{day} {month} {year}"
    date_order: str = "dmy"
    day: str = ""
    first_day: str = ""
    year_form: str = ""
    month_first: bool = False
    clock: str = "{hour} {minute}"
    full_hour: str = "{hour}"
    hour: str = ""
    zero_minute: str = ""
    hour_form: str = ""
    hour_prepositions: str = ""
    clock_word: str = ""
    dotted_time: str = ""
    money: Mapping[str, tuple[str, str]]
    money_format: str = "{whole} {cents}"
    money_says_cents: bool = True
    scales: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, Noun]
    abbreviations: Mapping[str, str] = field(default_factory=dict)
    before_figures: Mapping[str, str] = field(default_factory=dict)
    after_names: Mapping[str, str] = field(default_factory=dict)
    word_ends: Mapping[str, str] = field(default_factory=dict)
    ordinal_signs: Mapping[str, str] = field(default_factory=dict)
    dot_ordinal: bool = False
    bare_day_and_month: bool = False
    ordinal_articles: Mapping[str, str] = field(default_factory=dict)
    ordinal_nouns: Mapping[str, str] = field(default_factory=dict)
    years: tuple[tuple[str, str, str, str], ...] = ()
    says_pairs: bool = False
    glue: str = ""
    joint: str = ""
    counted_genders: Rules = ()
    elisions: Rules = ()
    endings: Mapping[str, Rules] = field(default_factory=dict)


def money(written: str) -> dict[str, tuple[str, str]]:
    """Of nouns, or "noun/noun of the hundredth", with commas between them, in the order of `SIGNS`; with aliases."""
    pairs = [part.strip().partition("/") for part in written.split(",")]
    named = {sign: (whole, cent) for sign, (whole, _, cent) in zip(SIGNS, pairs, strict=True)}
    return named | {alias: named[sign] for alias, sign in _ALIASES.items()}


def units(prefixes: str, written: str) -> dict[str, Noun]:
    """Nouns by their signs.

    Args:
        prefixes: those of k, c, m, M, G and T.
        written: signs and nouns, with commas between the pairs; those of meter, gram and so on are prefixed.
    """
    kilo, centi, milli, mega, giga, tera = prefixes.split()
    base = {sign: Noun.of(noun) for sign, _, noun in (part.strip().partition(" ") for part in written.split(","))}
    prefixed = {
        "km": (kilo, "m"), "cm": (centi, "m"), "mm": (milli, "m"), "kg": (kilo, "g"), "mg": (milli, "g"),
        "ml": (milli, "l"), "cl": (centi, "l"), "ms": (milli, "s"), "kHz": (kilo, "Hz"), "MHz": (mega, "Hz"),
        "GHz": (giga, "Hz"), "kB": (kilo, "B"), "KB": (kilo, "B"), "MB": (mega, "B"), "GB": (giga, "B"),
        "TB": (tera, "B"), "kW": (kilo, "W"), "MW": (mega, "W"), "GW": (giga, "W"), "kWh": (kilo, "Wh"),
        "MWh": (mega, "Wh"), "kV": (kilo, "V"), "kcal": (kilo, "cal"),
    }  # fmt: skip
    composed = {sign: base[of].prefixed(prefix) for sign, (prefix, of) in prefixed.items()}
    # A byte by itself is seldom abbreviated, and B is much else.
    return {sign: noun for sign, noun in (composed | base).items() if sign not in ("B", "cal")}
