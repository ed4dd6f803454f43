"""One product for all the tests of this folder: none of them may leave it otherwise than it was."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.limits.world import KEPT, World, running_world


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def shared_world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("limits")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def world(shared_world: World) -> AsyncIterator[World]:
    """The product, which must be well, without a fault in its logs and without a leftover after the test."""
    before = len(shared_world.faults())
    yield shared_world
    assert shared_world.faults()[before:] == []
    assert shared_world.kept() == KEPT
    assert set((await shared_world.health()).values()) == {200}
