"""What a conversation is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

import grpc

from orchestrator.ice import Ice
from orchestrator.settings import ReplyName
from services.common import telemetry


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """How a conversation looks, sounds, answers and connects."""

    avatar: str
    voice: str
    language_code: str
    reply: ReplyName
    frame_rate_hz: int
    # Of the video encoder, as measured at the start.
    preset: str
    # A conversation to which no media connects for this long is ended.
    idle_timeout_s: float = 300.0
    ice: Ice = field(default_factory=Ice)


@dataclass(frozen=True, slots=True)
class Channels:
    """Ways to the services and to the collector of traces, shared by every conversation."""

    stt: grpc.aio.Channel
    tts: grpc.aio.Channel
    render: grpc.aio.Channel
    tracer: telemetry.Tracer = field(default_factory=telemetry.Untraced)
