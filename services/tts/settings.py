"""The settings of the text-to-speech process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import PORTS, ServerSettings, absolute

EngineName: TypeAlias = Literal["xtts", "piper", "espeak"]


class XttsSettings(BaseModel, frozen=True, extra="forbid"):
    """XTTS v2; docs/deployment.md tells how it is installed."""

    dir: Annotated[Path, AfterValidator(absolute)] | None = Field(
        default=None,
        description="Folder of the model as it is published (config.json, model.pth, vocab.json, speakers_xtts.pth); "
        "without it, where `avatar models pull xtts` puts it.",
    )
    device: str = Field(
        default="cuda",
        pattern=r"^(cpu|cuda(:\d{1,2})?)$",
        description="Where it speaks: cuda, cuda:1, ... or cpu, which is slower than speech and never taken by auto.",
    )


class PiperSettings(BaseModel, frozen=True, extra="forbid"):
    """Piper's voices, each of which speaks one language."""

    dir: Annotated[Path, AfterValidator(absolute)] | None = Field(
        default=None,
        description="Folder with voices as they are published (NAME.onnx and NAME.onnx.json, in folders below it too); "
        "without it, where `avatar models pull piper` puts them.",
    )
    max_loaded: int = Field(
        default=4,
        ge=1,
        le=100,
        description="Voices kept in memory, about 100 MB each; one more takes the place of the least lately used one.",
    )


class TtsSettings(ServerSettings):
    """[tts] of avatar.toml, or TTS_* in the environment."""

    model_config = SettingsConfigDict(env_prefix="TTS_")

    port: int = Field(default=PORTS["tts"], ge=0, le=65535, description="Port of its native gRPC; 0 takes a free one.")
    metrics_port: int = Field(
        default=50182, ge=0, le=65535, description="HTTP port of /metrics for Prometheus, on `host`; 0 serves none."
    )
    engine: Literal["auto", EngineName] = Field(
        default="auto",
        description="Which engine runs; auto takes the best that this machine can run now, and /health says why.",
    )
    default_voice: str = Field(
        default="",
        description="Voice of callers who name none, by its id or display name; empty takes the engine's own.",
    )
    max_voices: int = Field(
        default=100,
        ge=0,
        le=1000,
        description="Voices kept that were made of recordings; one more is refused with RESOURCE_EXHAUSTED.",
    )
    xtts: XttsSettings = XttsSettings()
    piper: PiperSettings = PiperSettings()
