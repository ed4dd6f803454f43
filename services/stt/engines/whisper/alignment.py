"""Where in a sound the tokens of its text lie, by what the decoder looked at when it wrote them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MEDIAN_STATES = 7


def token_starts(attention: NDArray[np.float32], text_from: int) -> tuple[int, ...]:
    """The state at which each token of the text begins, and the end of the last; ascending.

    Args:
        attention: cross-attention of the heads that follow the sound, shape (heads, tokens, states), from the start of
            the transcript to the last token of the text.
        text_from: the token before the text, by whose row its first token was written.
    Source: dynamic time warping over normalised, median-filtered attention, as the reference implementation of Whisper
        does for word timestamps (https://github.com/openai/whisper/blob/main/whisper/timing.py).
    """
    heads, tokens, states = attention.shape
    attention = attention / np.maximum(attention.sum(axis=-1, keepdims=True), 1e-9)
    spread = np.maximum(attention.std(axis=1, keepdims=True), 1e-6)
    normalised = (attention - attention.mean(axis=1, keepdims=True)) / spread
    cost = -_median(normalised.reshape(heads * tokens, states)).reshape(heads, tokens, states).mean(axis=0)
    return tuple(_warp(cost[text_from:].astype(np.float64)))


def _median(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row with the median of its neighbourhood in place of each value."""
    reach = MEDIAN_STATES // 2
    if rows.shape[1] <= reach:
        return rows
    padded = np.pad(rows, ((0, 0), (reach, reach)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, MEDIAN_STATES, axis=1)
    return np.partition(windows, reach, axis=-1)[..., reach]


def _warp(cost: NDArray[np.float64]) -> list[int]:
    """The first state of each row on the cheapest monotonic path through a cost of the shape (tokens, states)."""
    tokens, states = cost.shape
    # Skewed so that each step of the recursion is one vector: entry [i + j, i] is token i at state j.
    skewed = np.full((tokens + states - 1, tokens), np.inf)
    rows = np.arange(tokens)
    for state in range(states):
        skewed[rows + state, rows] = cost[:, state]
    total = np.full((tokens + states + 1, tokens + 1), np.inf)
    total[0, 0] = 0.0
    came_by = np.zeros((tokens + states + 1, tokens + 1), np.int8)
    for step in range(tokens + states - 1):
        # total[s + 2, i + 1] is the cheapest way to token i at state s - i.
        choices = np.stack([total[step, :-1], total[step + 1, :-1], total[step + 1, 1:]])
        best = choices.argmin(axis=0)
        came_by[step + 2, 1:] = best
        total[step + 2, 1:] = choices[best, rows] + skewed[step]
    starts = [0] * tokens
    token, state = tokens - 1, states - 1
    while token >= 0 and state >= 0:
        starts[token] = state
        match came_by[token + state + 2, token + 1]:
            case 0:
                token, state = token - 1, state - 1
            case 1:
                token -= 1
            case _:
                state -= 1
    return starts
