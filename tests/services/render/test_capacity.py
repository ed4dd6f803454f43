"""What an engine can draw, and who is let in at which rate."""

from __future__ import annotations

import math

import pytest

from services.render.capacity import ACTIVE_S, HEADROOM, RAISE_AFTER_S, RATES_HZ, Capacity, Costs


def test_a_batch_costs_what_the_last_ones_took_and_padding_costs_too() -> None:
    costs = Costs((1, 2, 4, 8))
    for seconds in (0.01, 0.011, 0.2):
        costs.observe(3, seconds)
    assert costs.of(3) == costs.of(4) == 0.011
    assert costs.padded(3) == 4
    assert costs.max_batch == 8


def test_one_slow_batch_says_little_and_a_slower_machine_shows_soon() -> None:
    costs = Costs((1,))
    for _ in range(15):
        costs.observe(1, 0.002)
    costs.observe(1, 0.5)
    assert costs.of(1) == 0.002
    for _ in range(8):
        costs.observe(1, 0.004)
    assert costs.of(1) == 0.004
    assert costs.frames_per_s == pytest.approx(250)


def test_what_was_never_measured_is_estimated_from_what_was() -> None:
    costs = Costs((1, 2, 4, 8))
    assert (costs.of(8), costs.frames_per_s) == (0.0, math.inf)
    costs.observe(2, 0.01)
    assert costs.of(1) == 0.01
    assert 0.03 < costs.of(8) < 0.04
    costs.observe(8, 0.02)
    assert costs.frames_per_s == pytest.approx(400)
    costs.forget()
    assert costs.frames_per_s == math.inf


def capacity_of(faces: float, rate_hz: int = 25) -> Capacity:
    """Room for so many faces at a rate."""
    return Capacity(lambda: faces * rate_hz / HEADROOM + 1e-6)


def rates(capacity: Capacity, keys: range, now_s: float) -> set[int]:
    for key in keys:
        capacity.drew(key, now_s)
    return {capacity.rate_hz(key, now_s) for key in keys}


@pytest.mark.parametrize(
    ("faces", "rate_hz"), [(10, 25), (11, 15), (16, 15), (17, 12), (20, 12)], ids=lambda value: str(value)
)
def test_more_faces_have_fewer_frames_before_one_is_refused(faces: int, rate_hz: int) -> None:
    capacity = capacity_of(10)
    assert all(capacity.admit(key, 25, 0.0) for key in range(faces))
    assert rates(capacity, range(faces), 0.0) == {rate_hz}
    assert capacity.faces == faces


def test_one_face_too_many_even_at_the_lowest_rate_is_refused_until_another_leaves() -> None:
    capacity = capacity_of(10)
    assert all(capacity.admit(key, 25, 0.0) for key in range(20))
    assert not capacity.admit(20, 25, 0.0)
    # One at 5 frames per second still fits.
    assert capacity.admit(21, 5, 0.0)
    capacity.leave(3)
    capacity.leave(21)
    assert capacity.admit(20, 25, 0.0)


def test_a_face_never_has_more_frames_than_it_asked_for() -> None:
    capacity = capacity_of(10)
    capacity.admit(1, 30, 0.0)
    capacity.admit(2, 5, 0.0)
    assert (capacity.rate_hz(1, 0.0), capacity.rate_hz(2, 0.0)) == (30, 5)


def test_faces_that_are_not_drawn_leave_their_frames_to_the_others_but_not_their_place() -> None:
    capacity = capacity_of(10)
    for key in range(20):
        capacity.admit(key, 25, 0.0)
    assert rates(capacity, range(20), 0.0) == {12}
    later_s = ACTIVE_S + 0.1
    for step in range(1 + round(RAISE_AFTER_S * 10)):
        found = rates(capacity, range(10), later_s + step / 10)
    assert found == {25}
    assert not capacity.admit(20, 25, later_s + RAISE_AFTER_S)
    # All of them speak: at once there are fewer frames for each.
    assert rates(capacity, range(20), later_s + RAISE_AFTER_S + 0.2) == {12}


def test_a_rate_is_given_back_only_after_it_has_fitted_for_a_while_and_as_far_as_it_always_did() -> None:
    capacity = capacity_of(10)
    for key in range(20):
        capacity.admit(key, 25, 0.0)
    rates(capacity, range(20), 0.0)
    # At first 16 are active, which fit at 15; then only 5.
    seen = []
    for step in range(120):
        now_s = 2 + step / 10
        seen.append(rates(capacity, range(16 if step < 20 else 5), now_s).pop())
    assert seen[: round(RAISE_AFTER_S * 10)] == [12] * round(RAISE_AFTER_S * 10)
    assert seen[round(RAISE_AFTER_S * 10) + 1] == 15
    assert seen[-1] == 25
    assert set(seen) <= set(RATES_HZ)


def test_an_engine_that_becomes_slower_gives_fewer_frames_and_keeps_its_faces() -> None:
    frames_per_s = 1000.0
    capacity = Capacity(lambda: frames_per_s)
    for key in range(20):
        capacity.admit(key, 25, 0.0)
    assert rates(capacity, range(20), 0.0) == {25}
    frames_per_s = 100.0
    assert rates(capacity, range(20), 0.1) == {12}
    assert not capacity.admit(20, 25, 0.1)


def test_who_has_nowhere_else_to_go_is_let_in() -> None:
    capacity = capacity_of(1, 12)
    capacity.join(1, 25, 0.0)
    capacity.join(2, 25, 0.0)
    assert rates(capacity, range(1, 3), 0.0) == {12}
    assert not capacity.admit(3, 25, 0.0)
    capacity.leave(4)
