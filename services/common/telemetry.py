"""Traces: what OpenTelemetry offers, as far as this project uses it, and nothing at all where no endpoint is set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Literal, Protocol

from services.common.errors import InvalidRequestError

# Metadata of calls: which conversation they belong to, and which span they are part of.
SESSION_ID_KEY = "x-session-id"
TRACEPARENT_KEY = "traceparent"
# What calls to other processes carry from here; empty for nothing. https://www.w3.org/TR/trace-context/#traceparent-header
traceparent: ContextVar[str] = ContextVar("traceparent", default="")
# A parent whose flags say that nobody wants to see the calls below it.
NOT_SAMPLED = f"00-{1:032x}-{1:016x}-00"
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

Attributes = Mapping[str, str | int | float | bool]


class Span(Protocol):
    """Something that takes time."""

    @property
    def traceparent(self) -> str:
        """What makes another process's span a child of this one; empty where nothing is traced."""

    def end(self, at_ns: int | None = None, *, attributes: Attributes | None = None, failed: bool = False) -> None:
        """It is over. Args: at_ns: wall time; None is now."""


class Tracer(Protocol):
    """Makes spans and sends them to a collector."""

    def start(
        self,
        name: str,
        *,
        kind: Literal["server", "internal"] = "internal",
        parent: str = "",
        linked: str = "",
        at_ns: int | None = None,
        attributes: Attributes | None = None,
    ) -> Span:
        """Begin a span.

        Args:
            parent: traceparent of the span that this one is part of; empty begins a trace.
            linked: traceparent of a span of another trace that belongs with it.
            at_ns: wall time; None is now.
        """

    def close(self) -> None:
        """Send what is left, for a few seconds at most. Blocks."""


class _NoSpan:
    traceparent = ""

    def end(self, at_ns: int | None = None, *, attributes: Attributes | None = None, failed: bool = False) -> None:
        """Nothing was begun."""


class Untraced:
    """The tracer of those who set no endpoint."""

    def start(self, name: str, **_: object) -> Span:  # noqa: ARG002
        return _NoSpan()

    def close(self) -> None:
        """Nothing is left."""


def is_traceparent(text: str) -> bool:
    """Whether a header's value may be passed on."""
    return _TRACEPARENT.fullmatch(text) is not None


def open_tracer(process: str, endpoint: str) -> Tracer:
    """The process's tracer.

    Args: endpoint: where an OTLP collector takes gRPC, such as http://127.0.0.1:4317; empty for none.
    Raises: InvalidRequestError if OpenTelemetry is not installed.
    """
    if not endpoint:
        return Untraced()
    try:
        from services.common.otlp import OtlpTracer
    except ImportError as missing:
        raise InvalidRequestError(
            f"otlp_endpoint (AVATAR_OTLP_ENDPOINT) is {endpoint}, and OpenTelemetry, which sends traces there, is not "
            f"installed ({missing}); run `make setup`, or `pip install .[otel]` elsewhere, or unset it"
        ) from missing
    return OtlpTracer(process, endpoint)
