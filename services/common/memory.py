"""Gives the memory of large messages back, which gRPC and the allocator would else keep."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

LARGE_MESSAGE_BYTES = 4 * 1024 * 1024
# After the end of the last call with a large message, so that a burst of them is tidied up after once.
TIDY_AFTER_S = 5.0
# Of the call that runs here: each is a task of its own.
_has_large_message: contextvars.ContextVar[bool] = contextvars.ContextVar("has_large_message", default=False)
# Of glibc alone: free pages go back to the system wherever they lie, not only those at the end of a heap.
_malloc_trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)


def _return_free_pages() -> None:
    if _malloc_trim is not None:
        _malloc_trim(0)


def _forget(aborted: grpc.aio.AbortError) -> None:
    """Let go of everything that is known from where the call was ended.

    The state of a call refers to this error, and its frames to the call: a cycle that would hold the message until
    garbage is collected.
    """
    aborted.__traceback__ = aborted.__context__ = aborted.__cause__ = None


def _noticing(read: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    """The same deserializer, which notices large messages."""

    def noticed(data: bytes) -> Any:
        if len(data) >= LARGE_MESSAGE_BYTES:
            _has_large_message.set(True)
        return data if read is None else read(data)

    return noticed


class LargeMessageInterceptor(grpc.aio.ServerInterceptor):
    """Lets no refused message outlive its call, and tidies up after large ones. It stands before all others."""

    def __init__(self) -> None:
        self._tidying: asyncio.TimerHandle | None = None

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

        async def coroutine(request: Any, context: Any) -> Any:
            try:
                return await behavior(request, context)
            except grpc.aio.AbortError as aborted:
                _forget(aborted)
                # This frame is in what is raised on.
                del request
                raise
            finally:
                self._tidy_soon()

        async def generator(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                async for response in behavior(request, context):
                    yield response
            except grpc.aio.AbortError as aborted:
                _forget(aborted)
                del request
                raise
            finally:
                self._tidy_soon()

        make = getattr(grpc, f"{kind}_rpc_method_handler")
        run = generator if inspect.isasyncgenfunction(behavior) else coroutine
        made: grpc.RpcMethodHandler[Any, Any] = make(
            run, _noticing(handler.request_deserializer), handler.response_serializer
        )
        return made

    def _tidy_soon(self) -> None:
        if not _has_large_message.get():
            return
        if self._tidying is not None:
            self._tidying.cancel()
        self._tidying = asyncio.get_running_loop().call_later(TIDY_AFTER_S, self._tidy)

    def _tidy(self) -> None:
        # It takes some tens of milliseconds for a gibibyte, and cannot fail.
        asyncio.get_running_loop().run_in_executor(None, _return_free_pages)
