"""What espeak-ng's voices speak beside Piper's, and their speech at the rate of those."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import soxr

from services.tts.engine import PhonemeSpan, SpeechChunk, VisemeSpan, WordSpan, language_among

_Span = TypeVar("_Span", WordSpan, PhonemeSpan, VisemeSpan)


def languages_to_lend(espeak: Iterable[str], own: Collection[str]) -> tuple[str, ...]:
    """espeak-ng's languages that Piper's voices lack, and those that both know by the same tag, in order.

    A region of a language that is spoken, such as en-GB where there is an American voice, is not among them: whoever
    asks for it alone would hear espeak-ng instead of that voice.
    """
    return tuple(sorted(tag for tag in espeak if language_among(own, tag) in (None, tag)))


def at_rate(chunk: SpeechChunk, rate_hz: int, wanted_hz: int) -> SpeechChunk:
    """A whole segment of speech at another rate. Args: rate_hz: its own."""
    if rate_hz == wanted_hz:
        return chunk

    def moved(spans: tuple[_Span, ...]) -> tuple[_Span, ...]:
        return tuple(
            replace(span, start=span.start * wanted_hz // rate_hz, end=span.end * wanted_hz // rate_hz)
            for span in spans
        )

    length = len(chunk.samples) * wanted_hz // rate_hz
    samples = np.zeros(length, np.float32)
    resampled = soxr.resample(chunk.samples, rate_hz, wanted_hz)[:length]
    samples[: len(resampled)] = np.clip(resampled, -1.0, 1.0)
    return SpeechChunk(samples, moved(chunk.words), moved(chunk.phonemes), moved(chunk.visemes))
