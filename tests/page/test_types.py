"""The page's scripts under TypeScript's checker; their types stand in JSDoc."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TSC = HERE.parents[1] / "tools/node/node_modules/.bin/tsc"


@pytest.mark.slow
def test_the_scripts_of_the_page_are_typed() -> None:
    checked = subprocess.run([TSC, "-p", HERE / "tsconfig.json"], capture_output=True, text=True, timeout=110)
    assert checked.returncode == 0, checked.stdout
