"""Parakeet and Canary as speech engines."""

from __future__ import annotations

from pathlib import Path

from services.stt.engine import Capabilities, Hearing, SpeechStream
from services.stt.engines.nemo.model import SAMPLE_RATE_HZ, Kind, Model
from services.stt.engines.nemo.streams import Desk, NemoStream


class NemoEngine:
    """A loaded model and the thread that works for all of its streams."""

    def __init__(self, kind: Kind, folder: Path, device: str) -> None:
        """Args and raises: as `Model`."""
        model = Model(kind, folder, device)
        languages = model.languages
        translations = {(one, "en") for one in languages if one != "en"} | {("en", one) for one in languages[1:]}
        self.capabilities = Capabilities(
            sample_rate_hz=SAMPLE_RATE_HZ,
            languages=languages,
            detects_languages=not kind.is_told_language,
            names_languages=False,
            # Canary translates to English and from it.
            translations=frozenset(translations) if kind.is_told_language else frozenset(),
            runs_on=model.description,
        )
        self._desk = Desk(model)

    def open_stream(self, hearing: Hearing) -> SpeechStream:
        """As `SpeechEngine.open_stream`."""
        return NemoStream(self._desk, hearing)

    def close(self) -> None:
        """As `SpeechEngine.close`."""
        self._desk.close()
