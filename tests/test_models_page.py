"""docs/models.md says of every model what the manifest says."""

from __future__ import annotations

from pathlib import Path

from services.common.model_manifest import MODELS
from tests.stack import ROOT
from tools.cli.models import size_words

PAGE: Path = ROOT / "docs/models.md"


def _rows() -> dict[str, list[str]]:
    """The table's cells by the name in the first."""
    lines = (line for line in PAGE.read_text().splitlines() if line.startswith("| `"))
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {row[0].strip("`"): row[1:] for row in cells if row[0].strip("`") in {model.name for model in MODELS}}


def test_the_page_names_every_model_as_the_manifest_does() -> None:
    rows = _rows()
    assert list(rows) == [model.name for model in MODELS]
    for model in MODELS:
        service, purpose, size, licence, hardware, folder = rows[model.name]
        assert (service, size, folder) == (model.service, size_words(model.size_bytes), f"`{model.folder}`")
        assert licence.endswith(f"[{model.licence.title}]({model.licence.url})")
        # Some engines run on either; the manifest says where each of them is quick enough.
        assert ("GPU" in hardware) is ("GPU" in model.purpose), purpose


def test_the_page_says_which_models_are_not_for_commerce() -> None:
    for model in MODELS:
        is_marked = "**not for commercial use**" in _rows()[model.name][3]
        assert is_marked is ("non-commercial" in model.licence.title) is model.licence.needs_yes
