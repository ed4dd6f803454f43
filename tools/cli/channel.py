"""gRPC channels to this machine's ports, with the token where one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import grpc
from grpc.aio import ClientCallDetails

from services.common.server import MAX_MESSAGE_BYTES

_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.use_local_subchannel_pool", 1),
]
# A process that is not there yet is tried again soon. The least backoff is also the time that a connection may take.
_EAGER = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 200),
]


def channel_to(
    port: int, token: str | None = None, host: str = "127.0.0.1", *, eager: bool = False
) -> grpc.aio.Channel:
    """A channel that carries recordings, portraits and frames. Args: eager: for waiting until the other end stands."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    options = _OPTIONS + (_EAGER if eager else [])
    return grpc.aio.insecure_channel(address, options=options, interceptors=_bearing(token) if token else ())


def _bearing(token: str) -> Sequence[grpc.aio.ClientInterceptor]:
    """Interceptors that send the token with every call; gRPC's own call credentials refuse to, without TLS."""

    async def go_on(continuation: Callable[..., Any], details: ClientCallDetails, request: Any) -> Any:
        metadata = grpc.aio.Metadata(*(details.metadata or ()), ("authorization", f"Bearer {token}"))
        return await continuation(
            ClientCallDetails(details.method, details.timeout, metadata, details.credentials, details.wait_for_ready),
            request,
        )

    class Unary(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            return await go_on(continuation, details, request)

    class Answers(grpc.aio.UnaryStreamClientInterceptor):
        async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
            return await go_on(continuation, details, request)

    class Requests(grpc.aio.StreamUnaryClientInterceptor):
        async def intercept_stream_unary(self, continuation: Any, details: Any, requests: Any) -> Any:
            return await go_on(continuation, details, requests)

    class Both(grpc.aio.StreamStreamClientInterceptor):
        async def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
            return await go_on(continuation, details, requests)

    return Unary(), Answers(), Requests(), Both()
