"""Where in a sound the tokens of its text lie, by what the decoder looked at when it wrote them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def token_starts(costs: Sequence[NDArray[np.float64]]) -> list[tuple[int, ...]]:
    """The state at which each token of some texts begins, and for the last token the end of the text; ascending.

    Args:
        costs: for each text (tokens, states): how little the decoder looked at a state when it wrote the token of that
            row; the last row is that of what follows the text.
    Source: dynamic time warping, as the reference implementation of Whisper does for word timestamps
        (https://github.com/openai/whisper/blob/main/whisper/timing.py).
    """
    if not costs:
        return []
    tokens, states = (max(cost.shape[axis] for cost in costs) for axis in (0, 1))
    # Skewed, so that each step of the recursion is one vector over all texts: [s, text, i] is token i at state s - i.
    skewed = np.full((tokens + states - 1, len(costs), tokens), np.inf)
    for number, cost in enumerate(costs):
        for token, of_token in enumerate(cost):
            skewed[token : token + len(of_token), number, token] = of_token
    # What lies beyond a text's own corner is never asked for: each entry follows from smaller ones.
    came_by = np.zeros((tokens + states - 1, len(costs), tokens), np.int8)
    before = np.full((len(costs), tokens + 1), np.inf)
    last = before.copy()
    before[:, 0] = 0.0
    choices = np.empty((3, len(costs), tokens))
    for step, cost in enumerate(skewed):
        choices[0], choices[1], choices[2] = before[:, :-1], last[:, :-1], last[:, 1:]
        came_by[step] = choices.argmin(axis=0)
        before, last = last, np.full_like(last, np.inf)
        last[:, 1:] = choices.min(axis=0) + cost
    return [_way_back(came_by[:, number], *cost.shape) for number, cost in enumerate(costs)]


def _way_back(came_by: NDArray[np.int8], tokens: int, states: int) -> tuple[int, ...]:
    """The first state of each token on the cheapest way from corner to corner."""
    starts = [0] * tokens
    token, state = tokens - 1, states - 1
    while token >= 0 and state >= 0:
        starts[token] = state
        match came_by[token + state, token]:
            case 0:
                token, state = token - 1, state - 1
            case 1:
                token -= 1
            case _:
                state -= 1
    return tuple(starts)
