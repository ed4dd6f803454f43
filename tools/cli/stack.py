"""A stack for as long as a command needs one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from tools.cli import supervisor


@contextlib.asynccontextmanager
async def running_stack(env: Mapping[str, str]) -> AsyncIterator[None]:
    """Start everything, ready, and end it afterwards. Raises: StackError if one runs already."""
    await asyncio.to_thread(supervisor.up, env, detach=True)
    try:
        yield
    finally:
        await asyncio.to_thread(supervisor.down)
