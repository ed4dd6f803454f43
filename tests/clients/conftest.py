"""The services as foreign clients meet them: directly, and through Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import google.api
import pytest_asyncio

from tests.fakes.edge_services import FakeSpeech, serving_page, serving_speech
from tests.stack import ROOT, Edge, running_envoy, running_stack

NODE = ROOT / "tools" / "node" / "node_modules"
GOOGLE_PROTOS = Path(next(iter(google.api.__path__))).parent.parent
TTS = "avatar.tts.v1.TextToSpeechService"


async def run(*command: str | Path, stdin: bytes = b"") -> tuple[int, str, str]:
    """Run a client to its end. Returns: exit status, output, errors."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"NODE_PATH": str(NODE)},
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate(stdin)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def protoc_arguments() -> Sequence[str]:
    """Where the contract and what it imports are found."""
    return (f"-I{ROOT / 'proto'}", f"-I{GOOGLE_PROTOS}")


@dataclass(frozen=True)
class Voice:
    """A voice service. Args: direct: its own gRPC port; edge: the Envoy in front of it."""

    direct: int
    edge: Edge

    def port(self, way: str) -> int:
        return self.direct if way == "direct" else self.edge.ports.tts


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def voice() -> AsyncIterator[Voice]:
    """The real tts service and a page behind a real Envoy."""
    async with serving_page() as page, running_stack(("tts",), upstreams={"page": [page]}) as stack:
        yield Voice(stack.native["tts"], stack.edge)


@dataclass(frozen=True)
class HeldVoice:
    """A voice whose streams go on when the test says so."""

    speech: FakeSpeech
    edge: Edge


@pytest_asyncio.fixture
async def held_voice() -> AsyncIterator[HeldVoice]:
    async with contextlib.AsyncExitStack() as held:
        speech = FakeSpeech()
        server = await held.enter_async_context(serving_speech(speech))
        edge = await held.enter_async_context(running_envoy({"tts": [server.port]}))
        yield HeldVoice(speech, edge)
