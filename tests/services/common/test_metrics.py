"""What Prometheus reads from a server, over real HTTP, after real calls."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import aiohttp
import grpc
import pytest
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from services.common.errors import NotFoundError, OverloadedError
from services.common.inference import InferenceThread
from services.common.server import Server
from services.common.settings import DrainSettings, ServerSettings
from tests.services.common.test_server import NAME, Scripted, nothing
from tests.stack import free_ports

LIST = {"grpc_service": NAME, "grpc_method": "ListVoices"}


async def scrape(port: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of a process, by name and labels."""
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.status == 200
        families = text_string_to_metric_families(await answer.text())
        return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


@dataclass
class Served:
    """A server and what it counted since it started; the counts of a process outlive its servers here."""

    server: Server
    stub: tts_pb2_grpc.TextToSpeechServiceAsyncStub
    channel: grpc.aio.Channel
    metrics_port: int
    before: dict[tuple[str, frozenset[tuple[str, str]]], float]

    async def count(self, name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        return (await scrape(self.metrics_port)).get(key, 0.0) - self.before.get(key, 0.0)


@contextlib.asynccontextmanager
async def served(act: Callable[[], Awaitable[None]] = nothing, *, ready: bool = True) -> AsyncIterator[Served]:
    (port,) = free_ports(1)
    settings = ServerSettings(metrics_port=port, drain=DrainSettings(announce_s=0.0, grace_s=2.0))
    server = Server(settings, [NAME])
    await server.start()
    tts_pb2_grpc.add_TextToSpeechServiceServicer_to_server(Scripted(act), server.grpc)  # type: ignore[abstract]
    if ready:
        await server.ready()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield Served(server, tts_pb2_grpc.TextToSpeechServiceStub(channel), channel, port, await scrape(port))
    finally:
        await server.stop()


async def test_calls_are_counted_by_method_and_by_the_status_that_the_caller_saw() -> None:
    outcomes = [None, NotFoundError("no such voice"), None]

    async def act() -> None:
        if error := outcomes.pop():
            raise error

    async with served(act) as one:
        for _ in range(3):
            with contextlib.suppress(grpc.aio.AioRpcError):
                await one.stub.ListVoices(tts_pb2.ListVoicesRequest())
        assert await one.count("grpc_server_started_total", **LIST) == 3
        assert await one.count("grpc_server_handled_total", **LIST, grpc_code="OK") == 2
        assert await one.count("grpc_server_handled_total", **LIST, grpc_code="NOT_FOUND") == 1
        assert await one.count("grpc_server_handling_seconds_count", **LIST) == 3


async def test_a_refusal_before_the_engine_is_ready_is_counted_as_unavailable() -> None:
    async with served(ready=False) as one:
        assert await one.count("avatar_ready") + one.before[("avatar_ready", frozenset())] == 0
        with pytest.raises(grpc.aio.AioRpcError):
            await one.stub.ListVoices(tts_pb2.ListVoicesRequest())
        assert await one.count("grpc_server_handled_total", **LIST, grpc_code="UNAVAILABLE") == 1
        await one.server.ready()
        assert await one.count("avatar_ready") == 1


async def test_a_running_call_is_active_until_its_caller_leaves_and_then_counted_as_cancelled() -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    async with served(wait) as one:
        call = one.stub.ListVoices(tts_pb2.ListVoicesRequest())
        running = asyncio.ensure_future(call)
        await entered.wait()
        assert await one.count("grpc_server_calls_active", **LIST) == 1
        running.cancel()
        await left.wait()
        while await one.count("grpc_server_calls_active", **LIST):
            pass
        assert await one.count("grpc_server_handled_total", **LIST, grpc_code="CANCELLED") == 1


async def test_a_stream_is_counted_once_with_the_status_of_its_end() -> None:
    async def fail() -> None:
        raise NotFoundError("gone")

    labels = {"grpc_service": NAME, "grpc_method": "SynthesizeStream"}
    async with served(fail) as one:
        with pytest.raises(grpc.aio.AioRpcError):
            async for _ in one.stub.SynthesizeStream(tts_pb2.SynthesizeStreamRequest()):
                pass
        assert await one.count("grpc_server_handled_total", **labels, grpc_code="NOT_FOUND") == 1


@pytest.mark.parametrize("path", [f"/{NAME}/MyNameIsAlice", "/MyNameIsAlice/ListVoices", "/a/b/MyNameIsAlice"])
@pytest.mark.parametrize("ready", [True, False])
async def test_what_a_caller_makes_up_does_not_become_a_label(path: str, ready: bool) -> None:
    async with served(ready=ready) as one:
        made_up: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = one.channel.unary_unary(path)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await made_up(b"")
        assert refused.value.code() is (grpc.StatusCode.UNIMPLEMENTED if ready else grpc.StatusCode.UNAVAILABLE)
        labels = {value for _, pairs in await scrape(one.metrics_port) for _, value in pairs}
    assert not any("MyNameIsAlice" in label for label in labels)


async def test_the_limit_of_streams_and_the_start_of_the_process_can_be_read() -> None:
    async with served() as one:
        found = await scrape(one.metrics_port)
    assert found[("avatar_streams_limit", frozenset())] == ServerSettings().max_streams
    assert found[("process_start_time_seconds", frozenset())] > 0
    assert not [name for name, _ in found if name.endswith("_created")]


async def test_model_calls_are_timed_with_their_wait_and_refusals_counted() -> None:
    release = threading.Event()
    thread = InferenceThread("painter-7", max_pending=2)
    painter = {"thread": "painter"}
    async with served() as one:
        calls = [asyncio.create_task(thread.run(release.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await thread.run(release.wait)
        release.set()
        await asyncio.gather(*calls)
        assert await one.count("avatar_model_calls_refused_total", **painter) == 1
        assert await one.count("avatar_model_seconds_count", **painter) == 2
        assert await one.count("avatar_model_wait_seconds_count", **painter) == 2
    thread.close()


async def test_a_taken_port_stops_the_start_and_names_the_setting() -> None:
    async with served() as one:
        settings = ServerSettings(metrics_port=one.metrics_port)
        with pytest.raises(RuntimeError, match=f"{one.metrics_port}.*metrics_port"):
            await Server(settings, [NAME]).start()


async def test_without_a_port_nothing_is_served_and_a_stopped_server_serves_nothing() -> None:
    async with served() as one:
        port = one.metrics_port
    with pytest.raises(aiohttp.ClientConnectorError):
        await scrape(port)
    server = Server(ServerSettings(drain=DrainSettings(announce_s=0.0)), [NAME])
    threads = threading.active_count()
    await server.start()
    assert threading.active_count() == threads
    await server.stop()
