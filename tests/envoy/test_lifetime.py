"""Envoy and what stands behind it coming and going."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import grpc
import pytest
from avatar.tts.v1 import tts_pb2 as tts
from avatar.tts.v1 import tts_pb2_grpc

from services.common.legacy_http import HttpReply
from tests.fakes.edge_legacy import FakeLegacyVoice, serving_legacy
from tests.fakes.edge_services import TTS, FakeSpeech, serving_speech
from tests.stack import Edge, Program, free_ports, running_envoy, started


@contextlib.asynccontextmanager
async def voices_through(edge: Edge) -> AsyncIterator[tts_pb2_grpc.TextToSpeechServiceAsyncStub]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{edge.ports.tts}") as channel:
        yield tts_pb2_grpc.TextToSpeechServiceStub(channel)


async def test_a_service_that_is_not_there_is_503_in_json_until_it_is() -> None:
    (port,) = free_ports(1)
    async with running_envoy({"tts": [port]}) as edge, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{edge.ports.tts}/v1/voices"

        async def voices() -> tuple[int, dict[str, object]]:
            async with http.get(url) as response:
                return response.status, await response.json()

        status, error = await voices()
        assert (status, error["code"]) == (503, 14)
        assert error["message"] == "the service is not running or not ready; try again in a few seconds"
        async with serving_speech(FakeSpeech(), port, ready=False) as server:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await channel.channel_ready()
            status, error = await voices()
            assert status == 503
            assert "loading" in str(error["message"])
            await server.ready()
            assert (await voices())[0] == 200


async def test_a_native_caller_of_a_service_that_is_not_there_gets_unavailable_without_json() -> None:
    async with running_envoy({}) as edge, voices_through(edge) as voices:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await voices.ListVoices(tts.ListVoicesRequest())
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "{" not in str(refused.value.details()).partition("reason:")[0]


async def counted(edge: Edge, name: str) -> int:
    """A counter of Envoy's own."""
    async with aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{edge.ports.admin}/stats?format=json&filter=^{name}$"
        async with http.get(url) as response:
            stats = (await response.json())["stats"]
    value: int = stats[0]["value"]
    return value


@pytest.mark.slow
async def test_a_call_that_is_safe_to_repeat_survives_the_death_of_its_replica(tmp_path: Path) -> None:
    """One replica is killed (SIGKILL) in the middle of the first call that it gets; its caller notices nothing."""
    (port,) = free_ports(1)
    mortal = Program("mortal", (sys.executable, "-m", "tests.fakes.edge_mortal_replica", str(port)), health_port=port)
    async with started(mortal, tmp_path) as doomed, serving_speech(FakeSpeech()) as survivor:
        await doomed.ready()
        async with running_envoy({"tts": [port, survivor.port]}) as edge, voices_through(edge) as voices:
            async with asyncio.timeout(20):
                while not doomed.ended.done():
                    assert (await voices.ListVoices(tts.ListVoicesRequest())).voices[0].name == "voices/a"
            assert doomed.ended.result() == -signal.SIGKILL
            assert await counted(edge, "cluster.tts.upstream_rq_retry_success") > 0


class Pondering(FakeLegacyVoice):
    """Answers nobody."""

    async def _reply(self) -> HttpReply:
        await asyncio.Event().wait()
        raise AssertionError


def upload(port: int) -> socket.socket:
    """Send a large body. Returns: a connection that breaks when it is closed, as does that of a killed client."""
    client = socket.create_connection(("127.0.0.1", port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    body = bytes(10 * 1024 * 1024)
    head = f"POST /synthesize-with-voice-clone HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    client.sendall(head.encode() + body)
    return client


async def test_many_callers_who_vanish_after_large_bodies_leave_nothing_running() -> None:
    async with (
        serving_legacy(Pondering()) as server,
        running_envoy({"tts": [server.port]}, arguments=("--large-bodies", "8")) as edge,
        asyncio.timeout(40),
    ):
        for _ in range(3):
            callers = await asyncio.gather(*(asyncio.to_thread(upload, edge.ports.tts) for _ in range(8)))
            while await counted(edge, "cluster.tts.upstream_rq_active") < len(callers):
                pass
            for caller in callers:
                caller.close()
            while await counted(edge, "http.tts.downstream_rq_active"):
                pass


async def test_streams_of_one_session_stay_on_one_replica() -> None:
    async with (
        serving_speech(FakeSpeech("one")) as one,
        serving_speech(FakeSpeech("two")) as two,
        running_envoy({"tts": [one.port, two.port]}) as edge,
        voices_through(edge) as voices,
    ):

        async def replica_of(session: str) -> str:
            call = voices.StreamingSynthesize(metadata=(("x-session-id", session),))
            await call.write(tts.StreamingSynthesizeRequest(text=tts.StreamingSynthesizeRequest.TextChunk(text="x")))
            await call.done_writing()
            return (await anext(aiter(call))).audio.utterance_id

        sessions = [f"session-{number}" for number in range(16)]
        found = [[await replica_of(session) for session in sessions] for _ in range(3)]
    assert found[0] == found[1] == found[2]
    assert set(found[0]) == {"one", "two"}


async def test_sigterm_lets_a_running_stream_end_and_then_stops() -> None:
    speech = FakeSpeech()
    async with (
        serving_speech(speech) as server,
        running_envoy({"tts": [server.port]}, drain_s=20) as edge,
        voices_through(edge) as voices,
        aiohttp.ClientSession() as http,
    ):
        call = voices.SynthesizeStream(tts.SynthesizeStreamRequest(text="last words"))
        messages = aiter(call)
        assert (await anext(messages)).HasField("started")
        edge.envoy.process.terminate()
        draining = False
        while not draining:
            async with http.get(f"http://127.0.0.1:{edge.ports.tts}/v1/voices") as response:
                assert response.status == 200
                draining = response.headers.get("connection") == "close"
        speech.streams["last words"].go_on.set()
        assert [message.WhichOneof("response") async for message in messages] == ["audio", "utterance_end"]
        assert await asyncio.wait_for(edge.envoy.ended, 10) == 0


async def test_envoy_does_not_outlive_the_process_that_runs_it() -> None:
    async with running_envoy({}) as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.ports.tts)
        edge.envoy.process.kill()
        # Whoever holds the other end is gone: it is closed, or reset.
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(10):
                assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()


async def test_what_people_say_is_not_in_the_access_log() -> None:
    async with serving_speech(FakeSpeech()) as server, running_envoy({"tts": [server.port]}) as edge:
        base = f"http://127.0.0.1:{edge.ports.tts}/v1"
        async with aiohttp.ClientSession() as http:
            async with http.post(f"{base}/speech:synthesize", json={"text": "sesame"}) as response:
                request_id = response.headers["x-request-id"]
            async with http.get(f"{base}/voices?language_code=sesame") as response:
                assert response.status == 200
        edge.envoy.process.terminate()
        await edge.envoy.ended
        log = edge.envoy.log.read_text()
    assert "sesame" not in log
    (line,) = [json.loads(line) for line in log.splitlines() if request_id in line]
    assert (line["listener"], line["method"], line["status"]) == ("tts", "POST", 200)
    assert line["route"] == f"/{TTS}/Synthesize"
