"""The locks: what the product runs on, and that with what the tests need besides."""

from __future__ import annotations

import tomllib

import pytest

from tools.image_requirements import ROOT, direct, entries

RUN = entries((ROOT / "requirements.lock").read_text())
DEV = entries((ROOT / "requirements-dev.lock").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pin(lines: str) -> str:
    """The first line of a lock's entry: name, version, and where it applies."""
    return lines.splitlines()[0]


def test_a_package_has_one_version_in_both_locks() -> None:
    assert {name: pin(lines) for name, lines in RUN.items()} == {
        name: pin(lines) for name, lines in DEV.items() if name in RUN
    }


def test_each_extra_of_the_product_can_be_installed_from_the_lock() -> None:
    extras = ("stt", "tts", "render", "orchestrator", "envoy", "otel", "cli")
    assert direct(PROJECT, extras) <= RUN.keys()


def test_what_only_the_tests_need_is_not_installed_to_run() -> None:
    only_tests = {"atheris", "hypothesis", "mypy", "playwright", "pytest", "ruff", "uv"}
    assert only_tests <= DEV.keys()
    assert not only_tests & RUN.keys()


def test_production_engines_are_not_installed_to_run() -> None:
    assert not {"torch", "transformers", "coqui-tts", "ctranslate2"} & RUN.keys()


@pytest.mark.parametrize("lock", [RUN, DEV], ids=["run", "dev"])
def test_no_lock_chooses_a_build_of_pytorch(lock: dict[str, str]) -> None:
    assert "torch" not in lock
    assert not {name for name in lock if name.startswith("nvidia-")}
