"""How the orchestrator reaches a service: channel options, session metadata, and errors in the domain's words."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import grpc

from services.common.errors import NotReadyError
from services.common.server import MAX_MESSAGE_BYTES
from services.common.status import error_of
from services.common.telemetry import SESSION_ID_KEY, TRACEPARENT_KEY, traceparent

_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    # A service that comes back is found within a second, not after gRPC's two minutes.
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # A frame of 400 KB crosses loopback in one window.
    ("grpc.http2.lookahead_bytes", 1024 * 1024),
]
# A service that opens a stream or draws a frame takes milliseconds; one that takes this long is stuck.
_ANSWER_TIMEOUT_S = 10.0


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel to `host:port`; connects when it is first used."""
    return grpc.aio.insecure_channel(address, options=_OPTIONS)


def session_metadata(session_id: str) -> tuple[tuple[str, str], ...]:
    """What every call of a conversation carries: its id, and the trace that the calling task is part of."""
    trace = traceparent.get()
    return ((SESSION_ID_KEY, session_id), *(((TRACEPARENT_KEY, trace),) if trace else ()))


@contextlib.contextmanager
def domain_errors() -> Iterator[None]:
    """Raise gRPC failures as the domain's errors. A call that was used after its end counts as not ready."""
    try:
        yield
    except grpc.aio.AioRpcError as failed:
        raise error_of(failed) from failed
    except (grpc.aio.UsageError, asyncio.InvalidStateError) as ended:
        raise NotReadyError("the stream has ended") from ended


@contextlib.asynccontextmanager
async def prompt_answer() -> AsyncIterator[None]:
    """`domain_errors` for an answer that comes at once. Raises: NotReadyError if it does not."""
    try:
        with domain_errors():
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                yield
    except TimeoutError as late:
        raise NotReadyError(f"the service did not answer within {_ANSWER_TIMEOUT_S:g} s") from late
