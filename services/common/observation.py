"""Counts and times every gRPC call, and makes it a span where tracing is on."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf import descriptor_pool

from services.common import metrics, telemetry
from services.common.telemetry import SESSION_ID_KEY, TRACEPARENT_KEY, Tracer

_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
# Those that are ours; the others are the caller's. https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
_FAILURES = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}


class ObservationInterceptor(grpc.aio.ServerInterceptor):
    """The outermost one, so that it sees each call with the status that its caller sees.

    A method that nobody has is not counted, which keeps labels to our own names.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = await continuation(handler_call_details)
        # While a process loads or stops, a handler that refuses stands in for any name.
        if handler is None or not _is_ours(handler_call_details.method):
            return handler
        metadata = dict(handler_call_details.invocation_metadata or ())

        def observed(context: Any) -> contextlib.AbstractAsyncContextManager[None]:
            return self._observed(handler_call_details.method, metadata, context)

        return _inside(handler, observed)

    @contextlib.asynccontextmanager
    async def _observed(self, path: str, metadata: dict[str, Any], context: Any) -> AsyncIterator[None]:
        _, service, method = path.split("/")
        labels = {"grpc_service": service, "grpc_method": method}
        given = metadata.get(TRACEPARENT_KEY, "")
        parent = given if isinstance(given, str) and telemetry.is_traceparent(given) else ""
        about = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        if session_id := metadata.get(SESSION_ID_KEY):
            about["session.id"] = str(session_id)[:128]
        span = self._tracer.start(path[1:], kind="server", parent=parent, attributes=about)
        metrics.CALLS_STARTED.labels(**labels).inc()
        metrics.CALLS_ACTIVE.labels(**labels).inc()
        begin_s = time.perf_counter()
        status = grpc.StatusCode.OK.name
        try:
            yield
            status = _status(context, grpc.StatusCode.OK)
        except asyncio.CancelledError:
            left_s = context.time_remaining()
            late = left_s is not None and left_s <= 0
            status = (grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED).name
            raise
        except GeneratorExit:
            status = grpc.StatusCode.CANCELLED.name
            raise
        except BaseException:
            status = _status(context, grpc.StatusCode.UNKNOWN)
            raise
        finally:
            metrics.CALLS_ACTIVE.labels(**labels).dec()
            metrics.CALLS_HANDLED.labels(**labels, grpc_code=status).inc()
            metrics.CALL_SECONDS.labels(**labels).observe(time.perf_counter() - begin_s)
            span.end(attributes={"rpc.grpc.status_code": status}, failed=status in _FAILURES)


def _is_ours(path: str) -> bool:
    """Whether the contract has the method. Args: path: such as "/avatar.tts.v1.TextToSpeechService/ListVoices"."""
    service, _, method = path.removeprefix("/").partition("/")
    try:
        return method in descriptor_pool.Default().FindServiceByName(service).methods_by_name
    except KeyError:
        return False


def _status(context: Any, unset: grpc.StatusCode) -> str:
    """The status that the handler chose; gRPC gives it back as a code or as its number."""
    code = context.code() or unset
    return _NAMES[code] if isinstance(code, int) else str(code.name)


def _inside(
    handler: grpc.RpcMethodHandler[Any, Any], around: Callable[[Any], contextlib.AbstractAsyncContextManager[None]]
) -> grpc.RpcMethodHandler[Any, Any]:
    """The same handler, each of whose calls runs inside `around(context)`."""
    for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
        behavior: Any = getattr(handler, kind)
        if behavior is not None:
            break

    async def coroutine(request: Any, context: Any) -> Any:
        async with around(context):
            return await behavior(request, context)

    async def generator(request: Any, context: Any) -> AsyncIterator[Any]:
        async with around(context):
            async for response in behavior(request, context):
                yield response

    make = getattr(grpc, f"{kind}_rpc_method_handler")
    run = generator if inspect.isasyncgenfunction(behavior) else coroutine
    made: grpc.RpcMethodHandler[Any, Any] = make(run, handler.request_deserializer, handler.response_serializer)
    return made
