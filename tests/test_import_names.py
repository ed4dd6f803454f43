"""Our top-level package names are generic, so prove that no dependency ships the same ones."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("package", ["services", "orchestrator", "tools", "avatar"])
def test_package_name_belongs_to_this_project_alone(package: str) -> None:
    spec = find_spec(package)
    assert spec is not None
    places = [Path(place) for place in spec.submodule_search_locations or []]
    assert places
    assert all(place.is_relative_to(ROOT) and ".venv" not in place.parts for place in places)
