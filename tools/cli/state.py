"""What a running stack says about itself, in a file below its data directory."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.cli.settings import StackSettings


@dataclass(frozen=True, slots=True)
class State:
    """A stack that runs.

    Args:
        pid: of its supervisor.
        is_ready: whether everything has served.
        lan: whether it asks for the token; the command line that started it may have said so, not the settings.
        stop_s: how long it may take to end.
    """

    pid: int
    is_ready: bool
    lan: bool
    stop_s: float


def _file(settings: StackSettings) -> Path:
    return settings.data_dir / "run" / "state.json"


def log_file(settings: StackSettings, name: str) -> Path:
    """Where the output of a process is kept."""
    return settings.data_dir / "logs" / f"{name}.log"


@contextlib.contextmanager
def claimed(settings: StackSettings) -> Iterator[bool]:
    """Claim the data directory for one stack. Gives: False if another has it; a claim ends with its process."""
    with _file(settings).with_name("claim").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def write(settings: StackSettings, state: State) -> None:
    """Replace what the file says, at once."""
    part = _file(settings).with_suffix(".part")
    part.write_text(json.dumps(asdict(state)))
    part.replace(_file(settings))


def forget(settings: StackSettings) -> None:
    """Say that nothing runs any more."""
    _file(settings).unlink(missing_ok=True)


def running(settings: StackSettings) -> State | None:
    """The stack of these settings, if it runs."""
    try:
        state = State(**json.loads(_file(settings).read_text()))
        os.kill(state.pid, 0)
    except (OSError, ValueError, TypeError):
        return None
    # The number may have gone to another program since; only Linux says to which.
    with contextlib.suppress(FileNotFoundError):
        command = Path(f"/proc/{state.pid}/cmdline").read_bytes()
        if b"avatar" not in command and b"tools.cli" not in command:
            return None
    return state
