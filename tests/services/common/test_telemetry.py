"""Traces: none unless asked for, and then to a real OTLP receiver."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import grpc
import pytest
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from services.common.errors import NotFoundError
from services.common.server import Server
from services.common.settings import DrainSettings, ServerSettings, read
from services.common.settings_file import SettingsError
from services.common.telemetry import is_traceparent
from tests.fakes.collector import collecting
from tests.services.common.test_server import NAME, Scripted
from tests.stack import ROOT, free_ports

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
QUICK = DrainSettings(announce_s=0.0, grace_s=2.0)
METHOD = f"{NAME}/ListVoices"


async def call(endpoint: str, *metadata: tuple[str, str], rehearses: bool = False) -> None:
    """Serve one call, whose handler fails, in a process that traces, and stop. Args: rehearses: one more before it."""

    async def fail() -> None:
        raise NotFoundError("no such voice")

    settings = ServerSettings(drain=QUICK).model_copy(update={"otlp_endpoint": endpoint})
    server = Server(settings, [NAME])
    await server.start()
    tts_pb2_grpc.add_TextToSpeechServiceServicer_to_server(Scripted(fail), server.grpc)  # type: ignore[abstract]
    if rehearses:
        async with server.rehearsal() as (channel, given):
            with pytest.raises(grpc.aio.AioRpcError, match="no such voice"):
                await tts_pb2_grpc.TextToSpeechServiceStub(channel).ListVoices(
                    tts_pb2.ListVoicesRequest(), metadata=given
                )
    await server.ready()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="no such voice"):
            await tts_pb2_grpc.TextToSpeechServiceStub(channel).ListVoices(
                tts_pb2.ListVoicesRequest(), metadata=metadata
            )
    await server.stop()


def test_without_an_endpoint_opentelemetry_is_not_even_imported() -> None:
    program = """
import asyncio, sys
from services.common.server import Server
from services.common.settings import ServerSettings
import orchestrator.conversations
async def main():
    server = Server(ServerSettings(), ["avatar.tts.v1.TextToSpeechService"])
    await server.start()
    await server.stop()
asyncio.run(main())
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


async def test_a_call_is_a_span_of_its_callers_trace_and_says_how_it_ended() -> None:
    async with collecting() as collector:
        await call(collector.endpoint, ("traceparent", PARENT), ("x-session-id", "s1"))
        span = await collector.named(METHOD)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == tuple(PARENT.split("-")[1:3])
    assert span.kind == Span.SPAN_KIND_SERVER
    attributes = {one.key: one.value.string_value for one in span.attributes}
    assert attributes["rpc.grpc.status_code"] == "NOT_FOUND"
    assert attributes["session.id"] == "s1"
    # What the caller did wrong is no fault of this process.
    assert span.status.code != Status.STATUS_CODE_ERROR
    assert collector.processes == {"avatar.tts"}


@pytest.mark.parametrize("given", ["", "nonsense", PARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32)])
async def test_a_call_without_a_good_traceparent_begins_a_trace(given: str) -> None:
    async with collecting() as collector:
        await call(collector.endpoint, ("traceparent", given))
        span = await collector.named(METHOD)
    assert span.parent_span_id == b""
    assert not is_traceparent(given)


async def test_no_trace_tells_of_a_rehearsal() -> None:
    async with collecting() as collector:
        await call(collector.endpoint, ("traceparent", PARENT), rehearses=True)
        await collector.named(METHOD)
    assert [span.trace_id.hex() for span in collector.spans] == [PARENT.split("-")[1]]


async def test_a_collector_that_is_away_delays_neither_a_call_nor_the_end() -> None:
    (nobody,) = free_ports(1)
    async with asyncio.timeout(10):
        await call(f"http://127.0.0.1:{nobody}")


@pytest.mark.parametrize(
    "endpoint", ["collector:4317", "http://collector", "ftp://collector:1", "http://a:1/v1/traces"]
)
def test_an_endpoint_that_is_none_is_refused_with_the_settings(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVATAR_OTLP_ENDPOINT", endpoint)
    with pytest.raises(SettingsError) as refused:
        read(ServerSettings)
    assert str(refused.value) == (
        f'the environment: AVATAR_OTLP_ENDPOINT is "{endpoint}"; '
        "give a text (a collector's address, such as http://127.0.0.1:4317)"
    )
