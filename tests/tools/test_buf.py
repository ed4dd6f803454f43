"""The contract may grow and may not break: against which commit it is compared, and what is found."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import buf

TTS = "proto/avatar/tts/v1/tts.proto"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one commit that holds the contract; `tools.buf` works on it."""
    shutil.copytree(buf.ROOT / "proto/avatar", tmp_path / "proto/avatar")
    (tmp_path / "tools").mkdir()
    shutil.copy(buf.ROOT / "tools/buf.yaml", tmp_path / "tools")
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    commit(tmp_path)
    monkeypatch.setattr(buf, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["buf.py", "breaking"])
    monkeypatch.delenv(buf.BASE_KEY, raising=False)
    return tmp_path


def commit(folder: Path) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "a change")
    return git(folder, "rev-parse", "HEAD")


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / TTS
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


BREAKING = ("float speaking_rate = 3", "float speaking_rate = 7")


@pytest.mark.slow
def test_a_renumbered_field_is_refused_before_and_after_its_commit(
    clone: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edit(clone, *BREAKING)
    assert buf.main() == 1
    commit(clone)
    assert buf.main() == 1
    assert 'Previously present field "3"' in capfd.readouterr().out


@pytest.mark.slow
def test_a_new_field_is_welcome(clone: Path) -> None:
    edit(
        clone,
        "message ListVoicesRequest {",
        "message ListVoicesRequest {\n  // A part of the name.\n  string part = 99;",
    )
    assert buf.main() == 0


@pytest.mark.slow
def test_a_first_commit_breaks_nothing(clone: Path) -> None:
    assert buf.bases() == ["HEAD"]
    assert buf.main() == 0


def test_a_branch_is_compared_with_the_place_where_it_left_main(clone: Path) -> None:
    fork = git(clone, "rev-parse", "HEAD")
    git(clone, "update-ref", "refs/remotes/origin/main", fork)
    commit(clone)
    commit(clone)
    assert buf.bases() == ["HEAD", fork]


def test_main_itself_is_compared_with_the_commit_before(clone: Path) -> None:
    head = commit(clone)
    git(clone, "update-ref", "refs/remotes/origin/main", head)
    assert buf.bases() == ["HEAD", "HEAD~1"]


def test_a_named_base_that_is_not_there_is_an_error_that_says_so(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(buf.BASE_KEY, "v0.9")
    assert buf.main() == 1
    assert "there is no contract in v0.9" in capfd.readouterr().err


@pytest.mark.slow
def test_the_contract_passes_its_lint_and_a_badly_named_message_does_not(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["buf.py", "lint"])
    assert buf.main() == 0
    (clone / TTS).write_text((clone / TTS).read_text() + "\n// A name in the wrong case.\nmessage bad_name {}\n")
    assert buf.main() == 100
