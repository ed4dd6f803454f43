"""Picks the engine that draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from services.render.engine import RenderEngine
from services.render.settings import RenderSettings


@dataclass(frozen=True, slots=True)
class Chosen:
    """An engine, and one sentence why this one runs and not a better one.

    Attributes:
        fallback: draws when `engine` is full or its device is lost; None if `engine` needs no device.
        restart: makes `engine` anew after its device was lost; None if there is no way.
    """

    engine: RenderEngine
    reason: str
    fallback: RenderEngine | None = None
    restart: Callable[[], RenderEngine] | None = None


def load(settings: RenderSettings) -> Chosen:
    """Raises: NotReadyError if a file that the engine needs is missing."""
    match settings.engine:
        case "auto" | "mesh":
            reason = "the settings ask for it" if settings.engine == "mesh" else "it needs no GPU"
            return Chosen(load_mesh(settings), reason)
        case never:
            assert_never(never)


def load_mesh(settings: RenderSettings) -> RenderEngine:
    """The engine that runs everywhere, and so the fallback of others. Raises: NotReadyError if a file is missing."""
    import numba

    # Compiled code outlives the process, also where the installation is read-only.
    numba.config.CACHE_DIR = str(settings.data_dir / "compiled")  # type: ignore[attr-defined]
    from services.render.engines.mesh import MeshEngine

    return MeshEngine(settings.data_dir)
