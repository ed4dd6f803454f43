"""What runs a Whisper model, whichever library it is: sound to encoder states, and from there to tokens with places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
# The model was trained on windows of 30 s; its encoder gives a state for every 20 ms of one.
WINDOW_SAMPLES = 30 * SAMPLE_RATE_HZ
STATE_SAMPLES = SAMPLE_RATE_HZ // 50
WINDOW_STATES = WINDOW_SAMPLES // STATE_SAMPLES
# The decoder's positions: prompt and text together.
MAX_TOKENS = 448


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a decoding begins with.

    Attributes:
        start: tokens of the context, if any, and the start of the transcript: language, task, no timestamps.
        transcript_at: the place of <|startoftranscript|> in `start`.
        text: tokens of the text that are settled already; the decoding goes on behind them.
        states: how many of the encoder's states hold sound, 1 to 1500.
        max_new: how many tokens may follow, 1 or more.
        places: the states at which the tokens of `text` begin, where that is known; it is not found out again.
        temperature: 0 for the likeliest tokens; else they are drawn, the more evenly the higher it is.
    """

    start: tuple[int, ...]
    transcript_at: int
    text: tuple[int, ...]
    states: int
    max_new: int
    places: tuple[int, ...] = ()
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Decoded:
    """The tokens of one window.

    Attributes:
        tokens: the prompt's settled text and what followed, without the end.
        probabilities: of each of the tokens that followed, 0 to 1.
        starts: the encoder state at which each of `tokens` begins, and one more for the end of the last; ascending.
        average_log_probability: of the tokens that followed, their end included; 0 or less.
        no_speech_probability: what the model gives the token for "nobody speaks" at the start of the transcript.
        is_complete: the model ended the text itself.
    """

    tokens: tuple[int, ...]
    probabilities: tuple[float, ...]
    starts: tuple[int, ...]
    average_log_probability: float
    no_speech_probability: float
    is_complete: bool


class Runtime(Protocol):
    """A loaded model. One thread uses it."""

    @property
    def description(self) -> str:
        """The library, the device and the number format, for the log and the health."""
        ...

    @property
    def max_batch(self) -> int:
        """How many windows it takes at once."""
        ...

    def encode(self, sounds: Sequence[NDArray[np.float32]]) -> Any:
        """The encoder's states of some windows, for the calls that follow.

        Args:
            sounds: shape (n,) each, in [-1, 1], 16 kHz, at most 30 s; at most `max_batch` of them.
        Raises: EngineError.
        """
        ...

    def language_probabilities(self, encoded: Any) -> list[dict[int, float]]:
        """For each window, how likely each language's token is. Raises: EngineError."""
        ...

    def decode(self, encoded: Any, prompts: Sequence[Prompt], windows: Sequence[int] | None = None) -> list[Decoded]:
        """The text of some windows.

        Args: windows: which of the encoded ones the prompts are for; by default all of them, in order.
        Raises: EngineError.
        """
        ...

    def close(self) -> None:
        """Give back the memory."""
        ...
