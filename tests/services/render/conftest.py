"""What the tests of the face share: the models that set-up fetched, and the portrait that ships."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.settings import ServerSettings
from services.render.avatars import _DEFAULT_PORTRAIT
from services.render.engines.mesh import MeshAvatar, MeshEngine
from services.render.image_file import decode
from services.render.landmarks import FaceLandmarker
from services.render.portrait import Examined, PortraitExaminer

INSTALLED = ServerSettings().data_dir


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory of its own, with the models that are installed."""
    (tmp_path / "models").symlink_to(INSTALLED / "models")
    return tmp_path


@pytest.fixture(scope="session")
def default_file() -> bytes:
    return _DEFAULT_PORTRAIT.read_bytes()


@pytest.fixture(scope="session")
def landmarker() -> FaceLandmarker:
    return FaceLandmarker(INSTALLED)


@pytest.fixture(scope="session")
def examiner() -> PortraitExaminer:
    return PortraitExaminer(INSTALLED)


@pytest.fixture(scope="session")
def examined(examiner: PortraitExaminer, default_file: bytes) -> Examined:
    return examiner.examine(decode(default_file))


@pytest.fixture(scope="session")
def engine() -> MeshEngine:
    return MeshEngine(INSTALLED)


@pytest.fixture(scope="session")
def ava(engine: MeshEngine, examined: Examined) -> MeshAvatar:
    return engine.prepare(examined.portrait)
