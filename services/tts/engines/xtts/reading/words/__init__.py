"""Words around figures, by language; a module for each."""

from __future__ import annotations

from services.tts.engines.xtts.reading.words import ar, cs, de, en, es, fr, hi, hu, it, ja, ko, nl, pl, pt, ru, tr, zh
from services.tts.engines.xtts.reading.words.language import Noun, Words

__all__ = ["WORDS", "Noun", "Words"]

_MODULES = {
    "ar": ar, "cs": cs, "de": de, "en": en, "es": es, "fr": fr, "hi": hi, "hu": hu, "it": it, "ja": ja, "ko": ko,
    "nl": nl, "pl": pl, "pt": pt, "ru": ru, "tr": tr, "zh": zh,
}  # fmt: skip
WORDS = {language: module.WORDS for language, module in _MODULES.items()}
