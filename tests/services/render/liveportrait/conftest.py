"""What the tests of LivePortrait share: narrow networks with random weights. Without PyTorch all are skipped."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from services.render.engines.liveportrait.networks import Networks
    from services.render.engines.liveportrait.pipeline import Pipeline

SEED = 1


class WithoutPyTorch(pytest.Module):
    """A file of tests that is not even imported."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        pytest.skip("PyTorch is not installed: pip install 'avatar[liveportrait]'", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    if importlib.util.find_spec("torch") is not None:
        return None
    return WithoutPyTorch.from_parent(parent, path=module_path)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Narrow networks have too little work for several, and threads that wait for each other take their time."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def official_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Narrow random weights as the official ones are published; not to be changed."""
    from services.render.engines.liveportrait.config import NARROW
    from services.render.engines.liveportrait.random_weights import write_official_folder

    folder = tmp_path_factory.mktemp("pretrained_weights")
    write_official_folder(folder, NARROW, SEED)
    return folder


@pytest.fixture(scope="session")
def networks() -> Networks:
    from services.render.engines.liveportrait.config import NARROW
    from services.render.engines.liveportrait.random_weights import random_networks

    return random_networks(NARROW, SEED)


@pytest.fixture(scope="session")
def pipeline(networks: Networks) -> Pipeline:
    from services.render.engines.liveportrait.pipeline import Pipeline

    return Pipeline(networks)
