"""The command `avatar` as a person runs it, on settings of a test's own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.stack import ROOT
from tools.cli.settings import StackSettings, read_all


@dataclass(frozen=True)
class Ended:
    """A command that ran to its end."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Avatar:
    """The command, with its settings file."""

    config: Path

    async def run(self, *arguments: str) -> Ended:
        """Run it to its end."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tools.cli", "--config", str(self.config), *arguments),
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name != "AVATAR_DATA_DIR"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(120):
            out, err = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    def settings(self) -> StackSettings:
        """What it reads."""
        before = {name: os.environ.pop(name, None) for name in ("AVATAR_CONFIG", "AVATAR_DATA_DIR")}
        os.environ["AVATAR_CONFIG"] = str(self.config)
        try:
            return read_all()
        finally:
            os.environ.update({name: value for name, value in before.items() if value is not None})

    @contextlib.asynccontextmanager
    async def up(self, *arguments: str) -> AsyncIterator[str]:
        """A running stack. Yields: what the command said."""
        started = await self.run("up", "--detach", *arguments)
        assert started.status == 0, started.err
        try:
            yield started.out
        finally:
            ended = await self.run("down")
            assert (ended.status, ended.out) == (0, "ended\n"), ended.err
