"""Keeps the logs of a stack within bounds: one that is full becomes an older one, and the oldest goes."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

# Of one log; as many bytes again for each older one that is kept, and what comes in between two looks.
MAX_LOG_BYTES = 10 * 1024 * 1024
OLDER_LOGS = 3
LOOK_EVERY_S = 10.0
_SUFFIXES = (".log", ".jsonl")


async def keep_bounded(folder: Path) -> None:
    """Look after the logs of a folder until cancelled."""
    while True:
        await asyncio.to_thread(rotate, folder, MAX_LOG_BYTES)
        await asyncio.sleep(LOOK_EVERY_S)


def rotate(folder: Path, max_bytes: int) -> None:
    """Put aside every log that is larger: render.log becomes render.log.1, the one before it render.log.2."""
    for log in folder.iterdir():
        if log.suffix in _SUFFIXES and log.stat().st_size > max_bytes:
            _put_aside(log)


def _put_aside(log: Path) -> None:
    for number in range(OLDER_LOGS - 1, 0, -1):
        if _older(log, number).exists():
            _older(log, number).replace(_older(log, number + 1))
    # Copied and emptied instead of renamed: its writer has it open, appends, and need not know. What is written between
    # the copy's last read and the cut is lost: at most a line or two.
    with log.open("r+b") as full:
        try:
            with _older(log, 1).open("wb") as copy:
                shutil.copyfileobj(full, copy)
        except OSError:
            # No room for an older one on this disk; the log must not grow for that.
            _older(log, 1).unlink(missing_ok=True)
        full.truncate(0)


def _older(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")
