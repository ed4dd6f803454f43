"""A person at a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
from collections.abc import Mapping
from typing import Self

from tests.stack import ROOT

LIMIT_S = 30
CTRL_C = "\x03"


class Terminal:
    """A person who has a command in front."""

    def __init__(self, env: Mapping[str, str], *command: str) -> None:
        self._here, there = pty.openpty()
        self._process = subprocess.Popen(
            command,
            env=dict(env) | {"TERM": "xterm"},
            cwd=ROOT,
            stdin=there,
            stdout=there,
            stderr=there,
            # The terminal is its own: what is typed there can be a signal.
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(there)
        self.seen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End what a test that failed left running."""
        self._process.kill()
        self._process.wait()

    def sees(self, words: str) -> None:
        while words not in self.seen:
            assert self._read(), f"{words!r} is not in {self.seen}"

    def types(self, words: str) -> None:
        os.write(self._here, words.encode())

    def ends(self, status: int) -> None:
        while self._read():
            pass
        os.close(self._here)
        assert self._process.wait(LIMIT_S) == status, self.seen

    def _read(self) -> bool:
        assert select.select([self._here], [], [], LIMIT_S)[0], self.seen
        try:
            self.seen += os.read(self._here, 1 << 16).decode(errors="replace")
        except OSError:  # nobody holds the other end any more
            return False
        return True


def _take_terminal() -> None:
    """Make standard input the terminal that rules this session, so that Ctrl-C reaches the command."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
