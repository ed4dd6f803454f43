"""Picks the engine; each other module here is one engine by its name."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import assert_never

from services.common.errors import NotReadyError
from services.common.model_store import ModelStore
from services.tts.engine import SpeechEngine
from services.tts.settings import EngineName, TtsSettings


@dataclass(frozen=True, slots=True)
class Selection:
    """A loaded engine, its name as in the settings, and one sentence that says why it was taken."""

    engine: SpeechEngine
    name: str
    reason: str


# What auto tries, the best first; the last one runs everywhere.
_BEST_FIRST: tuple[EngineName, ...] = ("xtts", "piper", "espeak")


def load(settings: TtsSettings) -> Selection:
    """Load the engine that the settings ask for.

    Raises: NotReadyError if something is missing that it needs, in a sentence; EngineError if it fails.
    """
    if settings.engine != "auto":
        return Selection(_load(settings.engine, settings), settings.engine, "the settings ask for it")
    reasons = []
    for name in _BEST_FIRST[:-1]:
        try:
            engine = _load(name, settings)
        except NotReadyError as missing:
            reasons.append(str(missing))
        else:
            return Selection(engine, name, "; ".join([*reasons, "the best that runs here"]))
    last = _BEST_FIRST[-1]
    return Selection(_load(last, settings), last, "; ".join(reasons) or "it runs everywhere")


def _load(name: EngineName, settings: TtsSettings) -> SpeechEngine:
    """Raises: NotReadyError where the engine cannot run here now; what auto passes over then."""
    match name:
        case "xtts":
            return _load_xtts(settings)
        case "piper":
            return _load_piper(settings)
        case "espeak":
            from services.tts.engines.espeak import EspeakEngine

            return EspeakEngine(settings.max_streams)
        case _:
            assert_never(name)


def _load_xtts(settings: TtsSettings) -> SpeechEngine:
    own = settings.xtts
    if own.device == "cpu" and settings.engine == "auto":
        raise NotReadyError('XTTS is slower than speech on device = "cpu"')
    # Before PyTorch is imported, which takes seconds: most machines without a GPU have no weights either.
    folder = ModelStore(settings.data_dir).complete_folder("xtts") if own.dir is None else own.dir
    for package, words in (("torch", "runs on PyTorch"), ("TTS", "is read by coqui-tts")):
        if importlib.util.find_spec(package) is None:
            raise NotReadyError(f"XTTS {words}, which is not installed: `pip install 'avatar[xtts]'`")
    try:
        from services.tts.engines.xtts.engine import XttsEngine
    except (ImportError, OSError) as broken:
        raise NotReadyError(f"XTTS runs on PyTorch, which cannot be imported here: {broken}") from broken
    return XttsEngine(folder, own.device, settings.max_streams, settings.data_dir / "compiled" / "triton")


def _load_piper(settings: TtsSettings) -> SpeechEngine:
    own = settings.piper
    folder = ModelStore(settings.data_dir).complete_folder("piper") if own.dir is None else own.dir
    if importlib.util.find_spec("onnxruntime") is None:
        raise NotReadyError("Piper's voices run on onnxruntime, which is not installed: `pip install 'avatar[tts]'`")
    from services.tts.engines.piper import PiperEngine

    return PiperEngine(folder, settings.max_streams, own.max_loaded)
