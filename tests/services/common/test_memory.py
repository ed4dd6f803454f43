"""A large message leaves nothing behind: no reference to it, and no page that nobody uses."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc

from services.common import memory
from services.common.errors import InvalidRequestError
from services.common.server import Server
from services.common.settings import DrainSettings, ServerSettings
from tests.fakes.until import until

SERVICE = "avatar.tts.v1.TextToSpeechService"
LARGE = tts_pb2.SynthesizeRequest(text="a" * memory.LARGE_MESSAGE_BYTES).SerializeToString()


class Refusing(tts_pb2_grpc.TextToSpeechServiceServicer):
    """Takes no text, however it is to be answered."""

    async def GetHealth(self, request: Any, context: Any) -> tts_pb2.GetHealthResponse:
        return tts_pb2.GetHealthResponse(status="healthy")

    async def ListVoices(self, request: Any, context: Any) -> tts_pb2.ListVoicesResponse:
        return tts_pb2.ListVoicesResponse()

    async def Synthesize(self, request: Any, context: Any) -> tts_pb2.SynthesizeResponse:
        raise InvalidRequestError("text is too long")

    async def SynthesizeStream(self, request: Any, context: Any) -> AsyncIterator[tts_pb2.SynthesizeStreamResponse]:
        yield tts_pb2.SynthesizeStreamResponse()
        raise InvalidRequestError("text is too long")

    async def StreamingSynthesize(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        raise InvalidRequestError("text is too long")


@contextlib.asynccontextmanager
async def refusing() -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server that refuses everything."""
    server = Server(ServerSettings(drain=DrainSettings(announce_s=0.0, grace_s=0.0)), [SERVICE])
    tts_pb2_grpc.add_TextToSpeechServiceServicer_to_server(
        Refusing(),  # type: ignore[abstract]
        server.grpc,
    )
    await server.start()
    await server.ready()
    try:
        # Bytes as they are: a message that this client made would be found as well.
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield channel
    finally:
        await server.stop()


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Only what nothing refers to any more is gone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def end_of(call: Any) -> None:
    async def read_all() -> None:
        while await call.read() is not grpc.aio.EOF:
            pass

    with pytest.raises(grpc.aio.AioRpcError, match="text is too long"):
        await read_all()


def large_messages() -> list[Any]:
    """Those of whose kinds the calls here are; other tests may keep small ones."""
    kinds = (tts_pb2.SynthesizeRequest, tts_pb2.SynthesizeStreamRequest)
    # By type: asking some libraries' objects for their class warns.
    every: list[Any] = [kept for kept in gc.get_objects() if type(kept) in kinds]
    return [kept for kept in every if kept.ByteSize() >= memory.LARGE_MESSAGE_BYTES]


@pytest.mark.usefixtures("no_collection")
async def test_a_message_is_gone_with_the_call_that_refused_it() -> None:
    async with refusing() as channel:
        for _ in range(3):
            unary: Any = channel.unary_unary(f"/{SERVICE}/Synthesize")
            with pytest.raises(grpc.aio.AioRpcError, match="text is too long"):
                await unary(LARGE)
            stream: Any = channel.unary_stream(f"/{SERVICE}/SynthesizeStream")
            await end_of(stream(LARGE))
        # The caller has its answer a moment before the server's end of the call is over.
        await until(lambda: not large_messages())


async def test_free_pages_go_back_once_after_several_large_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    tidied: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def trim(keep: int) -> int:
        loop.call_soon_threadsafe(tidied.put_nowait, keep)
        return 1

    monkeypatch.setattr(memory, "_malloc_trim", trim)
    monkeypatch.setattr(memory, "TIDY_AFTER_S", 0.1)
    async with refusing() as channel, asyncio.timeout(10):
        unary: Any = channel.unary_unary(f"/{SERVICE}/Synthesize")
        small = tts_pb2.SynthesizeRequest(text="a").SerializeToString()
        for number in range(2):
            await asyncio.gather(*(unary(LARGE) for _ in range(3)), return_exceptions=True)
            assert await tidied.get() == 0
            await asyncio.gather(*(unary(small) for _ in range(3)), return_exceptions=True)
            assert tidied.empty(), number
