"""Asks processes whether they serve."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

# A process that is not there yet is tried again soon.
_EAGER = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.use_local_subchannel_pool", 1),
]


async def wait_until_serving(port: int) -> None:
    """Return once the server's health says SERVING, however long that takes."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_EAGER) as channel:
        while True:
            try:
                watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
                async for answer in watch:
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)


async def is_serving(port: int) -> bool:
    """Whether the server's health says SERVING now."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_EAGER) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def is_listening(port: int) -> bool:
    """Whether anything accepts a connection."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
