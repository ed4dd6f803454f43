"""What every engine that draws owes its callers."""

from __future__ import annotations

import numpy as np
import pytest

from services.render.blendshapes import COUNT, weights_of
from services.render.engine import MAX_SIZE, MIN_SIZE, FaceState, HeadPose, PreparedAvatar, RenderEngine
from services.render.engines.mesh import MeshEngine
from services.render.portrait import Examined
from tests.fakes.drawing_flat import FlatEngine

Drawn = tuple[RenderEngine, PreparedAvatar]


@pytest.fixture(params=["mesh", "flat"])
def drawn(request: pytest.FixtureRequest, engine: MeshEngine, examined: Examined) -> Drawn:
    chosen: RenderEngine = engine if request.param == "mesh" else FlatEngine()
    return chosen, chosen.prepare(examined.portrait)


@pytest.mark.parametrize("size", [MIN_SIZE, 130, 256, 384, MAX_SIZE])
def test_a_frame_has_the_size_that_was_asked_for(drawn: Drawn, size: int) -> None:
    engine, prepared = drawn
    frame = engine.draw(prepared, FaceState(), size)
    assert frame.shape == (size, size, 3)
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous


def test_the_same_state_is_the_same_frame_whatever_was_drawn_between(drawn: Drawn) -> None:
    engine, prepared = drawn
    first = engine.draw(prepared, FaceState(), MAX_SIZE).copy()
    state = FaceState(weights_of({"jawOpen": 0.7, "eyeBlink": 1.0, "mouthPucker": 0.5}), HeadPose(3, 2, 2))
    between = engine.draw(prepared, state, MAX_SIZE)
    assert (between != first).any()
    np.testing.assert_array_equal(engine.draw(prepared, FaceState(), MAX_SIZE), first)


def test_a_frame_belongs_to_its_caller(drawn: Drawn) -> None:
    engine, prepared = drawn
    first = engine.draw(prepared, FaceState(), MAX_SIZE)
    copy = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(engine.draw(prepared, FaceState(), MAX_SIZE), copy)


def test_every_weight_at_its_limit_and_beyond_is_drawn(drawn: Drawn) -> None:
    engine, prepared = drawn
    for weights in (np.ones(COUNT, np.float32), np.full(COUNT, 3.0, np.float32), np.full(COUNT, -1.0, np.float32)):
        assert engine.draw(prepared, FaceState(weights, HeadPose(12, -12, 12)), MAX_SIZE).shape[0] == MAX_SIZE
