"""The settings of the speech-to-text process."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServerSettings


class TurnSettings(BaseModel, frozen=True, extra="forbid"):
    """How a turn is judged where the caller does not say; the contract's TurnConfig has the meaning and the ranges."""

    min_speech_s: float = Field(default=0.096, ge=0.032, le=1)
    min_silence_s: float = Field(default=0.16, ge=0.064, le=2)
    # An answer must not let people wait for much longer than a second where the turn model is unsure; a caller whose
    # users look for words longer than that asks for more.
    max_silence_s: float = Field(default=1.1, ge=0.064, le=10)
    end_of_turn_threshold: float = Field(default=0.5, ge=0, le=1)
    eager_threshold: float = Field(default=0.25, ge=0, le=1)
    min_barge_in_s: float = Field(default=0.5, ge=0.1, le=2)


class PocketsphinxSettings(BaseModel, frozen=True, extra="forbid"):
    """The embedded engine."""

    # Loaded processes that wait for a stream; 120 MB each.
    spare_workers: int = Field(default=1, ge=1, le=64)


class SttSettings(ServerSettings):
    """Environment: STT_PORT, STT_ENGINE, STT_TURN__MAX_SILENCE_S and so on."""

    model_config = SettingsConfigDict(env_prefix="STT_")

    port: int = Field(default=50083, ge=0, le=65535)
    # "auto" takes the best that this machine can run.
    engine: Literal["auto", "pocketsphinx"] = "auto"
    turn: TurnSettings = TurnSettings()
    pocketsphinx: PocketsphinxSettings = PocketsphinxSettings()
