"""The orchestrator's one settings object."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServerSettings

ReplyName = Literal["demo", "echo", "assistant"]


class OrchestratorSettings(ServerSettings):
    """Read from `ORCHESTRATOR_*`."""

    model_config = SettingsConfigDict(env_prefix="ORCHESTRATOR_")

    # Native gRPC: conversations.
    port: int = Field(default=50086, ge=0, le=65535)
    # HTTP and WebSocket, for Envoy only.
    http_port: int = Field(default=50085, ge=0, le=65535)
    render_address: str = "127.0.0.1:50081"
    tts_address: str = "127.0.0.1:50082"
    stt_address: str = "127.0.0.1:50083"
    # Who answers unless a conversation asks for another: a scripted host, an echo, or a program by Say.
    reply: ReplyName = "demo"
    avatar: str = "avatars/default"
    voice: str = ""
    language_code: str = "en"
    frame_rate_hz: int = Field(default=25, ge=5, le=30)
    # Conversations at once; one more hears "Server full".
    max_streams: int = Field(default=8, ge=1, le=1000)
    # Ended conversations whose transcripts can still be read.
    kept_conversations: int = Field(default=100, ge=0, le=10_000)
