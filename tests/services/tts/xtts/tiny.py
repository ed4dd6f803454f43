"""XTTS v2 with random weights and few of them, in the layout in which it is published; built in a second."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

# 1.7 s.
TOKENS = 36
SPEAKERS = ("Ana Tiny", "Björn Tiny")


def narrow() -> AbstractContextManager[None]:
    """While it lasts, the library builds vocoders as narrow as those here: config.json does not say their width."""
    from services.tts.engines.xtts.checkpoint import Library
    from services.tts.engines.xtts.random_weights import NARROW

    return Library().vocoders_of(NARROW.vocoder_channels)


def write_official_folder(
    folder: Path, speakers: Sequence[str] = SPEAKERS, tokens: int = TOKENS, temperature: float | None = None
) -> None:
    """The model's files.

    Args:
        speakers: names of the voices in it; tokens: after which it has said any text.
        temperature: at which tokens are drawn, None for the published one.
    """
    from services.tts.engines.xtts import random_weights

    random_weights.write_official_folder(folder, random_weights.NARROW, tokens=tokens, speakers=speakers)
    if temperature is not None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"temperature": temperature}))


def engine(speakers: int) -> Any:
    """An engine on such a model, on the CPU."""
    from services.tts.engines.xtts.engine import XttsEngine

    with tempfile.TemporaryDirectory(prefix="xtts-") as folder:
        write_official_folder(Path(folder))
        return XttsEngine(Path(folder), "cpu", speakers)
