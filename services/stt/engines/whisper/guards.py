"""What Whisper makes up where nobody speaks, and how it is told from what was said; each guard is a plain function.

The thresholds of `nobody_speaks`, `is_repetitive` and `is_improbable` are the ones that Whisper was published with
(https://arxiv.org/abs/2212.04356, section 4.5, and the reference implementation's defaults), but that `nobody_speaks`
asks for half of the doubt in the text: there a text that is dropped wrongly can be said again, and one that was made up
is answered.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_SPEECH_FROM = 0.6
LOG_PROBABILITY_FROM = -1.0
COMPRESSION_RATIO_UP_TO = 2.4
# A whisper into a microphone that is set low has about -55 dBFS.
SILENCE_BELOW_DBFS = -65.0
# Auctioneers reach 6 words per second; a model that makes something up writes a sentence for a cough.
WORDS_PER_SECOND_UP_TO = 8.0
_SPOKEN_AT_LEAST_S = 0.5
# Speech gets louder and softer with each syllable; a hum, a whistle and a noise do not.
STEADY_BELOW_DB = 1.5
_LEVEL_S = 0.032
_MIN_STEADY_S = 0.5
# Weak evidence: neither enough to drop a text nor to believe a phrase that training data end with.
_WEAK_NO_SPEECH = 0.3
_WEAK_LOG_PROBABILITY = -0.6
_FEWEST_REPEATS = 3
_LONGEST_LOOP_WORDS = 12

# What subtitles, the model's training data, end with; heard where nothing is said.
PHANTOMS = frozenset(
    {
        "thank you",
        "thanks",
        "thank you for watching",
        "thanks for watching",
        "thank you very much",
        "please subscribe",
        "subscribe",
        "see you next time",
        "bye",
        "bye bye",
        "you",
        "music",
        "applause",
        "subtitles by the amara org community",
        "untertitel der amara org community",
        "untertitel im auftrag des zdf",
        "untertitelung des zdf",
        "vielen dank",
        "vielen dank fürs zuschauen",
        "bis zum nächsten mal",
        "sous titres réalisés para la communauté d amara org",
        "sous titrage société radio canada",
        "merci d avoir regardé cette vidéo",
        "subtítulos realizados por la comunidad de amara org",
        "gracias por ver el video",
        "sottotitoli creati dalla comunità amara org",
        "legendas pela comunidade amara org",
        "ondertitels ingediend door de amara org gemeenschap",
        "napisy stworzone przez społeczność amara org",
        "продолжение следует",
        "спасибо за просмотр",
        "ご視聴ありがとうございました",
        "字幕由amara org社区提供",
        "시청해주셔서 감사합니다",
    }
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for and against a text.

    Attributes:
        text: what the model wrote.
        no_speech_probability: 0 to 1, as the model says.
        average_log_probability: of its tokens; 0 or less.
        duration_s: of the sound that it was written for.
        level_dbfs: of the loudest part of the sound.
        variation_db: how much the sound's level varies; infinite for one that is too short to tell.
    """

    text: str
    no_speech_probability: float
    average_log_probability: float
    duration_s: float
    level_dbfs: float
    variation_db: float


def verdict(evidence: Evidence) -> str:
    """Why a text is not to be believed, in a word for the log; empty for one that is."""
    if not evidence.text.strip():
        return ""
    reasons = {
        "silence": is_silent(evidence.level_dbfs),
        "no_speech": nobody_speaks(evidence.no_speech_probability, evidence.average_log_probability),
        "steady_sound": is_steady(evidence.variation_db),
        "repetitive": is_repetitive(evidence.text),
        "improbable": is_improbable(evidence.average_log_probability),
        "too_fast": is_too_fast(evidence.text, evidence.duration_s),
        "phantom": is_phantom(
            evidence.text, evidence.no_speech_probability, evidence.average_log_probability, evidence.level_dbfs
        ),
    }
    return next((name for name, holds in reasons.items() if holds), "")


