"""Picks the engine that draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from services.render.engine import RenderEngine
from services.render.settings import RenderSettings


@dataclass(frozen=True, slots=True)
class Chosen:
    """An engine, and one sentence why this one runs and not a better one."""

    engine: RenderEngine
    reason: str


def load(settings: RenderSettings) -> Chosen:
    """Raises: NotReadyError if a file that the engine needs is missing."""
    match settings.engine:
        case "auto" | "mesh":
            import numba

            # Compiled code outlives the process, also where the installation is read-only.
            numba.config.CACHE_DIR = str(settings.data_dir / "compiled")  # type: ignore[attr-defined]
            from services.render.engines.mesh import MeshEngine

            reason = "the settings ask for it" if settings.engine == "mesh" else "it needs no GPU"
            return Chosen(MeshEngine(settings.data_dir), reason)
        case never:
            assert_never(never)
