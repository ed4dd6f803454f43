"""What a process holds, as the kernel tells it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_PAGE_BYTES = 4096


@dataclass(frozen=True)
class Usage:
    """Args: memory_mib: resident; files: open ones, sockets too."""

    memory_mib: float
    files: int
    threads: int


def usage_of(pid: int) -> Usage:
    """Of a process without its children."""
    folder = Path(f"/proc/{pid}")
    resident = int((folder / "statm").read_text().split()[1]) * _PAGE_BYTES
    files, threads = (len(list((folder / name).iterdir())) for name in ("fd", "task"))
    return Usage(resident / 2**20, files, threads)
