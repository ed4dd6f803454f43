"""What the settings of every process have in common: defaults, then environment variables."""

from __future__ import annotations

from pathlib import Path

import platformdirs
from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.common.log import LogLevel


class DrainSettings(BaseModel, frozen=True, extra="forbid"):
    """How a server stops: it says so, waits until balancers have heard it, then lets running calls end."""

    announce_s: float = Field(default=0.5, ge=0, le=60)
    grace_s: float = Field(default=5.0, ge=0, le=3600)


class ServerSettings(BaseSettings):
    """Settings of one gRPC server. A subclass sets its environment prefix and its default port."""

    model_config = SettingsConfigDict(frozen=True, env_nested_delimiter="__", extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    log_level: LogLevel = "info"
    # Streams that one process serves at once; one more is refused with RESOURCE_EXHAUSTED.
    max_streams: int = Field(default=8, ge=1, le=1000)
    # A stream whose caller sends nothing for this long is ended.
    idle_timeout_s: float = Field(default=300.0, gt=0, le=86_400)
    drain: DrainSettings = DrainSettings()
    # Where models and avatars are kept; AVATAR_DATA_DIR, for every process the same.
    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("avatar"), validation_alias="AVATAR_DATA_DIR"
    )
