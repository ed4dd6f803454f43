"""The settings of the speech-to-text process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import PORTS, ServerSettings, absolute

EngineName: TypeAlias = Literal["whisper", "parakeet", "canary", "pocketsphinx"]


class TurnSettings(BaseModel, frozen=True, extra="forbid"):
    """How a turn is judged where the caller does not say; the contract's TurnConfig has the meaning and the ranges."""

    min_speech_s: float = Field(
        default=0.096, ge=0.032, le=1, description="Seconds of voice after which somebody is said to speak."
    )
    min_silence_s: float = Field(
        default=0.16, ge=0.064, le=2, description="Seconds of silence after which a turn may be over."
    )
    # An answer must not let people wait for much longer than a second where the turn model is unsure; a caller whose
    # users look for words longer than that asks for more.
    max_silence_s: float = Field(
        default=1.1, ge=0.064, le=10, description="Seconds of silence after which a turn is over in any case."
    )
    end_of_turn_threshold: float = Field(
        default=0.5, ge=0, le=1, description="Probability, by the turn model, from which a turn is over."
    )
    eager_threshold: float = Field(
        default=0.25, ge=0, le=1, description="Probability from which the end of the turn is announced as likely."
    )
    min_barge_in_s: float = Field(
        default=0.5, ge=0.1, le=2, description="Seconds of voice over the answer that take the floor."
    )


class PocketsphinxSettings(BaseModel, frozen=True, extra="forbid"):
    """The embedded engine."""

    spare_workers: int = Field(
        default=1, ge=1, le=64, description="Loaded processes that wait for a stream, 120 MB of memory each."
    )


class WhisperSettings(BaseModel, frozen=True, extra="forbid"):
    """Whisper; docs/deployment.md tells which runtime suits which machine."""

    model: str = Field(
        default="",
        max_length=1000,
        description='A size such as "large-v3" or "small", or the path of a model\'s folder; empty takes large-v3 on a '
        "GPU, small without one.",
    )
    runtime: Literal["auto", "ctranslate2", "torch"] = Field(
        default="auto",
        description="What runs it; auto takes CTranslate2 unless only PyTorch reaches the GPU or reads the model.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d{1,2})?)$",
        description='"auto", "cpu", "cuda", or "cuda:1" and so on; auto takes the GPU where there is one.',
    )
    compute_type: Literal["auto", "int8", "float16", "float32", "int8_float16"] = Field(
        default="auto",
        description="Number format; auto is float16 on a GPU, else int8 for CTranslate2 and float32 for PyTorch, which "
        "knows no int8.",
    )
    max_batch: int = Field(
        default=16, ge=1, le=128, description="Windows that PyTorch takes at once on a GPU; 0.3 GB each for large-v3."
    )


class NemoSettings(BaseModel, frozen=True, extra="forbid"):
    """Parakeet or Canary, as they are published for onnxruntime."""

    dir: Annotated[Path, AfterValidator(absolute)] | None = Field(
        default=None,
        description="Folder with the published files; without it, where `avatar models pull` puts them.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto takes the GPU where onnxruntime reaches one."
    )


class SttSettings(ServerSettings):
    """[stt] of avatar.toml, or STT_* in the environment, such as STT_TURN__MAX_SILENCE_S."""

    model_config = SettingsConfigDict(env_prefix="STT_")
    # What auto tries before anything else.
    first_choice: ClassVar[EngineName | None] = None

    port: int = Field(default=PORTS["stt"], ge=0, le=65535, description="Port of its native gRPC; 0 takes a free one.")
    metrics_port: int = Field(
        default=50183, ge=0, le=65535, description="HTTP port of /metrics for Prometheus, on `host`; 0 serves none."
    )
    engine: Literal["auto", EngineName] = Field(
        default="auto",
        description="Which engine runs; auto takes the best that this machine can run now, and /health says why.",
    )
    # Three hours are what 64 MiB hold at 48 kbit/s; silence takes so few bytes that the size alone bounds no time.
    max_recording_s: float = Field(
        default=10_800.0, gt=0, le=86_400, description="Longest recording that Recognize takes, in seconds."
    )
    turn: TurnSettings = TurnSettings()
    whisper: WhisperSettings = WhisperSettings()
    parakeet: NemoSettings = NemoSettings()
    canary: NemoSettings = NemoSettings()
    pocketsphinx: PocketsphinxSettings = PocketsphinxSettings()


class CanarySettings(SttSettings):
    """[canary] of avatar.toml, or CANARY_*: a second process of the same program, for port 8084."""

    model_config = SettingsConfigDict(env_prefix="CANARY_")
    first_choice: ClassVar[EngineName | None] = "canary"

    enabled: bool = Field(
        default=False, description="Whether the second recogniser runs; without it, its port asks the first."
    )
    port: int = Field(
        default=PORTS["canary"], ge=0, le=65535, description="Port of its native gRPC; 0 takes a free one."
    )
    metrics_port: int = Field(
        default=50184, ge=0, le=65535, description="HTTP port of /metrics for Prometheus, on `host`; 0 serves none."
    )
