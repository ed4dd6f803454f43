"""The readers of strangers' files, by 10,000 guided inputs each: no crash, no hang, no bomb, no leftover."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.parsers import PARSERS
from tests.stack import ROOT

RUNS = int(os.environ.get("AVATAR_FUZZ_RUNS", "10000"))
SEED = int(os.environ.get("AVATAR_FUZZ_SEED", "1"))


@pytest.mark.parametrize("name", PARSERS)
def test_every_valid_file_is_taken(name: str) -> None:
    parser = PARSERS[name]
    assert all(parser.try_on(file) for file in parser.seeds())


@pytest.mark.slow
@pytest.mark.timeout(60 + RUNS // 100)
@pytest.mark.parametrize("name", PARSERS)
def test_no_file_breaks_its_reader(name: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris has wheels for x86-64 only")
    work = tmp_path / "work"
    work.mkdir()
    command = [sys.executable, "-m", "tests.fuzz.guided", name, str(tmp_path), f"-runs={RUNS}", f"-seed={SEED}"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "proto/gen")])
    fuzzed = subprocess.run(
        command,
        cwd=work,
        env=os.environ | {"PYTHONPATH": paths, "TMPDIR": str(work)},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert fuzzed.returncode == 0, fuzzed.stderr[-4000:]
    assert f"Done {RUNS} runs" in fuzzed.stderr
    assert list((tmp_path / "found").iterdir()) == []
    assert list(work.iterdir()) == []
    # The guidance works: inputs were kept because they reached new code.
    assert len(list((tmp_path / "kept").iterdir())) > len(PARSERS[name].seeds()) + 5
