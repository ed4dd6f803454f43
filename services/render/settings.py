"""The face service's one settings object."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServerSettings


class RenderSettings(ServerSettings):
    """Read from RENDER_* environment variables, RENDER_MAX_STREAMS=4 for one."""

    model_config = SettingsConfigDict(env_prefix="RENDER_")

    port: int = Field(default=50081, ge=0, le=65535)
    # "auto" takes the best engine that this machine can run now.
    engine: Literal["auto", "mesh"] = "auto"
    # Avatars that are kept besides the default one; one more is refused with RESOURCE_EXHAUSTED.
    max_avatars: int = Field(default=100, ge=0, le=10_000)
    # Avatars that are kept ready to be drawn, about 5 MB each.
    max_prepared: int = Field(default=16, ge=1, le=1000)
    # Audio of one utterance that a stream may send, in seconds.
    max_utterance_s: float = Field(default=600.0, gt=0, le=7200)
