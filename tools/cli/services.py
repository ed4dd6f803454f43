"""Services for a command that needs them: those of the running stack, or ones of its own for as long as it runs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence

import grpc

from services.common.errors import NotReadyError
from services.common.server import MAX_MESSAGE_BYTES
from tools.cli import processes
from tools.cli.health import is_serving, wait_until_serving

# Public gRPC ports, by Envoy.
_PUBLIC = {"render": 8081, "tts": 8082, "stt": 8083}
_READY_S = 120.0
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
]


def channel_to(port: int) -> grpc.aio.Channel:
    """A channel that carries recordings, portraits and frames."""
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS)


@contextlib.asynccontextmanager
async def channels(names: Sequence[str]) -> AsyncIterator[dict[str, grpc.aio.Channel]]:
    """A channel to each service by name; what does not run is started for the time being. Raises: NotReadyError."""
    async with contextlib.AsyncExitStack() as held:
        running = dict(zip(names, await asyncio.gather(*(is_serving(_PUBLIC[name]) for name in names)), strict=True))
        ports = {name: _PUBLIC[name] if serves else _free_port() for name, serves in running.items()}
        for name in names:
            if not running[name]:
                held.enter_context(_private(name, ports[name]))
        try:
            async with asyncio.timeout(_READY_S):
                await asyncio.gather(*(wait_until_serving(port) for port in ports.values()))
        except TimeoutError:
            raise NotReadyError(f"{', '.join(names)} did not become ready within {_READY_S:g} s") from None
        yield {name: await held.enter_async_context(channel_to(port)) for name, port in ports.items()}


@contextlib.contextmanager
def _private(name: str, port: int) -> Iterator[None]:
    process = processes.service(name, port)
    child = subprocess.Popen(
        process.command,
        cwd=processes.ROOT,
        env=processes.environment(process) | {f"{name.upper()}_LOG_LEVEL": "error"},
        start_new_session=True,
    )
    try:
        yield
    finally:
        child.terminate()
        child.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
