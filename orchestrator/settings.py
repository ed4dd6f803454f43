"""The orchestrator's one settings object."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from orchestrator.ice import IceSettings
from services.common.network_settings import NetworkSettings
from services.common.settings import PORTS, ServerSettings, address_of, read

ReplyName = Literal["demo", "echo", "assistant"]


class OrchestratorSettings(ServerSettings):
    """[orchestrator] of avatar.toml, or ORCHESTRATOR_* in the environment."""

    model_config = SettingsConfigDict(env_prefix="ORCHESTRATOR_")

    port: int = Field(
        default=PORTS["orchestrator"],
        ge=0,
        le=65535,
        description="Port of its native gRPC, which serves conversations; 0 takes a free one.",
    )
    metrics_port: int = Field(
        default=50186, ge=0, le=65535, description="HTTP port of /metrics for Prometheus, on `host`; 0 serves none."
    )
    http_port: int = Field(
        default=50085, ge=0, le=65535, description="Port of the page's files and sockets; for Envoy only."
    )
    render_address: str = Field(
        default_factory=lambda: address_of("render"), description="Where the faces are; follows from [render]."
    )
    tts_address: str = Field(
        default_factory=lambda: address_of("tts"), description="Where the voices are; follows from [tts]."
    )
    stt_address: str = Field(
        default_factory=lambda: address_of("stt"), description="Where the recogniser is; follows from [stt]."
    )
    reply: ReplyName = Field(
        default="demo",
        description="Who answers unless a conversation asks for another: a host with a script, an echo, or a program "
        "by Say.",
    )
    avatar: str = Field(default="avatars/default", description="Which face unless a conversation asks for another.")
    voice: str = Field(default="", description="Which voice, as in /v1/voices; empty takes the language's default.")
    language_code: str = Field(default="en", description='What is spoken, as BCP-47, such as "en" or "de".')
    frame_rate_hz: int = Field(default=25, ge=5, le=30, description="Frames of video per second.")
    max_streams: int = Field(
        default=8, ge=1, le=1000, description='Conversations at once; one more hears "Server full".'
    )
    ice: IceSettings = Field(default=IceSettings(), description="How browsers that cannot reach us directly do.")
    lan: bool = Field(
        default_factory=lambda: read(NetworkSettings).lan,
        validate_default=True,
        description="Whether browsers on other devices may connect; follows from [network] lan. Without it, sound and "
        "picture of other machines are dropped unread.",
    )
    kept_conversations: int = Field(
        default=100, ge=0, le=10_000, description="Ended conversations whose transcripts can still be read."
    )

    @field_validator("lan")
    @classmethod
    def _is_reachable(cls, lan: bool, given: ValidationInfo) -> bool:  # noqa: FBT001 - called by pydantic
        if not lan and "ice" in given.data and given.data["ice"].announced_addresses:
            raise ValueError("ice.announced_addresses are told to other devices, which only lan = true lets in")
        return lan
