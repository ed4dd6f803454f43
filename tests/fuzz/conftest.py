"""What the fuzzers share."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.settings import ServerSettings


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory of its own, with the models that are installed."""
    (tmp_path / "models").symlink_to(ServerSettings().data_dir / "models")
    return tmp_path
