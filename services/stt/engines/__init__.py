"""Picks the engine; each other module here is one engine by its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from services.stt.engine import SpeechEngine
from services.stt.settings import SttSettings


@dataclass(frozen=True, slots=True)
class Selection:
    """A loaded engine, its name as in the settings, and one sentence that says why it was taken."""

    engine: SpeechEngine
    name: str
    reason: str


def load(settings: SttSettings) -> Selection:
    """Load the engine that the settings ask for. Raises: EngineError if it cannot run here."""
    match settings.engine:
        case "auto":
            reason = "the only recogniser of this version; it runs everywhere and understands English only"
        case "pocketsphinx":
            reason = "the settings ask for it"
        case _:
            assert_never(settings.engine)
    from services.stt.engines.pocketsphinx import PocketsphinxEngine

    return Selection(PocketsphinxEngine(settings.pocketsphinx.spare_workers), "pocketsphinx", reason)
