"""Picks the engine that draws."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from services.common.errors import NotReadyError
from services.common.model_store import ModelStore
from services.render.engine import RenderEngine
from services.render.settings import RenderSettings

if TYPE_CHECKING:
    from services.render.engines.liveportrait.engine import LivePortraitEngine

# Whoever draws a portrait holds it, also when it is no longer among those that are kept ready; so does a loop, which is
# drawn in the background, and a portrait that is exchanged for another.
_MORE_SOURCES = 4


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
    """Raises: NotReadyError if something is missing that the engine needs, in a sentence."""
    match settings.engine:
        case "mesh":
            return Chosen(load_mesh(settings), "the settings ask for it")
        case "liveportrait":
            return _liveportrait(settings, "the settings ask for it")
        case "auto":
            if settings.device == "cpu":
                return Chosen(load_mesh(settings), 'liveportrait is too slow on device = "cpu"')
            try:
                return _liveportrait(settings, "its weights are here")
            except NotReadyError as missing:
                return Chosen(load_mesh(settings), str(missing))
        case never:
            assert_never(never)


def _liveportrait(settings: RenderSettings, why: str) -> Chosen:
    # What the fallback lacks is found before minutes are spent on the other one.
    fallback = load_mesh(settings)
    engine = load_liveportrait(settings)
    slow = ", where a frame takes seconds" if settings.device == "cpu" else ""
    reason = f"it draws on {engine.device_name}{slow}: {why}"
    return Chosen(engine, reason, fallback, partial(load_liveportrait, settings))


def load_mesh(settings: RenderSettings) -> RenderEngine:
    """The engine that runs everywhere, and so the fallback of others. Raises: NotReadyError if a file is missing."""
    import numba

    # Compiled code outlives the process, also where the installation is read-only.
    numba.config.CACHE_DIR = str(settings.data_dir / "compiled")  # type: ignore[attr-defined]
    from services.render.engines.mesh import MeshEngine

    return MeshEngine(settings.data_dir)


def load_liveportrait(settings: RenderSettings) -> LivePortraitEngine:
    """The production face. Raises: NotReadyError if weights, PyTorch or the device are missing or do not fit."""
    # Before PyTorch is imported, which takes seconds: most machines without a GPU have no weights either.
    folder = weights_folder(settings)
    if importlib.util.find_spec("torch") is None:
        raise NotReadyError(
            "liveportrait runs on PyTorch, which is not installed: `pip install 'avatar[liveportrait]'`, in the build "
            "for this machine's CUDA"
        )
    try:
        from services.render.engines.liveportrait.engine import LivePortraitEngine
    except (ImportError, OSError) as broken:
        raise NotReadyError(f"liveportrait runs on PyTorch, which cannot be imported here: {broken}") from broken
    from services.render.landmarks import FaceLandmarker

    return LivePortraitEngine(
        folder,
        settings.device,
        settings.max_prepared + settings.max_streams + _MORE_SOURCES,
        settings.data_dir / "compiled" / "triton",
        open_landmarker=partial(FaceLandmarker, settings.data_dir),
    )


def weights_folder(settings: RenderSettings) -> Path:
    """Where LivePortrait's weights lie. Raises: NotReadyError if they are not there, or not complete."""
    folder = settings.liveportrait_dir
    if folder is None:
        return ModelStore(settings.data_dir).complete_folder("liveportrait")
    if not folder.is_dir():
        raise NotReadyError(f"the folder of LivePortrait's weights is not there: liveportrait_dir is {folder}")
    return folder
