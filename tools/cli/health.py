"""Asks processes whether they serve."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any

import grpc
from avatar.render.v1 import render_pb2, render_pb2_grpc
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tools.cli import lan
from tools.cli.channel import channel_to
from tools.cli.settings import StackSettings

_ANSWER_TIMEOUT_S = 2.0
_STT = (stt_pb2_grpc.SpeechToTextServiceStub, stt_pb2.GetHealthRequest())
_ENGINES: dict[str, tuple[Any, Any]] = {
    "render": (render_pb2_grpc.RenderServiceStub, render_pb2.GetHealthRequest()),
    "tts": (tts_pb2_grpc.TextToSpeechServiceStub, tts_pb2.GetHealthRequest()),
    "stt": _STT,
    "canary": _STT,
}


async def wait_until_serving(port: int, token: str | None = None, host: str = "127.0.0.1") -> None:
    """Return once the server's health says SERVING, however long that takes."""
    async with channel_to(port, token, host, eager=True) as channel:
        while True:
            try:
                watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
                async for answer in watch:
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)


async def is_serving(port: int, token: str | None = None, host: str = "127.0.0.1") -> bool:
    """Whether the server's health says SERVING now."""
    async with channel_to(port, token, host) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def engine_of(name: str, port: int) -> str:
    """Which engine a process runs; empty for one that has none, or does not say."""
    kind, request = _ENGINES.get(name, (None, None))
    if kind is None:
        return ""
    async with channel_to(port) as channel:
        try:
            answer = await kind(channel).GetHealth(request, timeout=_ANSWER_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return ""
    return str(answer.engine.name)


async def is_listening(host: str, port: int) -> bool:
    """Whether anything accepts a connection."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def page_answers(settings: StackSettings) -> None:
    """Return once the page is healthy through Envoy, however long that takes."""
    while not await page_is_healthy(settings):  # noqa: ASYNC110 - Envoy tells nobody when it is ready
        await asyncio.sleep(0.1)


async def page_is_healthy(settings: StackSettings) -> bool:
    """Whether the page's port says that all is well now."""
    token = lan.token_of_running(settings)
    headers = ["GET /health HTTP/1.1", "host: localhost", "connection: close"]
    headers += [f"authorization: Bearer {token}"] if token else []
    try:
        trust = ssl.create_default_context(cafile=settings.data_dir / "tls" / "certificate.pem")
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(
                settings.reach, settings.network.page_port, ssl=trust, server_hostname="localhost"
            )
            try:
                writer.write("\r\n".join((*headers, "", "")).encode())
                status = await reader.readline()
            finally:
                writer.close()
                with contextlib.suppress(OSError, ssl.SSLError):
                    await writer.wait_closed()
    except OSError:  # also when it takes too long
        return False
    return b" 200 " in status
