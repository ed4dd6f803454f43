"""Picks the engine; each other module here is one engine by its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from services.common.errors import NotReadyError
from services.stt.engine import SpeechEngine
from services.stt.settings import EngineName, SttSettings


@dataclass(frozen=True, slots=True)
class Selection:
    """A loaded engine, its name as in the settings, and one sentence that says why it was taken."""

    engine: SpeechEngine
    name: str
    reason: str


# What auto tries, the best first; the last one runs everywhere.
_BEST_FIRST: tuple[EngineName, ...] = ("whisper", "pocketsphinx")
_RUNS_EVERYWHERE = "it runs everywhere and understands English only"


def load(settings: SttSettings) -> Selection:
    """Load the engine that the settings ask for.

    Raises: NotReadyError if something is missing that it needs, in a sentence; EngineError if it fails.
    """
    if settings.engine != "auto":
        engine = _load(settings.engine, settings)
        return Selection(engine, settings.engine, f"the settings ask for it{_runs_on(engine)}")
    reasons = []
    for name in _BEST_FIRST[:-1]:
        try:
            engine = _load(name, settings)
        except NotReadyError as missing:
            reasons.append(str(missing))
        else:
            return Selection(engine, name, "; ".join([*reasons, f"the best that runs here{_runs_on(engine)}"]))
    last = _BEST_FIRST[-1]
    return Selection(_load(last, settings), last, "; ".join([*reasons, _RUNS_EVERYWHERE]))


def _runs_on(engine: SpeechEngine) -> str:
    return f" ({engine.capabilities.runs_on})" if engine.capabilities.runs_on else ""


def _load(name: EngineName, settings: SttSettings) -> SpeechEngine:
    """Raises: NotReadyError where the engine cannot run here now; what auto passes over then."""
    match name:
        case "whisper":
            from services.stt.engines.whisper.engine import load

            return load(settings.whisper, settings.data_dir / "models")
        case "pocketsphinx":
            from services.stt.engines.pocketsphinx import PocketsphinxEngine

            return PocketsphinxEngine(settings.pocketsphinx.spare_workers)
        case _:
            assert_never(name)
