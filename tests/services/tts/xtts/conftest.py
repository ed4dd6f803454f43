"""What the tests of XTTS share: a tiny model in the published layout, loaded by us and by the library."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

_NEEDED = ("torch", "TTS")


class WithoutLibrary(pytest.Module):
    """A file of tests that is not even imported."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        pytest.skip("coqui-tts or PyTorch is not installed: pip install 'avatar[xtts]'", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    if all(importlib.util.find_spec(name) for name in _NEEDED):
        return None
    return WithoutLibrary.from_parent(parent, path=module_path)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Narrow networks have too little work for several, and threads that wait for each other take their time."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    from tests.services.tts.xtts import tiny

    made = tmp_path_factory.mktemp("xtts")
    tiny.write_official_folder(made)
    return made


@pytest.fixture(scope="session")
def published(folder: Path) -> Any:
    """As we load it."""
    from services.tts.engines.xtts.checkpoint import Published

    return Published(folder)


@pytest.fixture(scope="session")
def official(folder: Path) -> Any:
    """As the library loads it, for the sake of comparison."""
    from TTS.tts.configs.xtts_config import XttsConfig
    from TTS.tts.models.xtts import Xtts

    from tests.services.tts.xtts import tiny

    config = XttsConfig()
    config.load_json(str(folder / "config.json"))
    with tiny.narrow():
        model = Xtts(config)
        model.load_checkpoint(config, checkpoint_dir=str(folder), eval=True)
    return model
