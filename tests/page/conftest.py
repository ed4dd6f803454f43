"""One browser for all tests of the page; each has a profile of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser

from tests.conftest import no_task_left
from tests.page.browser import chromium


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(autouse=True, loop_scope="package")
async def no_task_outlives_its_person() -> AsyncIterator[None]:
    async with no_task_left():
        yield
