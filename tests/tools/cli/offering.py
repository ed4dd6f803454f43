"""`avatar`, as a process, on a machine without a GPU and with tiny models of speech in the published layout.

python -m tests.tools.cli.offering up runs the command; the services that the command starts come through here too, so
that they know the same models. TEST_MODELS is the folder of `build`, TEST_GPU the node of a driver that may be there.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

from services.common import gpu, model_manifest
from services.common.model_manifest import Model
from tests.fakes.hub import model_of


def build(folder: Path) -> Path:
    """Write the models into a folder."""
    from tests.fakes.nemo_models import build_parakeet
    from tests.fakes.piper_voice import build_voice

    build_parakeet(folder / "parakeet")
    build_voice(folder / "piper/de/de_DE/thorsten/medium", "de_DE-thorsten-medium", "de", seed=1)
    build_voice(folder / "piper/en/en_US/ljspeech/medium", "en_US-ljspeech-medium", "en-us", seed=2)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """Content by path, of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def tiny(model: Model, folder: Path) -> Model:
    """One in a folder of `build`, with the name and the licence of the real one."""
    of_the_real = {name: getattr(model, name) for name in ("name", "service", "purpose", "licence", "folder")}
    return model_of(files_of(folder / model.name), **of_the_real)


def manifest(folder: Path) -> tuple[Model, ...]:
    """All models, of which some are tiny: those in a folder of `build`."""
    return tuple(tiny(model, folder) if (folder / model.name).is_dir() else model for model in model_manifest.MODELS)


if __name__ == "__main__":
    model_manifest.MODELS = manifest(Path(os.environ["TEST_MODELS"]))
    gpu._NODES = tuple(Path(node) for node in os.environ.get("TEST_GPU", "").split())
    if sys.argv[1].startswith("services."):
        runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
    else:
        from tools.cli import processes
        from tools.cli.__main__ import main

        processes._MODULES |= {name: ("tests.tools.cli.offering", f"services.{name}") for name in ("stt", "tts")}
        main(sys.argv[1:])
