"""The supervisor says in words what went wrong, and leaves nothing running."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.stack import free_ports
from tools.cli import processes, supervisor
from tools.cli.processes import Process
from tools.cli.supervisor import StackError, Supervisor


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack of this test's own: its data, no public ports, no Envoy."""
    monkeypatch.setenv("AVATAR_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(supervisor, "_PUBLIC_PORTS", ())
    monkeypatch.setattr(processes, "envoy_files", list)


def writing_its_pid(path: Path, port: int) -> Process:
    """A process that runs and never serves."""
    program = f"import os, time; open({str(path)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    return Process("mute", (sys.executable, "-c", program), port)


@pytest.mark.slow
async def test_a_process_that_never_serves_is_named_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "READY_S", 1.0)
    (port,) = free_ports(1)
    with pytest.raises(StackError, match="mute did not become ready within 1 s"):
        await Supervisor([writing_its_pid(tmp_path / "pid", port)]).run()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert supervisor.running_pid() is None
