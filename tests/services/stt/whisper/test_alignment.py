"""Where tokens lie, by attention whose places are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.stt.engines.whisper.alignment import token_starts


def looking_at(*places: tuple[int, int], states: int, heads: int = 3) -> NDArray[np.float32]:
    """Attention of tokens that each look at their own stretch, with some noise."""
    noise = np.random.default_rng(0).random((heads, len(places), states), np.float32) * 0.05
    for row, (begin, end) in enumerate(places):
        noise[:, row, begin:end] += 1.0
    shares: NDArray[np.float32] = noise / noise.sum(axis=-1, keepdims=True)
    return shares


def test_tokens_begin_where_they_look() -> None:
    places = [(0, 20), (20, 50), (50, 60), (60, 100)]
    starts = token_starts(looking_at(*places, states=100), 0)
    assert starts == pytest.approx([0, 20, 50, 60], abs=3)


def test_what_stands_before_the_text_has_no_place_in_it() -> None:
    attention = looking_at((0, 5), (90, 100), (0, 30), (30, 70), (70, 100), states=100)
    assert token_starts(attention, 2) == pytest.approx([0, 30, 70], abs=3)


def test_starts_never_go_back() -> None:
    attention = np.random.default_rng(1).random((4, 30, 200)).astype(np.float32)
    starts = token_starts(attention, 1)
    assert len(starts) == 29
    assert list(starts) == sorted(starts)
    assert starts[0] >= 0
    assert starts[-1] < 200


@pytest.mark.parametrize("states", [1, 2, 3])
def test_a_sound_of_a_moment_has_places_too(states: int) -> None:
    attention = np.random.default_rng(1).random((1, 4, states)).astype(np.float32)
    starts = token_starts(attention, 0)
    assert all(0 <= start < states for start in starts)
