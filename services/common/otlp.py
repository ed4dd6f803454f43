"""Spans by OpenTelemetry's SDK, sent to a collector by OTLP over gRPC. `telemetry.py` imports this only when asked."""

from __future__ import annotations

import os
import socket
from typing import Literal

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.common import telemetry
from services.common.telemetry import TRACEPARENT_KEY, Attributes

_SEND_EVERY_MS = 500
# A collector that is away costs a process this much when it ends, and nothing before.
_SEND_TIMEOUT_S = 3
_KINDS = {"server": trace.SpanKind.SERVER, "internal": trace.SpanKind.INTERNAL}
_format = TraceContextTextMapPropagator()


def _context_of(traceparent: str) -> Context:
    return _format.extract({TRACEPARENT_KEY: traceparent}, Context())


class _Span:
    def __init__(self, span: trace.Span) -> None:
        self._span = span
        carrier: dict[str, str] = {}
        _format.inject(carrier, trace.set_span_in_context(span, Context()))
        self.traceparent = carrier.get(TRACEPARENT_KEY, "")

    def end(self, at_ns: int | None = None, *, attributes: Attributes | None = None, failed: bool = False) -> None:
        self._span.set_attributes(attributes or {})
        if failed:
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end(at_ns)


class OtlpTracer:
    """A `telemetry.Tracer` that sends to a collector, from a thread of its own."""

    def __init__(self, process: str, endpoint: str) -> None:
        """Args: endpoint: such as http://127.0.0.1:4317; with https the collector's certificate is checked."""
        instance = f"{socket.gethostname()}:{os.getpid()}"
        resource = Resource.create({"service.name": f"avatar.{process}", "service.instance.id": instance})
        exporter = OTLPSpanExporter(endpoint, insecure=endpoint.startswith("http://"), timeout=_SEND_TIMEOUT_S)
        # Ended by the server, in its turn; an exit handler would come too late for the event loop's own.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_SEND_EVERY_MS))
        self._tracer = self._provider.get_tracer("avatar")

    def start(
        self,
        name: str,
        *,
        kind: Literal["server", "internal"] = "internal",
        parent: str = "",
        linked: str = "",
        at_ns: int | None = None,
        attributes: Attributes | None = None,
    ) -> telemetry.Span:
        links = [trace.Link(trace.get_current_span(_context_of(linked)).get_span_context())] if linked else []
        span = self._tracer.start_span(
            name,
            context=_context_of(parent),
            kind=_KINDS[kind],
            start_time=at_ns,
            links=links,
            attributes=attributes,
        )
        return _Span(span)

    def close(self) -> None:
        self._provider.shutdown()
