"""A service serves so many streams at once and no more; a place is free again however its holder went."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.limits.refusals import FULL, RENDER, TTS, held
from tests.limits.world import MAX_STREAMS, World, refused
from tests.stack import ROOT

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
# How long a service may take to notice that a client is gone.
NOTICED_S = 20.0


@pytest.fixture(params=["render", "stt", "tts"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def finish(call: Any, name: str) -> None:
    """Be served on an open stream to its end."""
    if name == "render":
        await call.write(RENDER(frame=RENDER.FrameRequest(frame_index=1)))
        # A slow machine has fewer frames for so many, and says so first.
        while not (answer := await call.read()).HasField("frame"):
            assert answer.WhichOneof("response") in ("warning", "changed")
    elif name == "tts":
        await call.write(TTS(text=TTS.TextChunk(utterance_id="a", text="one", last=True)))
        while not (await call.read()).HasField("utterance_end"):
            pass
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def all_places(world: World, name: str) -> list[Any]:
    """As many streams as there are places, waiting for those that are not free yet."""
    calls: list[Any] = []
    async with asyncio.timeout(NOTICED_S):
        while len(calls) < MAX_STREAMS:
            try:
                calls.append(await held(world, name))
            except grpc.aio.AioRpcError as error:
                if error.code() is not FULL:
                    raise
    return calls


async def test_one_more_is_refused_with_the_time_to_try_again_and_the_others_are_served(
    world: World, name: str
) -> None:
    calls = await all_places(world, name)
    error = await refused(held(world, name), FULL, f"all {MAX_STREAMS} streams")
    status = rpc_status.from_call(error)
    assert status is not None
    retry, quota = error_details_pb2.RetryInfo(), error_details_pb2.QuotaFailure()
    assert any(detail.Unpack(retry) for detail in status.details)
    assert any(detail.Unpack(quota) for detail in status.details)
    assert retry.retry_delay.ToMilliseconds() >= 1000
    assert quota.violations[0].subject == f"max_streams={MAX_STREAMS}"
    for call in calls:
        await finish(call, name)
    await finish(await held(world, name), name)


async def test_the_places_of_a_client_that_was_killed_are_free_again(world: World, name: str) -> None:
    command = [sys.executable, "-m", "tests.limits.holder", name, str(getattr(world.stack.ports, name))]
    client = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        assert client.stdout is not None
        assert await client.stdout.readline() == b"held\n"
        await refused(held(world, name), FULL, f"all {MAX_STREAMS} streams")
    finally:
        client.kill()
        await client.wait()
    for call in await all_places(world, name):
        await finish(call, name)


async def test_a_conversation_more_than_there_are_places_is_told_so(world: World) -> None:
    url = world.url("legacy", "/").replace("http", "ws")
    sockets = [await world.http.ws_connect(url) for _ in range(MAX_STREAMS)]
    for socket in sockets:
        assert (await socket.receive_json())["type"] == "config"
    late = await world.http.ws_connect(url)
    assert await late.receive_json() == {"type": "error", "error": "Server full"}
    for socket in (*sockets, late):
        await socket.close()
