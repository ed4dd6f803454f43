"""Where tokens lie, by costs whose cheapest way is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.stt.engines.whisper.alignment import token_starts


def looking_at(*places: tuple[int, int], states: int) -> NDArray[np.float64]:
    """The cost of tokens that each look at their own stretch, with some noise."""
    noise = np.random.default_rng(0).random((len(places), states)) * 0.1
    for row, (begin, end) in enumerate(places):
        noise[row, begin:end] -= 1.0
    return noise


def test_tokens_begin_where_they_look() -> None:
    (starts,) = token_starts([looking_at((0, 20), (20, 50), (50, 60), (60, 100), states=100)])
    assert starts == pytest.approx([0, 20, 50, 60], abs=1)


def test_texts_of_different_lengths_are_placed_alike_alone_and_together() -> None:
    costs = [
        looking_at((0, 30), (30, 70), (70, 100), states=100),
        looking_at((0, 5), (5, 8), states=8),
        np.random.default_rng(1).random((30, 200)),
        np.random.default_rng(2).random((1, 1)),
    ]
    assert token_starts(costs) == [token_starts([cost])[0] for cost in costs]
    assert token_starts([]) == []


def by_definition(cost: NDArray[np.float64]) -> float:
    """The least cost of a way from corner to corner."""
    total = np.full((cost.shape[0] + 1, cost.shape[1] + 1), np.inf)
    total[0, 0] = 0
    for i, j in np.ndindex(*cost.shape):
        total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    return float(total[-1, -1])


@pytest.mark.parametrize("seed", range(5))
def test_the_way_is_the_cheapest(seed: int) -> None:
    cost = np.random.default_rng(seed).random((6, 15)) - 0.5
    (starts,) = token_starts([cost])
    # The way that these starts leave open: from one start to the next, in one row, then a step down.
    ends = [*starts[1:], cost.shape[1]]
    choices = []
    for row, (begin, end) in enumerate(zip(starts, ends, strict=True)):
        # The next token may begin at this one's last state, or behind it.
        upto = cost[row, begin : max(end, begin + 1)].sum()
        over = cost[row, begin : min(end + 1, cost.shape[1])].sum()
        choices.append((upto, over))
    assert sum(min(pair) for pair in choices) == pytest.approx(by_definition(cost))


def test_starts_never_go_back() -> None:
    (starts,) = token_starts([np.random.default_rng(1).random((29, 200))])
    assert list(starts) == sorted(starts)
    assert starts[0] >= 0
    assert starts[-1] < 200


@pytest.mark.parametrize("states", [1, 2, 3])
def test_a_sound_of_a_moment_has_places_too(states: int) -> None:
    (starts,) = token_starts([np.random.default_rng(1).random((4, states))])
    assert all(0 <= start < states for start in starts)
