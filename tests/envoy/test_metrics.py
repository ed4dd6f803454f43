"""`/metrics` of each public port is that of its process, and the second recogniser's port is served without one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.server import Server
from services.common.settings import DrainSettings, ServerSettings
from tests.fakes.edge_services import CONVERSATIONS, TTS, FakeSpeech, serving_speech
from tests.stack import Edge, free_ports, running_envoy

TOKEN = "Zk-3_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
PROCESSES = {"render": "render", "tts": "tts", "stt": "stt", "page": "conversation", "legacy": "conversation"}


@contextlib.contextmanager
def counting(name: str) -> Iterator[int]:
    """A process's metrics. Gives the port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f'counted{{process="{name}",path="{self.path}"}} 1\n'.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextlib.asynccontextmanager
async def edge_of(*names: str, arguments: tuple[str, ...] = ()) -> AsyncIterator[tuple[Edge, aiohttp.ClientSession]]:
    """An Envoy before the metrics of some processes, and a client of it."""
    async with contextlib.AsyncExitStack() as held:
        ports = {f"{name}_metrics": [held.enter_context(counting(name))] for name in names}
        edge = await held.enter_async_context(running_envoy(ports, arguments=arguments))
        connector = aiohttp.TCPConnector(ssl=edge.trust())
        yield edge, await held.enter_async_context(aiohttp.ClientSession(connector=connector))


def url_of(edge: Edge, listener: str, path: str = "/metrics") -> str:
    scheme = "https" if listener == "page" else "http"
    return f"{scheme}://localhost:{getattr(edge.ports, listener)}{path}"


async def test_each_public_port_tells_the_metrics_of_its_process() -> None:
    async with edge_of("render", "tts", "stt", "conversation") as (edge, http):
        for listener, process in PROCESSES.items():
            async with http.get(url_of(edge, listener)) as answer:
                assert answer.status == 200
                assert f'process="{process}",path="/metrics"' in await answer.text()
        # Of two recognisers one runs.
        async with http.get(url_of(edge, "stt_second")) as answer:
            assert 'process="stt"' in await answer.text()


async def test_the_second_recognisers_metrics_are_its_own() -> None:
    async with edge_of("stt", "stt_second") as (edge, http), http.get(url_of(edge, "stt_second")) as answer:
        assert 'process="stt_second"' in await answer.text()


async def test_a_process_without_metrics_has_no_such_path() -> None:
    async with edge_of("tts") as (edge, http):
        for listener in ("render", "page"):
            async with http.get(url_of(edge, listener)) as answer:
                assert answer.status in (404, 503)
                assert "counted" not in await answer.text()


async def test_with_a_token_metrics_are_for_those_who_know_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    async with edge_of(*PROCESSES.values(), arguments=("--token-file", str(tmp_path / "token"))) as (edge, http):
        for listener in PROCESSES:
            async with http.get(url_of(edge, listener)) as refused:
                assert refused.status == 401
            async with http.get(url_of(edge, listener), headers={"authorization": f"Bearer {TOKEN}"}) as answer:
                assert answer.status == 200


async def is_answered_by(service: str, channel: grpc.aio.Channel) -> bool:
    """Whether the process that answers has a service, and serves it."""
    request = health_pb2.HealthCheckRequest(service=service)
    try:
        answer = await health_pb2_grpc.HealthStub(channel).Check(request, wait_for_ready=True)
    except grpc.aio.AioRpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.mark.slow
async def test_the_first_recogniser_answers_for_the_second_only_while_that_is_away() -> None:
    (away,) = free_ports(1)
    async with (
        serving_speech(FakeSpeech()) as first,
        running_envoy({"stt": [first.port], "stt_second": [away]}) as edge,
        grpc.aio.insecure_channel(f"127.0.0.1:{edge.ports.stt_second}") as channel,
        asyncio.timeout(30),
    ):
        assert await is_answered_by(TTS, channel)
        # It is named otherwise, so that it can be told from the first.
        second = Server(ServerSettings(port=away, drain=DrainSettings(announce_s=0.0)), [CONVERSATIONS])
        await second.start()
        assert await is_answered_by(TTS, channel), "a second that runs and does not serve yet is as good as away"
        await second.ready()
        while not await is_answered_by(CONVERSATIONS, channel):
            pass
        await second.stop()
        while not await is_answered_by(TTS, channel):
            pass
