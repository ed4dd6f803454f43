"""Rules that hold for every test."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

# How fast examples are made and tried depends on what else the machine does.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
# Settings that somebody has for a stack of their own are not for its tests.
os.environ["AVATAR_CONFIG"] = os.devnull
# Processes of several tests, and those of a stack that runs beside them, would meet at the ports of /metrics.
os.environ |= {f"{name}_METRICS_PORT": "0" for name in ("RENDER", "TTS", "STT", "CANARY", "ORCHESTRATOR")}
# Before any test loads the library, as the services do before they load it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


@contextlib.asynccontextmanager
async def no_task_left() -> AsyncIterator[None]:
    """Fails if a task that was started meanwhile still runs."""
    before = asyncio.all_tasks()
    yield
    leaked = asyncio.all_tasks() - before - {asyncio.current_task()}
    if leaked:
        # gRPC ends the tasks of a stopped server a few turns of the loop later.
        _, leaked = await asyncio.wait(leaked, timeout=1.0)
    assert not leaked, f"still running: {[task.get_coro() for task in leaked]}"


@pytest_asyncio.fixture(autouse=True)
async def no_task_outlives_its_test() -> AsyncIterator[None]:
    async with no_task_left():
        yield


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Real portraits and recordings that are not part of the project; tests that use it are marked `data`."""
    return Path(os.environ["AVATAR_TEST_DATA"])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Fast tests first; those that need the recordings are left out where there are none."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
    if "AVATAR_TEST_DATA" not in os.environ:
        without = [item for item in items if item.get_closest_marker("data")]
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if not item.get_closest_marker("data")]
