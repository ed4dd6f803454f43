"""What every server owes its callers, over a real channel on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from services.common.errors import InvalidRequestError, NotFoundError, OverloadedError
from services.common.server import Server
from services.common.settings import DrainSettings, ServerSettings
from services.common.status import error_of

NAME = "avatar.tts.v1.TextToSpeechService"
SETTINGS = ServerSettings(drain=DrainSettings(announce_s=0.0, grace_s=2.0))


class Scripted(tts_pb2_grpc.TextToSpeechServiceServicer):
    """Does in ListVoices and SynthesizeStream what the test says."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act = act

    async def ListVoices(self, request: Any, context: Any) -> tts_pb2.ListVoicesResponse:
        await self._act()
        return tts_pb2.ListVoicesResponse()

    async def SynthesizeStream(self, request: Any, context: Any) -> AsyncIterator[tts_pb2.SynthesizeStreamResponse]:
        yield tts_pb2.SynthesizeStreamResponse()
        await self._act()


@asynccontextmanager
async def serving(act: Callable[[], Any], *, ready: bool = True) -> AsyncIterator[tuple[Server, grpc.aio.Channel]]:
    server = Server(SETTINGS, [NAME])
    await server.start()
    tts_pb2_grpc.add_TextToSpeechServiceServicer_to_server(Scripted(act), server.grpc)  # type: ignore[abstract]
    if ready:
        await server.ready()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield server, channel
    finally:
        await server.stop()


async def nothing() -> None:
    return None


async def test_health_says_no_until_the_engine_is_ready_and_calls_are_refused_in_words() -> None:
    async with serving(nothing, ready=False) as (server, channel):
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=NAME)
        assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError, match="loading") as refused:
            await tts_pb2_grpc.TextToSpeechServiceStub(channel).ListVoices(tts_pb2.ListVoicesRequest())
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        await server.ready()
        assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
        await tts_pb2_grpc.TextToSpeechServiceStub(channel).ListVoices(tts_pb2.ListVoicesRequest())


async def test_a_rehearsal_is_served_before_the_server_is_ready_and_nobody_else_is() -> None:
    async with serving(nothing, ready=False) as (server, _), server.rehearsal() as (rehearsing, metadata):
        stub = tts_pb2_grpc.TextToSpeechServiceStub(rehearsing)
        await stub.ListVoices(tts_pb2.ListVoicesRequest(), metadata=metadata)
        (key, _), *_ = metadata
        for others in ((), ((key, ""),), ((key, "guessed"),)):
            with pytest.raises(grpc.aio.AioRpcError, match="loading"):
                await stub.ListVoices(tts_pb2.ListVoicesRequest(), metadata=others)


async def test_stopping_says_not_serving_and_lets_a_running_call_end() -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        entered.set()
        await release.wait()

    server = Server(SETTINGS, [NAME])
    await server.start()
    tts_pb2_grpc.add_TextToSpeechServiceServicer_to_server(Scripted(wait), server.grpc)  # type: ignore[abstract]
    await server.ready()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=NAME))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        running = asyncio.ensure_future(
            tts_pb2_grpc.TextToSpeechServiceStub(channel).ListVoices(tts_pb2.ListVoicesRequest())
        )
        await entered.wait()
        stopping = asyncio.create_task(server.stop())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        release.set()
        assert await running == tts_pb2.ListVoicesResponse()
        await stopping


async def test_reflection_names_the_service_before_it_is_ready() -> None:
    async with serving(nothing, ready=False) as (server, _):

        def list_services() -> Any:
            with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                return list(ProtoReflectionDescriptorDatabase(channel).get_services())

        assert NAME in await asyncio.to_thread(list_services)


async def test_a_domain_error_in_a_task_group_reaches_the_caller_with_its_details() -> None:
    async def refuse() -> None:
        raise OverloadedError("all 8 streams are taken", limit="max_streams=8", retry_after_s=1.5)

    async def grouped() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(refuse())

    async with serving(grouped) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError, match="8 streams") as refused:
            await tts_pb2_grpc.TextToSpeechServiceStub(channel).ListVoices(tts_pb2.ListVoicesRequest())
    status = rpc_status.from_call(refused.value)
    assert status is not None
    info, retry, quota = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.RetryInfo(),
        error_details_pb2.QuotaFailure(),
    )
    for any_detail, wanted in zip(status.details, (info, retry, quota), strict=True):
        assert any_detail.Unpack(wanted)
    assert (info.reason, info.domain) == ("OVERLOADED", "avatar")
    assert retry.retry_delay.ToMilliseconds() == 1500
    assert quota.violations[0].subject == "max_streams=8"
    assert isinstance(error_of(refused.value), OverloadedError)


async def test_of_two_errors_with_one_cause_one_reaches_the_caller() -> None:
    async def fail_twice() -> None:
        raise ExceptionGroup("a broken stream", [NotFoundError("reading"), NotFoundError("writing")])

    async with serving(fail_twice) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError, match="reading") as refused:
            await tts_pb2_grpc.TextToSpeechServiceStub(channel).ListVoices(tts_pb2.ListVoicesRequest())
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequestError("text is empty; send 1 to 20000 characters"), grpc.StatusCode.INVALID_ARGUMENT),
        (NotFoundError("no voice x; there are a, b"), grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_an_error_after_the_first_streamed_message_keeps_its_status(
    error: Exception, code: grpc.StatusCode
) -> None:
    async def fail() -> None:
        raise error

    async with serving(fail) as (_, channel):
        call = tts_pb2_grpc.TextToSpeechServiceStub(channel).SynthesizeStream(tts_pb2.SynthesizeStreamRequest())
        assert await call.read() == tts_pb2.SynthesizeStreamResponse()
        with pytest.raises(grpc.aio.AioRpcError, match=str(error)) as refused:
            await call.read()
    assert refused.value.code() is code


async def test_a_bug_is_hidden_from_the_caller() -> None:
    async def crash() -> None:
        raise ZeroDivisionError("secret")

    async with serving(crash) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await tts_pb2_grpc.TextToSpeechServiceStub(channel).ListVoices(tts_pb2.ListVoicesRequest())
    assert refused.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(refused.value.details())


async def test_a_second_server_on_the_same_port_fails_at_start() -> None:
    async with serving(nothing) as (server, _):
        second = Server(SETTINGS.model_copy(update={"port": server.port}), [NAME])
        with pytest.raises(RuntimeError):
            await second.start()


async def test_a_sentence_with_megabytes_of_the_callers_words_still_reaches_the_caller() -> None:
    async def refuse() -> None:
        raise InvalidRequestError("there is no voice " + "ä" * 2**20)

    async with serving(refuse) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError, match="there is no voice ä") as refused:
            await tts_pb2_grpc.TextToSpeechServiceStub(channel).ListVoices(tts_pb2.ListVoicesRequest())
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(refused.value.details()).endswith("ä…")


@pytest.mark.parametrize("method", ["ListVoices", "SynthesizeStream"])
async def test_bytes_that_are_no_message_are_refused_in_words(method: str) -> None:
    async with serving(nothing) as (_, channel):
        stream: Any = channel.unary_stream(f"/{NAME}/{method}")
        open_call = stream(b"\x0a\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError, match="could not be read as protobuf") as refused:
            await open_call.read()
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
