"""An OpenTelemetry collector: takes spans by OTLP over gRPC and keeps them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector(TraceServiceServicer):
    """Args: endpoint: where it listens."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.spans: list[Span] = []
        self.processes: set[str] = set()
        self._came = asyncio.Condition()

    async def Export(self, request: Any, context: Any) -> pb.ExportTraceServiceResponse:
        async with self._came:
            for resource in request.resource_spans:
                named = {one.key: one.value.string_value for one in resource.resource.attributes}
                self.processes.add(named["service.name"])
                self.spans += [span for scope in resource.scope_spans for span in scope.spans]
            self._came.notify_all()
        return pb.ExportTraceServiceResponse()

    async def named(self, name: str) -> Span:
        """The first span of a name, once it came."""
        async with self._came:
            await self._came.wait_for(lambda: any(span.name == name for span in self.spans))
        return next(span for span in self.spans if span.name == name)

    def of_trace(self, trace_id: bytes) -> dict[str, Span]:
        """The spans of a trace that came, by name."""
        return {span.name: span for span in self.spans if span.trace_id == trace_id}


def ids_of(span: Span) -> tuple[str, str]:
    """Of its trace and of itself, as a traceparent has them."""
    return span.trace_id.hex(), span.span_id.hex()


@contextlib.asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector on loopback."""
    collector = Collector()
    server = grpc.aio.server()
    add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(None)
