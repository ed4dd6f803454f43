"""Which processes make a stack, and where each of them listens."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.common.settings import ServerSettings

ROOT = Path(__file__).resolve().parent.parent.parent
# Native gRPC ports; Envoy's public ones are the defaults of envoy/render_config.py.
RENDER, TTS, STT, ORCHESTRATOR = 50081, 50082, 50083, 50086
PAGE_PORT, ADMIN_PORT = 8085, 9901


@dataclass(frozen=True, slots=True)
class Process:
    """One process. Args: health_port: where its gRPC health says SERVING; None for Envoy, which has none."""

    name: str
    command: tuple[str, ...]
    health_port: int | None
    env: Mapping[str, str] = field(default_factory=dict)


def data_dir() -> Path:
    """Where everything is kept: AVATAR_DATA_DIR, or the platform's usual place."""
    return ServerSettings().data_dir


def service(name: str, port: int, env: Mapping[str, str] | None = None) -> Process:
    """A service of ours at a port."""
    settings = {f"{name.upper()}_PORT": str(port)} | dict(env or {})
    return Process(name, (sys.executable, "-m", f"services.{name}"), port, settings)


def envoy_files() -> list[tuple[str, ...]]:
    """Commands that write what Envoy reads: the page's certificate and the configuration."""
    return [
        (sys.executable, "envoy/certificate.py"),
        (sys.executable, "envoy/render_config.py", "--out", str(envoy_config()), "--access-log", str(_access_log())),
    ]


def envoy_config() -> Path:
    """Where Envoy's configuration is written."""
    return data_dir() / "run" / "envoy.json"


def _access_log() -> Path:
    return data_dir() / "logs" / "access.jsonl"


def stack(env: Mapping[str, str]) -> list[Process]:
    """The embedded stack, in the order in which it starts. Args: env: the orchestrator's settings."""
    return [
        service("render", RENDER),
        service("tts", TTS),
        service("stt", STT),
        Process("orchestrator", (sys.executable, "-m", "orchestrator"), ORCHESTRATOR, dict(env)),
        Process("envoy", (sys.executable, "envoy/run.py", "--config", str(envoy_config())), None),
    ]


def environment(process: Process) -> dict[str, str]:
    """The process's environment: ours and its own settings, one thread for each library that would take all cores."""
    return {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | os.environ | dict(process.env)
