"""The supervisor says in words what went wrong, waits for its children, and leaves nothing running."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.cli import processes, stack, state, supervisor
from tools.cli.processes import Process
from tools.cli.settings import StackSettings, listeners, read_all
from tools.cli.state import State
from tools.cli.supervisor import StackError, Supervisor


@pytest.fixture(autouse=True)
def without_envoy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "envoy_files", lambda _: [])


class Told:
    """Keeps what a person would have been told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def serves(self, name: str, engine: str, after_s: float) -> None:
        self.lines.append(f"{name} serves")

    def ready(self, after_s: float) -> None:
        self.lines.append("ready")

    def ended(self, name: str, status: int, wait_s: float, log: str) -> None:
        self.lines.append(f"{name} ended with {status}")

    def gave_up(self, name: str, why: str) -> None:
        self.lines.append(f"{name} gave up: {why}")

    def note(self, sentence: str) -> None:
        self.lines.append(sentence)


def writing_its_pid(path: Path, port: int, *, stubborn: bool = False, stop_s: float = 10.0) -> Process:
    """A process that runs and never serves. Args: stubborn: it does not end when it is asked to."""
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " if stubborn else ""
    program = f"import os, signal, time; {deaf}open({str(path)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    return Process(path.name, (sys.executable, "-c", program), port, stop_s)


def assert_gone(path: Path) -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(int(path.read_text()), 0)


@pytest.mark.slow
async def test_a_process_that_never_serves_is_named_and_ended(
    settings: StackSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "READY_S", 1.0)
    mute = writing_its_pid(tmp_path / "mute", settings.render.port)
    with pytest.raises(StackError, match="mute did not become ready within 1 s"):
        await Supervisor(settings, [mute], Told()).run()
    assert_gone(tmp_path / "mute")
    assert state.running(settings) is None


@pytest.mark.slow
async def test_children_that_do_not_end_are_killed_after_their_time_and_not_one_after_the_other(
    settings: StackSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "READY_S", 1.0)
    ports = (settings.render.port, settings.tts.port, settings.stt.port)
    deaf = [writing_its_pid(tmp_path / f"deaf-{port}", port, stubborn=True, stop_s=1.0) for port in ports]
    started_s = time.monotonic()
    with pytest.raises(StackError):
        await Supervisor(settings, deaf, Told()).run()
    # One second until it gives up, one for all three to end.
    assert time.monotonic() - started_s < 3.5
    for process in deaf:
        assert_gone(tmp_path / process.name)


@pytest.mark.parametrize("setting", ["[network] tts_port", "[orchestrator] http_port"])
async def test_a_taken_port_is_named_before_anything_starts(
    setting: str, settings: StackSettings, tmp_path: Path
) -> None:
    [(host, port)] = [(host, port) for name, host, port in listeners(settings) if name == setting]
    with socket.socket() as other:
        other.bind((host, port))
        other.listen()
        child = writing_its_pid(tmp_path / "child", settings.render.port)
        with pytest.raises(StackError, match=f"port {port} is taken by another program(.*) set {re.escape(setting)}"):
            await Supervisor(settings, [child], Told()).run()
    assert not (tmp_path / "child").exists()


@pytest.mark.slow
async def test_a_process_that_ends_by_itself_is_started_again_until_that_is_in_vain(
    settings: StackSettings, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    program = f"open({str(count)!r}, 'a').write('x'); print('no disk'); raise SystemExit(3)"
    told = Told()
    process = Process("brief", (sys.executable, "-c", program), settings.render.port)
    with pytest.raises(StackError, match=r"brief ended with status 3 each of 3 times(.|\n)*no disk"):
        await Supervisor(settings, [process], told).run()
    assert told.lines == ["brief ended with 3"] * 2
    assert count.read_text() == "xxx"


@pytest.mark.slow
async def test_a_process_that_somebody_must_repair_is_started_once_and_says_what(
    settings: StackSettings, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    program = f"open({str(count)!r}, 'a').write('x'); raise SystemExit(print('the model file is damaged') or 78)"
    told = Told()
    process = Process("broken", (sys.executable, "-c", program), settings.render.port)
    with pytest.raises(StackError, match=r"^broken cannot start: the model file is damaged$"):
        await Supervisor(settings, [process], told).run()
    assert told.lines == []
    assert count.read_text() == "x"


async def test_one_data_directory_has_one_supervisor(settings: StackSettings, tmp_path: Path) -> None:
    """Two that start in the same moment find all ports free, and neither in the file that says what runs."""
    (settings.data_dir / "run").mkdir()
    child = writing_its_pid(tmp_path / "child", settings.render.port)
    with state.claimed(settings), pytest.raises(StackError, match="another `avatar up` has"):
        await Supervisor(settings, [child], Told()).run()
    assert not (tmp_path / "child").exists()
    with state.claimed(settings) as is_ours:
        assert is_ours


@pytest.mark.slow
def test_the_children_of_a_supervisor_that_was_killed_end_too(settings: StackSettings, tmp_path: Path) -> None:
    pid_file = tmp_path / "child"
    os.mkfifo(pid_file)
    program = (
        "import asyncio; from pathlib import Path; from tests.tools.cli import test_supervisor as test;"
        "test.processes.envoy_files = lambda _: [];"
        f"child = test.writing_its_pid(Path({str(pid_file)!r}), {settings.render.port});"
        "asyncio.run(test.Supervisor(test.read_all(), [child], test.Told()).run())"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=processes.ROOT) as parent:
        try:
            # Reading waits until the child writes.
            child = os.pidfd_open(int(pid_file.read_text()))
        finally:
            parent.kill()
    has_ended, _, _ = select.select([child], [], [], 10.0)
    if not has_ended:
        signal.pidfd_send_signal(child, signal.SIGKILL)
    os.close(child)
    assert has_ended


def test_a_stop_may_take_as_long_as_the_slowest_process_may(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RENDER_DRAIN__GRACE_S", "100")
    monkeypatch.setenv("NETWORK_DRAIN_S", "40")
    by_name = {process.name: process for process in processes.stack(read_all())}
    assert by_name["render"].stop_s > 100
    assert 40 < by_name["envoy"].stop_s < 100
    assert 5.5 < by_name["tts"].stop_s < 40


@pytest.mark.slow
def test_down_waits_for_the_end(settings: StackSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """Of something that takes a while, and that has the name of a supervisor."""
    (settings.data_dir / "run").mkdir()
    slow = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), sys.exit()));"
        "print('up', flush=True); time.sleep(60)  # tools.cli"
    )
    with subprocess.Popen([sys.executable, "-c", slow], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        state.write(settings, State(child.pid, is_ready=True, lan=False, stop_s=5.0))
        # Somebody must see that it has ended, or it stays in the table of processes.
        signal.signal(signal.SIGCHLD, lambda *_: child.poll())
        try:
            stack.down()
        finally:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # The last moments of a process, in which it has no memory any more, are not waited for.
        assert child.wait(0.25) == 0
    assert capsys.readouterr().out == "ended\n"
