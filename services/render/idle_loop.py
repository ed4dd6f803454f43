"""Idle faces without the engine: a loop of each avatar, drawn once, kept on disk, mapped into memory and played."""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import os
import secrets
import struct
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from services.common.errors import AvatarError, OverloadedError
from services.common.inference import InferenceThread
from services.common.log import get_logger
from services.render.engine import DeviceLostError, FaceState, VideoCodec
from services.render.idle_motion import LOOP_FRAMES, LOOP_RATE_HZ
from services.render.performance import idle_state

# Changes with the motion and with the file: loops of another version are drawn anew.
_VERSION = 1
_MAGIC = b"AVLOOP%02d" % _VERSION
# Magic, then how many frames there are; then where each begins and the last ends, then the frames.
_HEAD = struct.Struct("<8sI")
_UNFINISHED = "~"
# Loops that wait to be drawn; one more is asked for again with its next frame.
_MAX_WAITING = 64
log = get_logger(__name__)

Draw = Callable[[list[FaceState]], Awaitable[list[bytes]]]


@dataclass(frozen=True, slots=True)
class LoopKey:
    """What a loop shows and how: `sitter` and `look` name the portrait and the engine's pictures of it exactly."""

    sitter: str
    look: str
    size: int
    codec: VideoCodec

    @property
    def file_name(self) -> str:
        return f"{_name_of(self.sitter)}-{_name_of(f'{_VERSION} {self.look} {self.size} {self.codec.name}')}.loop"


