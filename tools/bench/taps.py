"""A real gRPC server between the orchestrator and a service, through which every message passes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services.common.telemetry import SESSION_ID_KEY, TRACEPARENT_KEY

_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
# Which conversation and which trace a call belongs to; the rest is the connection's own.
_KEPT = (SESSION_ID_KEY, TRACEPARENT_KEY)
# Told a method's path and a message; gives what is passed on instead.
Asked = Callable[[str, bytes], None]
Change = Callable[[str, bytes], bytes]


class _Pass:
    """Passes every method on as bytes; `change` sees the answers of streams."""

    def __init__(self, channel: grpc.aio.Channel, asked: Asked, change: Change) -> None:
        self._channel = channel
        self._asked = asked
        self._change = change

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        method = details.method

        async def behave(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            kept = tuple((key, value) for key, value in context.invocation_metadata() if key in _KEPT)
            noted = cast("Any", self._noted(method, requests))
            call: Any = self._channel.stream_stream(method)(noted, metadata=kept)
            try:
                async for answer in call:
                    yield self._change(method, answer)
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "", tuple(error.trailing_metadata() or ()))
            finally:
                call.cancel()

        return grpc.stream_stream_rpc_method_handler(behave)

    async def _noted(self, method: str, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for request in requests:
            self._asked(method, request)
            yield request


@contextlib.asynccontextmanager
async def passing(port: int, target: int, asked: Asked, change: Change) -> AsyncIterator[None]:
    """A server at `port` that is the one at `target`: `asked` sees requests, `change` the answers of streams."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{target}", options=_OPTIONS) as channel:
        server = grpc.aio.server(options=_OPTIONS)
        checks = health.aio.HealthServicer()
        await checks.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        server.add_generic_rpc_handlers((_Pass(channel, asked, change),))  # type: ignore[arg-type]
        assert server.add_insecure_port(f"127.0.0.1:{port}") == port
        await server.start()
        try:
            yield
        finally:
            await server.stop(None)
