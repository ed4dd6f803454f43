"""A speech engine that beeps: 100 ms for each letter, in chunks of one word, as fast as it is asked.

A voice that it takes on beeps at the pitch of its recording.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.errors import EngineError
from services.tts.engine import (
    Capabilities,
    Cloning,
    PhonemeSpan,
    SpeechChunk,
    Style,
    Voice,
    WordSpan,
)
from services.tts.speakable import Token, make_speakable, tokens_of
from services.tts.visemes import visemes_of

RATE_HZ = 16_000
LETTER_SAMPLES = RATE_HZ // 10
ENDLESS = "endless"
BROKEN = "broken"
PITCH_HZ = 440.0


class SpeakingSpeaker:
    """Says "endless" for ever and fails at "broken"."""

    def __init__(self) -> None:
        self.chunks_made = 0
        self.chunks_closed = 0
        # Set to let the speaker work; cleared to hold it inside its next chunk.
        self.may_work = threading.Event()
        self.may_work.set()
        self.is_held = threading.Event()

    def speak(self, text: str, style: Style) -> Generator[SpeechChunk, None, None]:
        spoken = make_speakable(text)
        start = 0
        try:
            for token in tokens_of(spoken.text):
                letters = spoken.text[token.begin : token.end]
                if letters == BROKEN:
                    raise EngineError("the voice is hoarse")
                for _ in itertools.count() if letters == ENDLESS else [0]:
                    if not self.may_work.is_set():
                        self.is_held.set()
                        assert self.may_work.wait(timeout=30)
                    self.chunks_made += 1
                    text_range = spoken.spans[token.begin][0], spoken.spans[token.end - 1][1]
                    yield _beep(letters, start, text_range, style)
                    start += _length(token, style.speaking_rate)
        finally:
            self.chunks_closed += 1


def _length(token: Token, speaking_rate: float) -> int:
    return round(LETTER_SAMPLES / speaking_rate) * (token.end - token.begin)


def _beep(letters: str, start: int, text_range: tuple[int, int], style: Style) -> SpeechChunk:
    step = round(LETTER_SAMPLES / style.speaking_rate)
    pitch_hz = PITCH_HZ if style.conditioning is None else float(style.conditioning.arrays["pitch_hz"])
    size = step * len(letters)
    phonemes = tuple(
        PhonemeSpan(letter.lower(), start + index * step, start + (index + 1) * step)
        for index, letter in enumerate(letters)
    )
    tone = 0.5 * np.sin(2 * np.pi * pitch_hz * np.arange(start, start + size) / RATE_HZ)
    words = (WordSpan(*text_range, start, start + size),)
    return SpeechChunk(tone.astype(np.float32), words, phonemes, visemes_of(phonemes, RATE_HZ))


def pitch_of(samples: NDArray[np.float32], rate_hz: int) -> float:
    """The strongest pitch in samples, in hertz."""
    spectrum = np.abs(np.fft.rfft(samples))
    return float(np.argmax(spectrum)) * rate_hz / len(samples)


class SpeakingEngine:
    """Passes the same contract test as the real engines."""

    def __init__(self, speaker_count: int = 1, clones_as: str = "") -> None:
        """Args: clones_as: the model of voices that it takes on; empty for none."""
        self.capabilities = Capabilities(
            languages=("de", "en", "en-GB"),
            voices=(Voice("beep", "Beep"), Voice("another", "Another")),
            sample_rate_hz=RATE_HZ,
            has_exact_timing=False,
            segment_unit="sentence",
            max_segment_characters=100,
            cloning=Cloning(clones_as, RATE_HZ, self.condition) if clones_as else None,
        )
        self.speakers = tuple(SpeakingSpeaker() for _ in range(speaker_count))
        self.is_closed = False
        self.conditioned = 0
        # Set to let it take on a voice; cleared to hold it in one.
        self.may_condition = threading.Event()
        self.may_condition.set()

    def condition(self, samples: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        assert self.may_condition.wait(timeout=30)
        self.conditioned += 1
        return {"pitch_hz": np.asarray(pitch_of(samples, RATE_HZ), np.float32), "frames": samples[:160].reshape(2, 80)}

    def close(self) -> None:
        self.is_closed = True
