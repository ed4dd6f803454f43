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


def fuzz(*command: str, work: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("atheris", reason="atheris has wheels for x86-64 only")
    work.mkdir()
    paths = os.pathsep.join([str(ROOT), str(ROOT / "proto/gen")])
    return subprocess.run(
        [sys.executable, *command],
        cwd=work,
        env=os.environ | {"PYTHONPATH": paths, "TMPDIR": str(work)},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(60 + RUNS // 100)
@pytest.mark.parametrize("name", PARSERS)
def test_no_file_breaks_its_reader(name: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    fuzzed = fuzz("-m", "tests.fuzz.guided", name, str(tmp_path), f"-runs={RUNS}", f"-seed={SEED}", work=work)
    assert fuzzed.returncode == 0, fuzzed.stderr[-4000:]
    assert f"Done {RUNS} runs" in fuzzed.stderr
    assert list((tmp_path / "found").iterdir()) == []
    assert list(work.iterdir()) == []
    # The guidance works: inputs were kept because they reached new code.
    assert len(list((tmp_path / "kept").iterdir())) > len(PARSERS[name].seeds()) + 5


BOMB = """
from tests.fuzz import guided, parsers
def read(data):
    if data == b"bomb":
        b"1" * ((guided.MOST_MIB + 50) << 20)
guided.PARSERS["bomb"] = parsers.Parser(lambda: [b"good", b"bomb", b"also good"], read)
guided.main()
"""


@pytest.mark.slow
def test_a_bomb_is_found_at_once_and_by_name(tmp_path: Path) -> None:
    fuzzed = fuzz("-c", BOMB, "bomb", str(tmp_path), "-runs=10", "-seed=1", work=tmp_path / "work")
    assert fuzzed.returncode != 0
    assert "MemoryError: 4 bytes took the process to" in fuzzed.stdout + fuzzed.stderr
    (found,) = (tmp_path / "found").iterdir()
    assert found.read_bytes() == b"bomb"