def is_worth_another_try(evidence: Evidence) -> bool:
    """Whether somebody speaks, but the model guessed or went round in circles: a text that is drawn may be better.

    Source: the reference implementation draws again, at a higher temperature, by the same two thresholds.
    """
    if not evidence.text.strip() or is_silent(evidence.level_dbfs) or is_steady(evidence.variation_db):
        return False
    if nobody_speaks(evidence.no_speech_probability, evidence.average_log_probability):
        return False
    return is_repetitive(evidence.text) or is_improbable(evidence.average_log_probability)


def is_silent(level_dbfs: float) -> bool:
    """Whether there is nothing to hear."""
    return level_dbfs < SILENCE_BELOW_DBFS


def nobody_speaks(no_speech_probability: float, average_log_probability: float) -> bool:
    """Whether the model says that nobody speaks, and is not sure of its text either."""
    return no_speech_probability > NO_SPEECH_FROM and average_log_probability < LOG_PROBABILITY_FROM / 2


def is_steady(variation_db: float) -> bool:
    """Whether the sound is a hum, a tone or an even noise: no syllables."""
    return variation_db < STEADY_BELOW_DB


def is_repetitive(text: str) -> bool:
    """Whether the text says the same again and again: it can be packed to less than its share."""
    packed = text.encode()
    return len(packed) / len(zlib.compress(packed)) > COMPRESSION_RATIO_UP_TO


def is_improbable(average_log_probability: float) -> bool:
    """Whether the model guessed."""
    return average_log_probability < LOG_PROBABILITY_FROM


def is_too_fast(text: str, duration_s: float) -> bool:
    """Whether nobody can say so much in the time."""
    return len(words_of(text)) > WORDS_PER_SECOND_UP_TO * max(duration_s, _SPOKEN_AT_LEAST_S)


def is_phantom(text: str, no_speech_probability: float, average_log_probability: float, level_dbfs: float) -> bool:
    """Whether the text is one that subtitles end with, and little else speaks for it.

    People do say "thank you": the list alone drops nothing.
    """
    weak = (
        no_speech_probability > _WEAK_NO_SPEECH
        or average_log_probability < _WEAK_LOG_PROBABILITY
        or level_dbfs < SILENCE_BELOW_DBFS + 15
    )
    return weak and " ".join(words_of(text)) in PHANTOMS


def loop_at(words: Sequence[str]) -> int | None:
    """Where a text begins to go round in circles: the end of the first round; None if it does not.

    A loop is the same one to twelve words three times or more in a row, up to the end of the text.
    """
    for size in range(1, min(_LONGEST_LOOP_WORDS, len(words) // _FEWEST_REPEATS) + 1):
        # A single word may well be said three times ("no, no, no").
        fewest = _FEWEST_REPEATS + (2 if size == 1 else 0)
        last = list(words[-size:])
        begin = len(words) - size
        while begin >= size and list(words[begin - size : begin]) == last:
            begin -= size
        if (len(words) - begin) // size >= fewest:
            return begin + size
    return None


def words_of(text: str) -> list[str]:
    """The words without case and punctuation."""
    return re.findall(r"\w+", text.casefold())


def level_of(samples: NDArray[np.float32]) -> tuple[float, float]:
    """The level of a sound's loudest tenth in dBFS, and how much its level varies in dB.

    Args:
        samples: shape (n,), in [-1, 1], 16 kHz.
    """
    size = round(_LEVEL_S * 16_000)
    count = len(samples) // size
    if not count:
        power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
        return 10 * math.log10(max(power, 1e-12)), math.inf
    frames = samples[: count * size].reshape(count, size).astype(np.float64)
    levels = 10 * np.log10(np.maximum(np.mean(np.square(frames), axis=1), 1e-12))
    loudest = float(np.percentile(levels, 90))
    # Silence before and behind a tone varies too; what is 30 dB below the loudest part does not count.
    sounding = levels[levels > loudest - 30]
    if len(sounding) * _LEVEL_S < _MIN_STEADY_S:
        return loudest, math.inf
    return loudest, float(np.percentile(sounding, 90) - np.percentile(sounding, 10))
