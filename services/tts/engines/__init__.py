"""Picks the engine; each other module here is one engine by its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from services.tts.engine import SpeechEngine
from services.tts.settings import TtsSettings


@dataclass(frozen=True, slots=True)
class Selection:
    """A loaded engine, its name as in the settings, and one sentence that says why it was taken."""

    engine: SpeechEngine
    name: str
    reason: str


def load(settings: TtsSettings) -> Selection:
    """Load the engine that the settings ask for. Raises: EngineError if it cannot run here."""
    match settings.engine:
        case "auto":
            reason = "the only voice engine of this version; it runs everywhere"
        case "espeak":
            reason = "the settings ask for it"
        case _:
            assert_never(settings.engine)
    from services.tts.engines.espeak import EspeakEngine

    return Selection(EspeakEngine(settings.max_streams, settings.default_voice), "espeak", reason)
