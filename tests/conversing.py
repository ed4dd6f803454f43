"""The whole product with a conversation in it, for tests of what programs can do with one."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.common.settings import ServerSettings
from tests.fakes.browser import Socket, browser, connections_settled, socket_at
from tests.stack import Program, Stack, free_ports, running_stack


class Person:
    """Somebody with a silent microphone and a keyboard. Args: conversation: its name."""

    def __init__(self, conversation: str, socket: Socket) -> None:
        self.conversation = conversation
        self._socket = socket
        self._heard: asyncio.Queue[str] = asyncio.Queue()

    async def types(self, text: str) -> None:
        """Make a turn."""
        await self._socket.send("text", text=text)

    async def hears(self, beginning: str = "") -> str:
        """What was heard of the next utterance of the avatar that begins so, once it is over."""
        while True:
            heard = await self._heard.get()
            if heard.startswith(beginning):
                return heard

    async def listen(self) -> None:
        """Read what the server sends, which would wait for it, until the end."""
        while True:
            event = (await self._socket.next("event"))["data"]
            if "utterance_ended" in event:
                self._heard.put_nowait(event["utterance_ended"].get("heard_text", ""))


@dataclass(frozen=True)
class Conversing:
    """Args: env: the settings of the stack, its public ports apart."""

    stack: Stack
    person: Person
    env: Mapping[str, str]


@contextlib.asynccontextmanager
async def conversing(folder: Path, reply: str = "assistant") -> AsyncIterator[Conversing]:
    """Real services, the real orchestrator and Envoy, and somebody who listens.

    Args: folder: data is kept below it, apart from the models, which are as set-up left them.
    """
    data_dir = folder / "data"
    data_dir.mkdir()
    (data_dir / "models").symlink_to(ServerSettings().data_dir / "models")
    env = {"AVATAR_DATA_DIR": str(data_dir), "OMP_NUM_THREADS": "1"}
    grpc_port, http_port = free_ports(2)

    def orchestrator(native: Mapping[str, int]) -> list[Program]:
        addresses = {f"ORCHESTRATOR_{name.upper()}_ADDRESS": f"127.0.0.1:{port}" for name, port in native.items()}
        own = {
            "ORCHESTRATOR_PORT": str(grpc_port),
            "ORCHESTRATOR_HTTP_PORT": str(http_port),
            "ORCHESTRATOR_METRICS_PORT": "0",
            "ORCHESTRATOR_REPLY": reply,
            "ORCHESTRATOR_DRAIN__ANNOUNCE_S": "0",
        }
        return [Program("conversation", (sys.executable, "-m", "orchestrator"), env | addresses | own, grpc_port)]

    async with running_stack(env=env, more=orchestrator, upstreams={"page": [http_port]}) as stack:
        async with _person(http_port) as person:
            # The command line finds the processes where the settings say, and the page's certificate with its data.
            (data_dir / "tls").symlink_to(stack.edge.certificate.parent)
            ports = dict(stack.native) | {"orchestrator": stack.native["conversation"]}
            yield Conversing(stack, person, env | {f"{name.upper()}_PORT": str(port) for name, port in ports.items()})
        await connections_settled()


@contextlib.asynccontextmanager
async def _person(http_port: int) -> AsyncIterator[Person]:
    async with socket_at(f"http://127.0.0.1:{http_port}/session") as socket, browser(microphone=True) as client:
        config = await socket.next()
        await socket.answer_to(client.peer)
        async with asyncio.timeout(20):
            await client.connected.wait()
        person = Person(config["data"]["conversation"], socket)
        listening = asyncio.create_task(person.listen())
        try:
            yield person
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
