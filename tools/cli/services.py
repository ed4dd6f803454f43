"""Services for a command that needs them: those of the running stack, or ones of its own for as long as it runs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence

import grpc

from services.common.errors import NotReadyError
from services.common.start import NEEDS_REPAIR
from tools.cli import lan, processes
from tools.cli.channel import channel_to
from tools.cli.health import is_serving, wait_until_serving
from tools.cli.settings import StackSettings, read_all
from tools.cli.state import log_file

_READY_S = 120.0


def public_channel(settings: StackSettings, listener: str) -> grpc.aio.Channel:
    """A channel to a public port of the running stack, as any other client has it. Args: listener: such as "legacy"."""
    return channel_to(settings.public_ports[listener], lan.token_of_running(settings), settings.reach)


@contextlib.asynccontextmanager
async def channels(names: Sequence[str]) -> AsyncIterator[dict[str, grpc.aio.Channel]]:
    """A channel to each service by name; what does not run is started for the time being. Raises: NotReadyError."""
    settings = read_all()
    async with contextlib.AsyncExitStack() as held:
        token, reach = lan.token_of_running(settings), settings.reach
        asked = (is_serving(settings.public_ports[name], token, reach) for name in names)
        runs = dict(zip(names, await asyncio.gather(*asked), strict=True))
        own = {name: _free_port() for name in names if not runs[name]}
        started = [await held.enter_async_context(_private(settings, name, port)) for name, port in own.items()]
        await asyncio.gather(*(_ready(settings, child, *one) for child, one in zip(started, own.items(), strict=True)))
        opened = {name: channel_to(own[name]) if name in own else public_channel(settings, name) for name in names}
        yield {name: await held.enter_async_context(channel) for name, channel in opened.items()}


async def _ready(settings: StackSettings, child: asyncio.subprocess.Process, name: str, port: int) -> None:
    """Return once it serves. Raises: NotReadyError if it ends, or takes too long."""
    log = log_file(settings, name)
    serving, ending = (asyncio.ensure_future(one) for one in (wait_until_serving(port), child.wait()))
    try:
        await asyncio.wait((serving, ending), timeout=_READY_S, return_when=asyncio.FIRST_COMPLETED)
        if ending.done():
            said = log.read_text(errors="replace").splitlines()[-1:]
            why = (
                said[0]
                if ending.result() == NEEDS_REPAIR and said
                else f"it ended with status {ending.result()}; see {log}"
            )
            raise NotReadyError(f"{name} cannot start: {why}")
        if not serving.done():
            raise NotReadyError(f"{name} did not become ready within {_READY_S:g} s; see {log}")
    finally:
        for waiting in (serving, ending):
            waiting.cancel()


@contextlib.asynccontextmanager
async def _private(settings: StackSettings, name: str, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = processes.service(name, port)
    log = log_file(settings, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as said:
        # Libraries greet on standard error; a person who asked for a transcript wants nothing else.
        child = await asyncio.create_subprocess_exec(
            *process.command,
            cwd=processes.ROOT,
            env=processes.environment(process),
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        await child.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
