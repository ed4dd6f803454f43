"""The one place where domain errors become gRPC statuses, and back."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from services.common.errors import (
    AvatarError,
    EngineError,
    InvalidRequestError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    ProtocolError,
    UnsupportedError,
)
from services.common.log import get_logger

DOMAIN = "avatar"
_DETAILS_KEY = "grpc-status-details-bin"
# A status travels in headers, of which gRPC reads 8 KiB in all: a byte of the sentence may take three there, and the
# details repeat it.
_MAX_MESSAGE_BYTES = 1500
_CODES: dict[type[AvatarError], grpc.StatusCode] = {
    InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    UnsupportedError: grpc.StatusCode.UNIMPLEMENTED,
    OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ProtocolError: grpc.StatusCode.FAILED_PRECONDITION,
    NotReadyError: grpc.StatusCode.UNAVAILABLE,
    EngineError: grpc.StatusCode.INTERNAL,
}
_ERRORS = {code: error for error, code in _CODES.items()} | {
    grpc.StatusCode.DEADLINE_EXCEEDED: NotReadyError,
}
log = get_logger(__name__)


def status_of(error: AvatarError) -> status_pb2.Status:
    """The rich status of an error: its code, its sentence, and ErrorInfo, RetryInfo and QuotaFailure where they fit."""
    code = next((_CODES[cls] for cls in type(error).__mro__ if cls in _CODES), grpc.StatusCode.INTERNAL)
    message = _bounded(str(error))
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)]
    if isinstance(error, OverloadedError):
        retry_delay = duration_pb2.Duration()
        retry_delay.FromMilliseconds(round(error.retry_after_s * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=retry_delay))
        violation = error_details_pb2.QuotaFailure.Violation(subject=error.limit, description=message)
        details.append(error_details_pb2.QuotaFailure(violations=[violation]))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code.value[0], message=message, details=packed)


def _bounded(message: str) -> str:
    """A sentence that fits into a header, however much of the caller's own words is in it."""
    encoded = message.encode(errors="replace")
    if len(encoded) <= _MAX_MESSAGE_BYTES:
        return encoded.decode()
    return encoded[: _MAX_MESSAGE_BYTES - 3].decode(errors="ignore") + "…"


def error_of(raised: grpc.RpcError) -> AvatarError:
    """What a gRPC failure means in the words of the domain; the sentence of the server is kept."""
    code = raised.code()
    message = raised.details() or code.name
    # Envoy and a killed server end running streams with INTERNAL "RST_STREAM": the next try may succeed.
    if code is grpc.StatusCode.INTERNAL and "RST_STREAM" in message:
        return NotReadyError(message)
    return _ERRORS.get(code, EngineError)(message)


def only_member(error: Exception) -> Exception:
    """The error inside a task group's wrapping, if it is the only one, or one of several of the domain.

    A stream that breaks fails whoever reads and whoever writes at once: two errors with one cause.
    """
    while isinstance(error, ExceptionGroup) and (
        len(error.exceptions) == 1 or all(isinstance(member, AvatarError) for member in error.exceptions)
    ):
        error = error.exceptions[0]
    return error


async def abort(context: Any, error: AvatarError) -> None:
    """End the call with the error's status. Raises: always, to leave the handler."""
    status = status_of(error)
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    await context.abort(code, status.message, ((_DETAILS_KEY, status.SerializeToString()),))


class ErrorStatusInterceptor(grpc.aio.ServerInterceptor):
    """Ends a call with the status of the domain error that its handler raised.

    Any other exception is a bug: it is logged with its traceback, and the caller sees INTERNAL without details.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        behavior: Any
        for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            behavior = getattr(handler, kind)
            if behavior is not None:
                break
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        guard = _guard_generator if inspect.isasyncgenfunction(behavior) else _guard_coroutine
        read = handler.request_deserializer if handler.request_streaming else _read_later(handler.request_deserializer)
        guarded: grpc.RpcMethodHandler[Any, Any] = make(
            guard(behavior, handler_call_details.method), read, handler.response_serializer
        )
        return guarded


def _read_later(read: Any) -> Any:
    """Hand on what is no message as its error: a call's only message is read before its handler is entered."""

    def read_or_error(data: bytes) -> Any:
        try:
            return read(data)
        except DecodeError as error:
            return error

    return read_or_error


async def _end(context: Any, raised: Exception, method: str) -> None:
    error = only_member(raised)
    if isinstance(error, DecodeError):
        error = InvalidRequestError("a message is not what the contract says; it could not be read as protobuf")
    if isinstance(error, AvatarError):
        await abort(context, error)
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, grpc.aio.InternalError):
        # A message to a caller who has gone cannot be sent.
        log.info("caller_gone", method=method)
        raise asyncio.CancelledError from error
    log.error("call_failed", method=method, exc_info=raised)
    await context.abort(grpc.StatusCode.INTERNAL, "internal error; the server's log has the cause")


def _guard_coroutine(behavior: Any, method: str) -> Any:
    async def guarded(request: Any, context: Any) -> Any:
        try:
            if isinstance(request, DecodeError):
                raise request
            return await behavior(request, context)
        except Exception as raised:
            await _end(context, raised, method)

    return guarded


def _guard_generator(behavior: Any, method: str) -> Any:
    async def guarded(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            if isinstance(request, DecodeError):
                raise request
            async for response in behavior(request, context):
                yield response
        except Exception as raised:
            await _end(context, raised, method)

    return guarded
