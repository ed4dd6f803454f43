"""A caller who asks too often is refused in words, and the others are served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import grpc
import pytest
import pytest_asyncio
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc

from tests.envoy.conftest import Behind
from tests.envoy.test_edge import answer, channel
from tests.fakes.edge_services import FakeConversations, FakeSpeech, serving_speech
from tests.stack import running_envoy

pytestmark = pytest.mark.asyncio(loop_scope="module")
PER_S = 5
BURST = 2 * PER_S


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def behind() -> AsyncIterator[Behind]:
    speech = FakeSpeech()
    more = ("--connection-calls-per-s", str(PER_S), "--port-calls-per-s", "200")
    async with (
        serving_speech(speech) as tts,
        running_envoy({"tts": [tts.port]}, arguments=more) as edge,
        aiohttp.ClientSession() as http,
    ):
        yield Behind(edge, speech, FakeConversations(), http, tts.port)


async def statuses(behind: Behind, count: int) -> list[int]:
    """Of calls one after the other over one connection."""
    found = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as one:
        for _ in range(count):
            async with one.get(behind.url("tts", "/v1/voices")) as response:
                found.append(response.status)
    return found


async def test_json_is_refused_with_the_time_to_wait_and_other_connections_are_served(behind: Behind) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as hasty:
        refusals = []
        for _ in range(3 * BURST):
            async with hasty.get(behind.url("tts", "/v1/voices")) as response:
                if response.status == 429:
                    refusals.append((response.headers["retry-after"], *(await answer(response))))
        assert len(refusals) >= BURST
        body = {"code": 8, "message": "too many calls at once; try again in a second", "details": []}
        assert all(refusal == ("1", 429, body) for refusal in refusals)
        assert await statuses(behind, BURST // 2) == [200] * (BURST // 2)


async def test_grpc_is_refused_with_resource_exhausted_in_words(behind: Behind) -> None:
    async with channel(behind.edge.ports.tts) as hasty:
        stub = tts_pb2_grpc.TextToSpeechServiceStub(hasty)
        calls = [stub.ListVoices(tts_pb2.ListVoicesRequest()) for _ in range(3 * BURST)]
        ended = await asyncio.gather(*calls, return_exceptions=True)
    refused = [end for end in ended if isinstance(end, grpc.aio.AioRpcError)]
    assert BURST <= len(refused) < len(ended)
    assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert {error.details() for error in refused} == {"too many calls at once; try again in a second"}


async def test_a_port_has_a_limit_for_all_connections_together(behind: Behind) -> None:
    async def call() -> int:
        return (await statuses(behind, 1))[0]

    ended = await asyncio.gather(*(call() for _ in range(600)))
    assert ended.count(429) > 0
    assert ended.count(200) >= 400
    assert set(ended) == {200, 429}
