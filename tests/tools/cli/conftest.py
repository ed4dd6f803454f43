"""A stack of the test's own, as settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stack import config_file
from tools.cli.settings import StackSettings, read_all


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackSettings:
    """Free ports, and data in the test's folder."""
    path = config_file(tmp_path)
    monkeypatch.setenv("AVATAR_CONFIG", str(path))
    monkeypatch.delenv("AVATAR_DATA_DIR", raising=False)
    return read_all()
