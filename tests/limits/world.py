"""The whole product with small limits, and how a stranger reaches it: through Envoy's public ports only."""

from __future__ import annotations

import contextlib
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from services.common.settings import ServerSettings
from tests.stack import EdgePorts, Program, Stack, free_ports, running_stack

MAX_STREAMS = 3
IDLE_S = 6.0
# What services to which nobody has given anything keep, models and compiled code apart.
KEPT = ["avatars", "prepared", "prepared/default"]
# What a client may receive; servers bound what they are sent.
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
# Of a process that did something wrong.
FAULTS = ("Traceback", '"level": "error"', "call_failed", "Exception in callback", "never retrieved")


@dataclass(frozen=True)
class Door:
    """The way in. Args: channels: to each public port, by the name of its listener."""

    ports: EdgePorts
    http: aiohttp.ClientSession
    channels: Mapping[str, grpc.aio.Channel]

    def url(self, listener: str, path: str) -> str:
        scheme = "https" if listener == "page" else "http"
        return f"{scheme}://localhost:{getattr(self.ports, listener)}{path}"

    async def post(self, listener: str, path: str, **request: Any) -> tuple[int, dict[str, Any]]:
        """Status and JSON of the answer."""
        async with self.http.post(self.url(listener, path), **request) as response:
            return response.status, await response.json()

    async def health(self) -> dict[str, int]:
        """The HTTP status of each process's health."""
        found = {}
        for listener in ("render", "tts", "stt", "legacy", "page"):
            async with self.http.get(self.url(listener, "/health")) as response:
                found[listener] = response.status
        return found


@contextlib.asynccontextmanager
async def opened(ports: EdgePorts, certificate: Path) -> AsyncIterator[Door]:
    """Args: certificate: PEM file of the page's port."""
    async with contextlib.AsyncExitStack() as held:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=certificate))
        http = await held.enter_async_context(aiohttp.ClientSession(connector=connector))
        channels = {
            name: await held.enter_async_context(
                grpc.aio.insecure_channel(f"127.0.0.1:{getattr(ports, name)}", options=_OPTIONS)
            )
            for name in ("render", "tts", "stt", "legacy")
        }
        yield Door(ports, http, channels)


@dataclass(frozen=True)
class World(Door):
    """The product behind the door. Args: data_dir: what the services keep."""

    stack: Stack
    data_dir: Path

    def faults(self) -> list[str]:
        """Lines of the processes' logs that tell of a bug."""
        return [
            f"{name}: {line[:500]}"
            for name, program in self.stack.programs.items()
            for line in program.log.read_text().splitlines()
            if any(fault in line for fault in FAULTS)
        ]

    def kept(self) -> list[str]:
        """Every file and folder that the services keep, models and compiled code apart."""
        return sorted(
            str(path.relative_to(self.data_dir))
            for path in self.data_dir.rglob("*")
            if path.relative_to(self.data_dir).parts[0] not in ("models", "compiled")
        )

    def memory_bytes(self, name: str) -> int:
        """What a process holds in memory, its children included."""
        found = 0
        pids = [self.stack.programs[name].process.pid]
        for pid in pids:
            folder = Path(f"/proc/{pid}")
            pids += map(int, (folder / f"task/{pid}/children").read_text().split())
            pages = int((folder / "statm").read_text().split()[1])
            found += pages * 4096
        return found


async def refused(call: Awaitable[Any], code: grpc.StatusCode, words: str) -> grpc.aio.AioRpcError:
    """The call must end with this status and a sentence that matches. Returns: the error."""
    with pytest.raises(grpc.aio.AioRpcError, match=words) as error:
        await call
    assert error.value.code() is code, error.value.details()
    return error.value


@contextlib.asynccontextmanager
async def running_world(data_dir: Path, env: Mapping[str, str] | None = None) -> AsyncIterator[World]:
    """Everything, ready. Args: data_dir: empty; env: more settings for all processes."""
    (data_dir / "models").symlink_to(ServerSettings().data_dir / "models")
    grpc_port, http_port = free_ports(2)

    def orchestrator(native: Mapping[str, int]) -> list[Program]:
        settings = {f"ORCHESTRATOR_{name.upper()}_ADDRESS": f"127.0.0.1:{port}" for name, port in native.items()}
        settings |= {"ORCHESTRATOR_PORT": str(grpc_port), "ORCHESTRATOR_HTTP_PORT": str(http_port)}
        settings |= {"ORCHESTRATOR_REPLY": "assistant", "ORCHESTRATOR_DRAIN__ANNOUNCE_S": "0"}
        return [Program("conversation", (sys.executable, "-m", "orchestrator"), settings | limits, grpc_port)]

    limits = {"AVATAR_DATA_DIR": str(data_dir), "OMP_NUM_THREADS": "1"}
    for name in ("RENDER", "TTS", "STT", "ORCHESTRATOR"):
        idle_s = 60.0 if name == "ORCHESTRATOR" else IDLE_S
        limits |= {f"{name}_MAX_STREAMS": str(MAX_STREAMS), f"{name}_IDLE_TIMEOUT_S": str(idle_s)}
    limits |= env or {}
    async with contextlib.AsyncExitStack() as held:
        stack = await held.enter_async_context(
            running_stack(("render", "tts", "stt"), limits, orchestrator, {"page": [http_port]})
        )
        door = await held.enter_async_context(opened(stack.ports, stack.edge.certificate))
        yield World(door.ports, door.http, door.channels, stack, data_dir)