def _name_of(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()[:24]


class LoopFile:
    """A loop that is mapped into memory; it stays whole when its file is removed. Opening it reads all of it."""

    def __init__(self, path: Path) -> None:
        """Raises: ValueError if the file is damaged; OSError."""
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._map.madvise(mmap.MADV_WILLNEED)
        table = struct.Struct(f"<{LOOP_FRAMES + 1}Q")
        if len(self._map) < _HEAD.size + table.size:
            raise ValueError(f"{path.name} is cut off")
        magic, count = _HEAD.unpack_from(self._map)
        if magic != _MAGIC or count != LOOP_FRAMES:
            raise ValueError(f"{path.name} is no loop of {LOOP_FRAMES} frames")
        self._offsets = table.unpack_from(self._map, _HEAD.size)
        is_rising = all(a < b for a, b in zip(self._offsets, self._offsets[1:], strict=False))
        if not is_rising or self._offsets[0] != _HEAD.size + table.size or self._offsets[-1] != len(self._map):
            raise ValueError(f"{path.name} is not as long as it says")
        for index in range(LOOP_FRAMES):
            self.frame(index)

    def frame(self, index: int) -> bytes:
        """The frame of a place, 0 to LOOP_FRAMES - 1: a copy from memory, in microseconds."""
        return self._map[self._offsets[index] : self._offsets[index + 1]]


def frame_index(position_s: float) -> int:
    """The frame that is nearest to a place of the loop in seconds."""
    return round(position_s * LOOP_RATE_HZ) % LOOP_FRAMES


class LoopStore:
    """A folder of loops: bounded, least lately used removed first, each written whole or not at all. Blocking."""

    def __init__(self, folder: Path, max_bytes: int, sitters: Collection[str]) -> None:
        """Args: sitters: whose loops are kept; what is left of others is removed."""
        self._folder = folder
        self._max_bytes = max_bytes
        known = {_name_of(sitter) for sitter in sitters}
        for path in folder.glob("*"):
            if path.name.partition("-")[0] not in known:
                path.unlink()
        self._make_room(0)

    def remove(self, sitter: str) -> None:
        """Remove all loops of a portrait."""
        for path in self._folder.glob(f"{_name_of(sitter)}-*"):
            path.unlink()

    def open(self, key: LoopKey) -> LoopFile | None:
        """A loop that was drawn before; a damaged one is removed."""
        path = self._folder / key.file_name
        try:
            loop = LoopFile(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as damaged:
            log.warning("idle_loop_damaged", file=path.name, error=str(damaged))
            path.unlink(missing_ok=True)
            return None
        os.utime(path)
        return loop

    def save(self, key: LoopKey, frames: list[bytes]) -> LoopFile | None:
        """Keep a loop. Returns: None if it is larger than all loops may be together. Raises: OSError."""
        table = struct.Struct(f"<{len(frames) + 1}Q")
        ends = [_HEAD.size + table.size]
        for frame in frames:
            ends.append(ends[-1] + len(frame))
        if not self._make_room(ends[-1]):
            return None
        self._folder.mkdir(parents=True, exist_ok=True)
        new = self._folder / f"{_UNFINISHED}{secrets.token_hex(8)}"
        try:
            with new.open("wb") as file:
                file.write(_HEAD.pack(_MAGIC, len(frames)))
                file.write(table.pack(*ends))
                file.writelines(frames)
                file.flush()
                os.fsync(file.fileno())
            # A file that is there is a whole one: renaming is the only step that shows it.
            new.rename(self._folder / key.file_name)
        finally:
            new.unlink(missing_ok=True)
        return LoopFile(self._folder / key.file_name)

    def _make_room(self, needed: int) -> bool:
        files = sorted(self._folder.glob("*.loop"), key=lambda path: path.stat().st_mtime)
        sizes = {path: path.stat().st_size for path in files}
        for path in files:
            if sum(sizes.values()) + needed <= self._max_bytes:
                break
            path.unlink()
            del sizes[path]
        return sum(sizes.values()) + needed <= self._max_bytes


class IdleLoops:
    """The loops that are there, and those that are being drawn, one after another."""

    def __init__(self, folder: Path, max_bytes: int, sitters: Collection[str]) -> None:
        """Args:
        max_bytes: of all loops together; 0 keeps none.
        sitters: whose loops may be kept.
        """
        # Writes of a hundred megabytes, one at a time.
        self._files = InferenceThread("loops", max_pending=1000)
        self._open_store = partial(LoopStore, folder, max_bytes, sitters)
        self._folder = folder
        self._max_bytes = max_bytes
        self._loops: dict[LoopKey, LoopFile] = {}
        self._wanted: dict[LoopKey, Draw] = {}
        self._given_up: set[LoopKey] = set()
        self._forgotten: set[str] = set()
        self._called = asyncio.Event()

    def get(self, key: LoopKey, draw: Draw) -> LoopFile | None:
        """A loop, if it is there; else it will be drawn. Args: draw: makes frames of states, in their order."""
        loop = self._loops.get(key)
        if loop is None and self._max_bytes and key not in self._given_up and len(self._wanted) < _MAX_WAITING:
            self._wanted.setdefault(key, draw)
            self._called.set()
        return loop

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is to be drawn or removed."""
        return not self._wanted and not self._forgotten

    def forget(self, sitter: str) -> None:
        """Remove all loops of a portrait, also those that are being drawn."""
        self._forgotten.add(sitter)
        for key in [key for key in self._loops if key.sitter == sitter]:
            del self._loops[key]
        self._called.set()

    async def keep(self) -> None:
        """Draw what is wanted and remove what is forgotten, until cancelled."""
        store = await self._files.run(self._open_store)
        while True:
            await self._called.wait()
            self._called.clear()
            while self._forgotten or self._wanted:
                if self._forgotten:
                    await self._files.run(store.remove, self._forgotten.pop())
                else:
                    await self._make(store, *next(iter(self._wanted.items())))

    async def _make(self, store: LoopStore, key: LoopKey, draw: Draw) -> None:
        try:
            loop = await self._files.run(store.open, key)
            if loop is None:
                frames = await draw([idle_state(index / LOOP_RATE_HZ) for index in range(LOOP_FRAMES)])
                if key.sitter in self._forgotten:
                    return
                log.info("idle_loop_drawn", frames=len(frames), size=key.size, bytes=sum(map(len, frames)))
                loop = await self._files.run(store.save, key, frames)
            if loop is None:
                self._give_up(key, "it is larger than idle_loops_mb allows")
            elif key.sitter not in self._forgotten:
                self._loops[key] = loop
                self._forget_removed()
        except (DeviceLostError, OverloadedError) as failed:
            # It is wanted again with the next idle frame, of an engine that is back by then.
            log.info("idle_loop_not_drawn", reason=str(failed))
        except (AvatarError, OSError) as failed:
            self._give_up(key, str(failed))
        finally:
            del self._wanted[key]

    def _give_up(self, key: LoopKey, why: str) -> None:
        self._given_up.add(key)
        log.warning("idle_loop_not_kept", reason=why)

    def _forget_removed(self) -> None:
        """A loop whose file made room for another is played no longer, so that the disk gets its space back."""
        for key in [key for key in self._loops if not (self._folder / key.file_name).exists()]:
            del self._loops[key]

    def close(self) -> None:
        """Wait for what is being written."""
        self._files.close()
