"""What large messages took of a service's memory is given back, also when it refused all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc

from tests.limits.refusals import FULL, INVALID, MIB, create
from tests.limits.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
# Of the 720 MiB that come twice: gRPC keeps room to read the next large message of a connection as long as it is open.
KEPT_BYTES = 160 * MIB
TIDY_S = 30.0


async def test_messages_of_60_mib_leave_no_more_than_room_for_the_next(world: World) -> None:
    voice = tts_pb2_grpc.TextToSpeechServiceStub(world.channels["tts"])
    text = tts_pb2.SynthesizeRequest(text="a" * (60 * MIB))
    before = {name: world.memory_bytes(name) for name in ("tts", "render")}
    for _ in range(2):
        calls: list[Awaitable[Any]] = [voice.Synthesize(text) for _ in range(6)]
        calls += [create(world, bytes(60 * MIB)) for _ in range(6)]
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, grpc.aio.AioRpcError)
            # Four portraits wait at most.
            assert error.code() in (INVALID, FULL)

    def kept_bytes() -> int:
        return max(world.memory_bytes(name) - held for name, held in before.items())

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TIDY_S):
            while kept_bytes() > KEPT_BYTES:
                assert set((await world.health()).values()) == {200}
    assert kept_bytes() < KEPT_BYTES
