"""The face service's one settings object."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import PORTS, ServerSettings, absolute


class RenderSettings(ServerSettings):
    """[render] of avatar.toml, or RENDER_* in the environment."""

    model_config = SettingsConfigDict(env_prefix="RENDER_")

    port: int = Field(
        default=PORTS["render"], ge=0, le=65535, description="Port of its native gRPC; 0 takes a free one."
    )
    metrics_port: int = Field(
        default=50181, ge=0, le=65535, description="HTTP port of /metrics for Prometheus, on `host`; 0 serves none."
    )
    engine: Literal["auto", "mesh", "liveportrait"] = Field(
        default="auto",
        description="Which engine runs; auto takes the best that this machine can run now, and /health says why.",
    )
    device: str = Field(
        default="cuda",
        pattern=r"^(cpu|cuda(:\d+)?)$",
        description="Where liveportrait draws: cuda, cuda:1, ... or cpu, which takes seconds for a frame and is never "
        "taken by auto. mesh needs no device.",
    )
    liveportrait_dir: Annotated[Path, AfterValidator(absolute)] | None = Field(
        default=None,
        description="Folder of LivePortrait's weights as they are published (`pretrained_weights`); without it, where "
        "`avatar models pull liveportrait` puts them.",
    )
    max_avatars: int = Field(
        default=100,
        ge=0,
        le=10_000,
        description="Avatars kept besides the default one; one more is refused with RESOURCE_EXHAUSTED.",
    )
    max_prepared: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="Avatars kept ready to be drawn: each takes about 5 MB of memory for the mesh, 9 MB of a GPU's.",
    )
    max_utterance_s: float = Field(
        default=600.0, gt=0, le=7200, description="Seconds of audio of one utterance that a stream may send."
    )
    idle_loops_mb: int = Field(
        default=2000,
        ge=0,
        le=1_000_000,
        description="Megabytes of disk for idle faces, which are then played instead of drawn: about 100 for a face at "
        "512 x 512; least lately used ones make room, 0 keeps none. Only engines with costly frames use it.",
    )
