"""Runs the commands of a document as a reader would: in a shell, from top to bottom, against a running stack."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.stack import ROOT, EdgePorts

LIMIT_S = 90.0
_BIN = {
    "buf": [str(ROOT / "tools/node/node_modules/.bin/buf")],
    "grpcurl": [sys.executable, str(ROOT / "tests/fakes/grpcurl.py")],
    "avatar": [sys.executable, "-m", "tools.cli"],
    "python": [sys.executable],
}
_PUBLIC = {8081: "render", 8082: "tts", 8083: "stt", 8084: "stt_second", 8085: "page", 8086: "legacy"}
# An answer that is an error fails the document, unless the command shows its status; time that a document itself sets
# to an endless call does not.
_PRELUDE = """\
set -euo pipefail
curl() {
  local fail=--fail-with-body status=0
  [[ "$*" != *http_code* ]] || fail=
  command curl $fail "$@" || status=$?
  [[ $status = 28 && "$*" == *--max-time* ]] || return $status
}
timeout() { local status=0; command timeout "$@" || status=$?; [ $status = 124 ] || return $status; }
"""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Args:
        language: after the fence.
        line: of the fence, from 1.
        not_run: why, if it is not; a line above the fence says `<!-- not run: REASON -->`.
        file: what a reader saves it as; a line above says `<!-- file: NAME -->`.
    """

    document: Path
    line: int
    language: str
    text: str
    not_run: str = ""
    file: str = ""

    @property
    def place(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks(document: Path) -> Iterator[Block]:
    """The fenced blocks of a document, in order."""
    text = document.read_text()
    said = r"(?:<!-- (?:not run: (?P<why>[^\n]+?)|file: (?P<file>[^\n]+?)) -->\n)?"
    fence = re.compile(rf"^{said}```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
    for found in fence.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        yield Block(document, line, found["language"], found["text"], found["why"] or "", found["file"] or "")


def programs(folder: Path) -> Path:
    """A folder with the programs that documents call, by name or as those of the project's own environment."""
    made = folder / ".venv" / "bin"
    made.mkdir(parents=True)
    for name, command in _BIN.items():
        (made / name).write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        (made / name).chmod(0o755)
    return made


def with_ports(text: str, ports: EdgePorts) -> str:
    """The commands as they would be with other ports than the usual ones."""
    return re.sub(
        r"\b(localhost:)(808[1-6])\b", lambda found: found[1] + str(getattr(ports, _PUBLIC[int(found[2])])), text
    )


async def run(document: Path, folder: Path, ports: EdgePorts, env: Mapping[str, str]) -> str:
    """Run every shell block of a document in one shell. Returns: what it printed. Raises: AssertionError.

    Args: folder: where the shell starts; env: besides this process's own.
    """
    script = [_PRELUDE]
    for block in blocks(document):
        if block.language == "sh" and not block.not_run:
            script += [f"echo '### {block.place}'", with_ports(block.text, ports)]
    path = f"{programs(folder)}:{os.environ['PATH']}"
    public = {f"NETWORK_{name.upper()}_PORT": str(port) for name, port in dataclasses.asdict(ports).items()}
    environment = os.environ | {"PATH": path, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto/gen'}"} | public | dict(env)
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-c", "\n".join(script)),
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            printed, _ = await shell.communicate()
    finally:
        # A command that hangs goes with its shell.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    text = printed.decode(errors="replace")
    assert shell.returncode == 0, f"{document.name} failed ({shell.returncode}):\n{_short(text)}"
    return text


def _short(text: str) -> str:
    """The end of an output, without the base64 in it."""
    return re.sub(r"[A-Za-z0-9+/=]{200,}", "...", text)[-6000:]
