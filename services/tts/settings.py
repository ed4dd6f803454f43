"""The settings of the text-to-speech process."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServerSettings


class TtsSettings(ServerSettings):
    """Environment: TTS_PORT, TTS_ENGINE, TTS_MAX_STREAMS and so on."""

    model_config = SettingsConfigDict(env_prefix="TTS_")

    port: int = Field(default=50082, ge=0, le=65535)
    # "auto" takes the best that this machine can run.
    engine: Literal["auto", "espeak"] = "auto"
