"""A Whisper runtime without a model: it says what a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from services.stt.engines.whisper.runtime import SAMPLE_RATE_HZ, STATE_SAMPLES, Decoded, Prompt
from services.stt.engines.whisper.vocabulary import Vocabulary

Decode = Callable[[NDArray[np.float32], Prompt], Decoded]


def decoded(
    tokens: Sequence[int],
    *,
    settled: int = 0,
    states: int = 100,
    average_log_probability: float = -0.2,
    no_speech_probability: float = 0.01,
) -> Decoded:
    """Tokens spread evenly over the sound. Args: settled: how many of them stood in the prompt."""
    starts = tuple(round(number * states / max(len(tokens), 1)) for number in range(len(tokens) + 1))
    probabilities = (0.8,) * (len(tokens) - settled)
    return Decoded(tuple(tokens), probabilities, starts, average_log_probability, no_speech_probability, True)


class ScriptedRuntime:
    """Decodes each window by a function of its sound and its prompt.

    Attributes:
        batches: the prompts that came together, in order.
        may_work: cleared to hold the next batch.
        languages: what it hears spoken, by subtag.
    """

    description = "a script"

    def __init__(self, vocabulary: Vocabulary, decode: Decode, max_batch: int = 4) -> None:
        self.vocabulary = vocabulary
        self.max_batch = max_batch
        self.decode_one = decode
        self.batches: list[list[Prompt]] = []
        self.languages = {"en": 0.5, "de": 0.4}
        self.asked_for_language = 0
        self.may_work = threading.Event()
        self.may_work.set()
        self.is_held = threading.Event()
        self.is_closed = False

    def encode(self, sounds: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        if not self.may_work.is_set():
            self.is_held.set()
            assert self.may_work.wait(timeout=30)
        assert len(sounds) <= self.max_batch
        return list(sounds)

    def language_probabilities(self, encoded: list[NDArray[np.float32]]) -> list[dict[int, float]]:
        self.asked_for_language += 1
        shares = {token: self.languages.get(name, 0.0) for name, token in self.vocabulary.languages.items()}
        return [shares for _ in encoded]

    def decode(
        self, encoded: list[NDArray[np.float32]], prompts: Sequence[Prompt], windows: Sequence[int] | None = None
    ) -> list[Decoded]:
        self.batches.append(list(prompts))
        sounds = encoded if windows is None else [encoded[window] for window in windows]
        return [self.decode_one(sound, prompt) for sound, prompt in zip(sounds, prompts, strict=True)]

    def close(self) -> None:
        self.is_closed = True


def counting(vocabulary: Vocabulary, words: Sequence[str], words_per_second: int = 4) -> Decode:
    """Hears as many words, from the first on, as have had the time to be spoken; the last one is heard wrongly.

    Each word takes the same time, so its place is known too.
    """

    def decode(sound: NDArray[np.float32], prompt: Prompt) -> Decoded:
        whole = len(sound) * words_per_second // SAMPLE_RATE_HZ
        is_cut = len(sound) * words_per_second % SAMPLE_RATE_HZ != 0
        heard = [f" {word}" for word in words[:whole]] + ([" mumble"] if is_cut and whole < len(words) else [])
        tokens = [vocabulary.encode(word) for word in heard]
        flat = [token for word in tokens for token in word]
        assert tuple(flat[: len(prompt.text)]) == prompt.text
        starts = []
        for number, word in enumerate(tokens):
            starts += [number * SAMPLE_RATE_HZ // words_per_second // STATE_SAMPLES] * len(word)
        starts.append(len(tokens) * SAMPLE_RATE_HZ // words_per_second // STATE_SAMPLES)
        return Decoded(tuple(flat), (0.8,) * (len(flat) - len(prompt.text)), tuple(starts), -0.2, 0.01, True)

    return decode
