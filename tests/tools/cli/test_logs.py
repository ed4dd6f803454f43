"""Logs are bounded, in size and in number, while their writers go on."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from tests.tools.cli.test_supervisor import Told
from tools.cli import logs, processes, supervisor
from tools.cli.processes import Process
from tools.cli.settings import StackSettings
from tools.cli.supervisor import StackError, Supervisor


def test_a_full_log_is_put_aside_and_the_oldest_goes(tmp_path: Path) -> None:
    log = tmp_path / "render.log"
    with log.open("a") as writer:
        for number in range(6):
            writer.write(f"{number}" * 100)
            writer.flush()
            logs.rotate(tmp_path, max_bytes=99)
        writer.write("now")
    assert log.read_text() == "now"
    kept = {path.name: path.read_text()[0] for path in tmp_path.iterdir() if path != log}
    assert kept == {"render.log.1": "5", "render.log.2": "4", "render.log.3": "3"}


def test_a_log_with_room_and_what_is_no_log_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "render.log").write_text("x" * 99)
    (tmp_path / "notes.txt").write_text("x" * 200)
    (tmp_path / "access.jsonl").write_text("x" * 200)
    logs.rotate(tmp_path, max_bytes=99)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "access.jsonl",
        "access.jsonl.1",
        "notes.txt",
        "render.log",
    ]
    assert not (tmp_path / "access.jsonl").read_text()


def test_a_log_that_cannot_be_copied_is_bounded_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", fail)
    (tmp_path / "render.log").write_text("x" * 200)
    logs.rotate(tmp_path, max_bytes=99)
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [("render.log", 0)]


@pytest.mark.slow
async def test_the_supervisor_bounds_what_its_processes_write(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "envoy_files", lambda _: [])
    monkeypatch.setattr(supervisor, "READY_S", 20.0)
    monkeypatch.setattr(logs, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(logs, "MAX_LOG_BYTES", 1000)
    folder = settings.data_dir / "logs"
    oldest = folder / f"chatty.log.{logs.OLDER_LOGS}"
    # It writes until it sees that its log was put aside that often.
    program = (
        f"import os\nwhile not os.path.exists({str(oldest)!r}): print('x' * 100, flush=True)\nraise SystemExit(78)"
    )
    chatty = Process("chatty", (sys.executable, "-c", program), settings.render.port)
    with pytest.raises(StackError, match="chatty cannot start"):
        await Supervisor(settings, [chatty], Told()).run()
    assert not (folder / f"chatty.log.{logs.OLDER_LOGS + 1}").exists()
