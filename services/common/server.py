"""A gRPC server as every process here runs it: health that is true, reflection, statuses, sessions, drain."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.common import legacy_http, metrics
from services.common.errors import NotReadyError
from services.common.log import get_logger
from services.common.memory import LargeMessageInterceptor
from services.common.observation import ObservationInterceptor
from services.common.settings import ServerSettings
from services.common.status import ErrorStatusInterceptor, abort
from services.common.telemetry import NOT_SAMPLED, SESSION_ID_KEY, TRACEPARENT_KEY, open_tracer

# One message may hold a recording or portrait at its limit (64 MiB) and what surrounds it.
MAX_MESSAGE_BYTES = 66 * 1024 * 1024
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A second server on the same port is a mistake and fails at start, instead of taking every other call.
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
]
# Metadata of the calls that a server makes to itself before it is ready.
_REHEARSAL_KEY = "avatar-rehearsal"
_STOPPING = "the server is stopping; another replica may serve"
_ALWAYS_SERVED = ("/grpc.health.", "/grpc.reflection.")
log = get_logger(__name__)


class _ReadinessInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls while the engine loads or the server drains, and binds the caller's session to the log."""

    def __init__(self) -> None:
        self.not_ready_because: str | None = "the engine is loading; try again in a few seconds"
        self.rehearsal_pass = secrets.token_urlsafe()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        if handler_call_details.method.startswith(_ALWAYS_SERVED):
            return await continuation(handler_call_details)
        metadata = dict(handler_call_details.invocation_metadata or ())
        if self.not_ready_because is not None and metadata.get(_REHEARSAL_KEY) != self.rehearsal_pass:
            error = NotReadyError(self.not_ready_because)
            if legacy_http.is_legacy(handler_call_details.method):
                return legacy_http.refusing(error)

            async def refuse(_: Any, context: Any) -> None:
                await abort(context, error)

            # Streaming on both sides refuses at once, whatever the caller meant to send.
            return grpc.stream_stream_rpc_method_handler(refuse)
        structlog.contextvars.bind_contextvars(
            **{
                name: metadata[key]
                for name, key in (("session_id", SESSION_ID_KEY), ("traceparent", TRACEPARENT_KEY))
                if key in metadata
            }
        )
        return await continuation(handler_call_details)


class _Services(grpc.GenericRpcHandler):
    """Services that are added while the server listens already, by the generated `add_..._to_server` functions."""

    def __init__(self) -> None:
        self._handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self._handlers.extend(handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Any) -> None:
        """Nothing: what the generic handlers serve needs no second way in."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        found = (handler.service(handler_call_details) for handler in self._handlers)
        return next((handler for handler in found if handler is not None), None)


class Server:
    """One process's gRPC server.

    It answers health and reflection from the start; `ready` opens it for everything else once the engine has
    answered a warm-up request.
    """

    def __init__(self, settings: ServerSettings, service_names: Sequence[str]) -> None:
        """Args: service_names: full protobuf names, for health and reflection.

        Raises: InvalidRequestError if traces are asked for and OpenTelemetry is not installed.
        """
        self._settings = settings
        self._readiness = _ReadinessInterceptor()
        self._service_names = service_names
        # avatar.tts.v1.TextToSpeechService is of the process "tts".
        self.tracer = open_tracer(service_names[0].split(".")[1], settings.otlp_endpoint)
        interceptors = [
            LargeMessageInterceptor(),
            ObservationInterceptor(self.tracer),
            self._readiness,
            legacy_http.UnreadableRequestInterceptor(),
            ErrorStatusInterceptor(),
        ]
        self._server = grpc.aio.server(interceptors=interceptors, options=_OPTIONS)
        services = _Services()
        self._server.add_generic_rpc_handlers((services,))
        # What the generated `add_..._to_server` functions take; anything may be added until `ready`.
        self.grpc: Any = services
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [*service_names, health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, self._server)
        self.port = 0
        self._metrics = contextlib.ExitStack()
        self._stop_requested = asyncio.Event()

    async def _set(self, status: health_pb2.HealthCheckResponse.ServingStatus.ValueType) -> None:
        for name in ("", *self._service_names):
            await self._health.set(name, status)

    async def start(self) -> None:
        """Listen. Raises: RuntimeError if a port is taken."""
        self._metrics.enter_context(metrics.served(self._settings.host, self._settings.metrics_port))
        metrics.READY.set(0)
        metrics.STREAMS_LIMIT.set(self._settings.max_streams)
        await self._set(health_pb2.HealthCheckResponse.NOT_SERVING)
        self.port = self._server.add_insecure_port(f"{self._settings.host}:{self._settings.port}")
        await self._server.start()
        log.info("server_listening", port=self.port)

    @contextlib.asynccontextmanager
    async def rehearsal(self) -> AsyncIterator[tuple[grpc.aio.Channel, tuple[tuple[str, str], ...]]]:
        """A channel to this server, and the metadata by which its calls are served before it is `ready`.

        The first call of a process pays for what is imported, cached or allocated by the first; here no caller does.
        No trace tells of it.
        """
        async with grpc.aio.insecure_channel(f"{self._settings.host}:{self.port}") as channel:
            yield channel, ((_REHEARSAL_KEY, self._readiness.rehearsal_pass), (TRACEPARENT_KEY, NOT_SAMPLED))

    async def ready(self) -> None:
        """Open for calls: the engine has answered a warm-up request."""
        self._readiness.not_ready_because = None
        metrics.READY.set(1)
        await self._set(health_pb2.HealthCheckResponse.SERVING)
        log.info("server_ready", port=self.port)

    def stop_on_signals(self) -> None:
        """From now on SIGTERM and SIGINT ask for a stop, also while the engine loads."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_requested.set)

    async def stop_requested(self) -> None:
        """Return once a stop was asked for."""
        await self._stop_requested.wait()

    async def announce_stop(self) -> None:
        """Refuse new calls and give balancers time to hear it; running calls go on. A second call does nothing."""
        if self._readiness.not_ready_because == _STOPPING:
            return
        self._readiness.not_ready_because = _STOPPING
        metrics.READY.set(0)
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(self._settings.drain.announce_s)

    async def stop(self) -> None:
        """Announce the stop, then let running calls end within the grace."""
        await self.announce_stop()
        await self._server.stop(self._settings.drain.grace_s)
        await asyncio.to_thread(self.tracer.close)
        await asyncio.to_thread(self._metrics.close)
        log.info("server_stopped")


@contextlib.asynccontextmanager
async def running(settings: ServerSettings, service_names: Sequence[str]) -> AsyncIterator[Server]:
    """A process's server: listening, not ready yet; stopped with drain on the way out."""
    server = Server(settings, service_names)
    server.stop_on_signals()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
