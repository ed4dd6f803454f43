"""How open eyes and lips are, on landmarks that are placed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.render.engines.liveportrait.pipeline import LIPS_CLOSED_BELOW
from services.render.engines.liveportrait.ratios import ratios_of_mesh
from services.render.portrait import Examined


def mesh(*, left: float = 0.3, right: float = 0.3, lips: float = 0.1) -> NDArray[np.float32]:
    """Landmarks whose lids and lips are so far apart, by the width of eye and mouth."""
    points = np.zeros((478, 3), np.float32)
    sides = (
        (left, (159, 158, 160), (145, 153, 144), (33, 133), 100.0),
        (right, (386, 385, 387), (374, 380, 373), (263, 362), 200.0),
    )
    for height, upper, lower, corners, x in sides:
        points[list(upper)] = (x, -height * 40 / 2, 0)
        points[list(lower)] = (x, height * 40 / 2, 0)
        points[corners[0]], points[corners[1]] = (x - 20, 0, 0), (x + 20, 0, 0)
    points[13], points[14] = (150, 100 - lips * 60 / 2, 0), (150, 100 + lips * 60 / 2, 0)
    points[61], points[291] = (120, 100, 0), (180, 100, 0)
    return points


def test_ratios_are_height_over_width_on_the_official_scale() -> None:
    ratios = ratios_of_mesh(mesh(left=0.3, right=0.2, lips=0.3))
    assert ratios.eye_left == pytest.approx(1.5 * 0.3 - 0.17, abs=1e-5)
    assert ratios.eye_right == pytest.approx(1.5 * 0.2 - 0.17, abs=1e-5)
    assert ratios.lips == pytest.approx(0.28, abs=1e-5)


def test_what_is_shut_is_zero_and_never_less() -> None:
    ratios = ratios_of_mesh(mesh(left=0.1, right=0.0, lips=0.01))
    assert (ratios.eye_left, ratios.eye_right, ratios.lips) == (0.0, 0.0, 0.0)


def test_size_place_and_turn_do_not_count() -> None:
    points = mesh()
    turn = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], np.float32)
    moved = (points @ turn * np.float32(3.0) + np.float32(50.0)).astype(np.float32)
    for before, after in zip(
        (ratios_of_mesh(points).eye_left, ratios_of_mesh(points).lips),
        (ratios_of_mesh(moved).eye_left, ratios_of_mesh(moved).lips),
        strict=True,
    ):
        assert after == pytest.approx(before, abs=1e-5)


def test_the_face_that_ships_looks_at_us_with_closed_lips(examined: Examined) -> None:
    ratios = ratios_of_mesh(examined.portrait.points)
    assert 0.2 < ratios.eye_left < 0.6
    assert 0.2 < ratios.eye_right < 0.6
    assert ratios.lips < LIPS_CLOSED_BELOW
