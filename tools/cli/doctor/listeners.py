"""Who listens at a TCP port of this machine, from what Linux says in /proc."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Linux, include/net/tcp_states.h.
_LISTEN = "0A"


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that listens."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


def _sockets_at(port: int) -> Iterator[str]:
    """Inodes of the sockets that listen at a port; https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html"""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def owner_of(port: int) -> Owner | None:
    """None if nobody listens, or a process of another user does."""
    wanted = {f"socket:[{inode}]" for inode in _sockets_at(port)}
    if not wanted:
        return None
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(str(file.readlink()) in wanted for file in (folder / "fd").iterdir()):
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                return Owner(int(folder.name), " ".join(words).strip()[:80])
    return None


def is_descendant(pid: int, ancestor: int) -> bool:
    """Whether a process was started by another, or by one that it started."""
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            # The name in brackets may hold anything.
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            return False
    return False
