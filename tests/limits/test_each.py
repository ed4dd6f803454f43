"""Each limit, one at a time, through Envoy to the real services; after all of them the product is as it was."""

from __future__ import annotations

import pytest

from tests.limits.refusals import REFUSALS, Refusal
from tests.limits.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
_ALL = {name: act for lane in REFUSALS.values() for name, act in lane.items()}


@pytest.mark.parametrize("act", _ALL.values(), ids=_ALL.keys())
async def test_it_is_refused_in_words(world: World, act: Refusal) -> None:
    await act(world)
