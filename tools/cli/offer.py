"""Offers once, at a terminal, the models by which a machine without a GPU hears and speaks well."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from pathlib import Path

from services.common import gpu, model_manifest
from services.common.errors import AvatarError, InvalidRequestError
from services.common.model_hub import Hub
from services.common.model_manifest import Model
from services.common.model_store import ModelStore, pull_command
from tools.cli import models
from tools.cli.settings import StackSettings

# Whoever has no network waits for no longer than this, at each start.
_PROBE_S = 2.0


def offer(settings: StackSettings) -> None:
    """Ask whether to fetch them and, after a yes, fetch them; a no is kept in the data directory.

    Nobody is asked who could not answer, has answered no, or has a GPU, a model of speech or other wishes in the
    settings; nor where no hub can be reached. A start goes on whatever becomes of it.

    Raises: KeyboardInterrupt at the question; OSError if a no cannot be kept.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or gpu.is_here() or _answer_file(settings).exists():
        return
    wanted = _wanted(settings)
    try:
        hub = Hub.from_environment(os.environ)
    except InvalidRequestError:
        return
    if not wanted or not hub.has(wanted[0], _PROBE_S):
        return
    command = pull_command(*wanted)
    if not _agrees(wanted, hub, command):
        _keep_no(settings, wanted)
        print(f"You will not be asked again; `{command}` fetches them.")
        return
    try:
        models.fetch(wanted, settings.data_dir, hub)
    except (AvatarError, OSError) as error:
        print(f"{error}.\nThe avatar starts with what is here; `{command}` fetches the rest.")
    except KeyboardInterrupt:
        print("The avatar starts with what is here.")


def _answer_file(settings: StackSettings) -> Path:
    return settings.data_dir / "offers" / "speech-models.json"


def _wanted(settings: StackSettings) -> list[Model]:
    """The models that the services would take at their next start; none where somebody has fetched any for them."""
    store = ModelStore(settings.data_dir)
    if any(store.state(model).is_complete for model in model_manifest.MODELS if model.service in ("stt", "tts")):
        return []
    stt, tts = settings.stt, settings.tts
    chosen = {"parakeet": (stt.engine, stt.parakeet.dir), "piper": (tts.engine, tts.piper.dir)}
    return [
        model_manifest.find(name)
        for name, (engine, folder) in chosen.items()
        if engine in ("auto", name) and folder is None
    ]


def _agrees(wanted: list[Model], hub: Hub, command: str) -> bool:
    """Say what there is, how large and under which licences, and ask."""
    print(
        "As it is, speech is recognised in English only and with many errors, and spoken by a voice that sounds like\n"
        f"a robot. Better models that need no GPU can be fetched from {hub.host}:\n"
    )
    for model in wanted:
        models.describe(model)
    total = models.size_words(sum(model.size_bytes for model in wanted))
    print(f"\nThat is {total} in all, once. `{command}` fetches them at any other time.")
    try:
        return input("Fetch them now? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def _keep_no(settings: StackSettings, wanted: list[Model]) -> None:
    file = _answer_file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    said = {"declined_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds")}
    file.write_text(json.dumps(said | {"models": [model.name for model in wanted]}, indent=2))
