"""Picks the engine; each other module here is one engine by its name."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal, assert_never

from services.common import gpu
from services.common.errors import NotReadyError
from services.common.model_store import ModelStore
from services.stt.engine import SpeechEngine
from services.stt.settings import EngineName, SttSettings


@dataclass(frozen=True, slots=True)
class Selection:
    """A loaded engine, its name as in the settings, and one sentence that says why it was taken."""

    engine: SpeechEngine
    name: str
    reason: str


# What auto tries, the best first; the last one runs everywhere. Whisper knows four times as many languages;
# Parakeet's network does less for each second of sound, and nothing for seconds that are not there.
_ON_GPU: tuple[EngineName, ...] = ("whisper", "parakeet", "pocketsphinx")
_ON_CPU: tuple[EngineName, ...] = ("parakeet", "whisper", "pocketsphinx")
_RUNS_EVERYWHERE = "it runs everywhere and understands English only"


def load(settings: SttSettings) -> Selection:
    """Load the engine that the settings ask for.

    Raises: NotReadyError if something is missing that it needs, in a sentence; EngineError if it fails.
    """
    if settings.engine != "auto":
        engine = _load(settings.engine, settings)
        return Selection(engine, settings.engine, f"the settings ask for it{_runs_on(engine)}")
    reasons = []
    *best_first, last = _ON_GPU if gpu.is_here() else _ON_CPU
    if settings.first_choice is not None:
        best_first.insert(0, settings.first_choice)
    for name in best_first:
        try:
            engine = _load(name, settings)
        except NotReadyError as missing:
            reasons.append(str(missing))
        else:
            return Selection(engine, name, "; ".join([*reasons, f"the best that runs here{_runs_on(engine)}"]))
    return Selection(_load(last, settings), last, "; ".join([*reasons, _RUNS_EVERYWHERE]))


def _runs_on(engine: SpeechEngine) -> str:
    return f" ({engine.capabilities.runs_on})" if engine.capabilities.runs_on else ""


def _load(name: EngineName, settings: SttSettings) -> SpeechEngine:
    """Raises: NotReadyError where the engine cannot run here now; what auto passes over then."""
    match name:
        case "whisper":
            from services.stt.engines.whisper.engine import load

            return load(settings.whisper, settings.data_dir / "models", settings.data_dir / "compiled" / "triton")
        case "parakeet" | "canary":
            return _load_nemo(name, settings)
        case "pocketsphinx":
            from services.stt.engines.pocketsphinx import PocketsphinxEngine

            return PocketsphinxEngine(settings.pocketsphinx.spare_workers)
        case _:
            assert_never(name)


def _load_nemo(name: Literal["parakeet", "canary"], settings: SttSettings) -> SpeechEngine:
    own = settings.parakeet if name == "parakeet" else settings.canary
    folder = ModelStore(settings.data_dir).complete_folder(name) if own.dir is None else own.dir
    for package in ("onnx_asr", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise NotReadyError(f"{name} is read by {package}, which is not installed: `pip install 'avatar[stt]'`")
    from services.stt.engines.nemo import model
    from services.stt.engines.nemo.engine import NemoEngine

    return NemoEngine(model.PARAKEET if name == "parakeet" else model.CANARY, folder, own.device)
