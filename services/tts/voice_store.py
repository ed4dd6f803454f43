"""Where voices that were made of recordings are kept: one folder each, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shutil
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.errors import EngineError, InvalidRequestError, NotFoundError, OverloadedError, ProtocolError
from services.common.log import get_logger
from services.tts.engine import Conditioning
from services.tts.voice_recording import Quality

_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PREFIX = "voices/"
# Folders that begin so are being written or removed; what a crash left of them is swept away at the next start.
_UNFINISHED = "~"
_ARRAYS, _META, _RECORDING = "arrays.npz", "voice.json", "recording"
# Arguments of np.savez.
_RESERVED = {"file", "allow_pickle"}
MAX_NAME, MAX_CONSENT = 80, 500
# What an engine makes of a recording takes some hundred kilobytes.
MAX_ARRAYS_BYTES = 64 * 1024 * 1024
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class VoiceRecord:
    """What is known of a voice besides its sound. Args: model: the one that `Cloning.model` named when it was made."""

    voice_id: str
    display_name: str
    consent: str
    model: str
    has_recording: bool
    quality: Quality
    created_at: datetime


def voice_id_of(name: str) -> str:
    """The last part of "voices/{voice}". Raises: InvalidRequestError if the name is not of that form."""
    if not name.startswith(_PREFIX):
        raise InvalidRequestError(f"{name[:80]!r} is not a voice's name; write it like voices/anna")
    return _checked_id(name.removeprefix(_PREFIX))


def _checked_id(voice_id: str) -> str:
    if not _ID.fullmatch(voice_id):
        raise InvalidRequestError(
            f"{voice_id[:80]!r} cannot be a voice's id; use 1 to 63 of a-z, 0-9 and '-', not '-' at either end"
        )
    return voice_id


def checked_wish(voice_id: str, display_name: str, consent: str, taken: Mapping[str, str]) -> tuple[str, str]:
    """The id and the display name of a new voice, made where they are empty.

    Args: taken: the names of the other voices by their ids.
    Raises: InvalidRequestError naming what is wrong.
    """
    voice_id = _checked_id(voice_id or f"v-{secrets.token_hex(6)}")
    display_name = display_name.strip() or voice_id
    if voice_id in taken:
        raise _taken(voice_id)
    if not consent.strip() or len(consent) > MAX_CONSENT:
        raise InvalidRequestError(
            f"consent.statement has {len(consent.strip())} characters; say in 1 to {MAX_CONSENT} who agreed to its use"
        )
    if len(display_name) > MAX_NAME or not display_name.isprintable():
        raise InvalidRequestError(f"display_name has at most {MAX_NAME} characters that can be seen, on one line")
    # By name or by id, callers of the older routes mean one voice.
    if display_name in {*taken, *taken.values()}:
        raise InvalidRequestError(f"there is a voice {display_name!r} already; choose another display_name")
    return voice_id, display_name


class VoiceStore:
    """The cloned voices of one machine. Blocking, for any thread."""

    def __init__(self, data_dir: Path, max_voices: int) -> None:
        self._folder = data_dir / "voices"
        self._max_voices = max_voices
        for leftover in self._folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover)
        self._lock = threading.Lock()
        # A process without a voice of this kind needs no folder that it can write.
        folders = self._folder.iterdir() if self._folder.is_dir() else ()
        self._records = {record.voice_id: record for record in map(_read_record, folders) if record}
        self._loaded: dict[str, Conditioning] = {}

    def records(self) -> list[VoiceRecord]:
        """Every voice, the oldest first."""
        return sorted(self._records.values(), key=lambda record: (record.created_at, record.voice_id))

    def record(self, voice_id: str) -> VoiceRecord | None:
        """One voice, None if there is none."""
        return self._records.get(voice_id)

    def check_room(self) -> None:
        """Raises: OverloadedError when there are `max_voices` already."""
        if len(self._records) >= self._max_voices:
            raise OverloadedError(
                f"there are {self._max_voices} voices already; delete one first",
                limit=f"max_voices={self._max_voices}",
                retry_after_s=60.0,
            )

    def conditioning(self, voice_id: str) -> Conditioning:
        """What the engine made of a voice's recording; always the same object while the voice is there.

        Raises: NotFoundError if there is no such voice; EngineError if its file is damaged.
        """
        with self._lock:
            if voice_id not in self._records:
                raise _no_voice(voice_id)
            if voice_id not in self._loaded:
                self._loaded[voice_id] = Conditioning(_read_arrays(self._folder / voice_id))
            return self._loaded[voice_id]

    def is_current(self, voice_id: str, conditioning: Conditioning) -> bool:
        """Whether a voice is still there, and still the one that was loaded."""
        return self._loaded.get(voice_id) is conditioning

    def add(self, record: VoiceRecord, arrays: Mapping[str, NDArray[Any]], recording: bytes | None) -> None:
        """Keep a voice. Args: recording: the file, as it was sent, if it is to be kept.

        Raises: InvalidRequestError if there is one of that id; EngineError if the arrays cannot be kept.
        """
        with self._written(record, arrays, recording) as new, self._lock:
            if record.voice_id in self._records:
                raise _taken(record.voice_id)
            self._show(record, new)

    def exchange(self, record: VoiceRecord, arrays: Mapping[str, NDArray[Any]], recording: bytes) -> None:
        """Put a voice in the place of the one of its id.

        Raises: NotFoundError if that was deleted meanwhile; EngineError if the arrays cannot be kept.
        """
        with self._written(record, arrays, recording) as new, self._lock:
            if record.voice_id not in self._records:
                raise _no_voice(record.voice_id)
            self._remove(record.voice_id)
            self._show(record, new)

    def _show(self, record: VoiceRecord, new: Path) -> None:
        """Let a voice be seen; the lock is held."""
        # A folder that is there is a whole one: renaming is the only step that shows it.
        new.rename(self._folder / record.voice_id)
        self._records[record.voice_id] = record

    @contextlib.contextmanager
    def _written(
        self, record: VoiceRecord, arrays: Mapping[str, NDArray[Any]], recording: bytes | None
    ) -> Iterator[Path]:
        """A folder that nobody sees yet, with all of a voice in it; what is not shown in the end is removed."""
        _check_arrays(arrays)
        new = self._folder / f"{_UNFINISHED}{record.voice_id}-{secrets.token_hex(4)}"
        new.mkdir(parents=True)
        try:
            np.savez(new / _ARRAYS, allow_pickle=False, **arrays)
            if recording is not None:
                (new / _RECORDING).write_bytes(recording)
            meta = asdict(record) | {"created_at": record.created_at.isoformat()}
            (new / _META).write_text(json.dumps(meta, indent=1))
            yield new
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    def recording(self, voice_id: str) -> tuple[VoiceRecord, bytes]:
        """A voice and the file that it was made of. Raises: NotFoundError; ProtocolError if it was not kept."""
        with self._lock:
            record = self._records.get(voice_id)
            if record is None:
                raise _no_voice(voice_id)
            if not record.has_recording:
                raise ProtocolError(
                    f"the recording of {_PREFIX}{voice_id} was not kept; delete the voice and make it again with "
                    "keep_recording=true, and it can be remade"
                )
            return record, (self._folder / voice_id / _RECORDING).read_bytes()

    def delete(self, voice_id: str) -> None:
        """Forget a voice and all that was kept of it. Raises: NotFoundError."""
        with self._lock:
            if voice_id not in self._records:
                raise _no_voice(voice_id)
            self._remove(voice_id)

    def _remove(self, voice_id: str) -> None:
        """Take a voice out, if it is there; the lock is held."""
        if self._records.pop(voice_id, None) is None:
            return
        self._loaded.pop(voice_id, None)
        gone = self._folder / f"{_UNFINISHED}{voice_id}-{secrets.token_hex(4)}"
        (self._folder / voice_id).rename(gone)
        shutil.rmtree(gone)


def _no_voice(voice_id: str) -> NotFoundError:
    return NotFoundError(f"there is no voice {_PREFIX}{voice_id}; ListVoices names those that there are")


def _taken(voice_id: str) -> InvalidRequestError:
    return InvalidRequestError(f"{_PREFIX}{voice_id} exists already; choose another voice_id or delete it first")


def _read_record(folder: Path) -> VoiceRecord | None:
    """A voice by its folder; None, and a line in the log, if it cannot be read."""
    try:
        meta: dict[str, Any] = json.loads((folder / _META).read_text())
        quality = Quality(**(meta["quality"] | {"warnings": tuple(meta["quality"]["warnings"])}))
        return VoiceRecord(
            **(
                meta
                | {"voice_id": _checked_id(folder.name), "quality": quality}
                | {"created_at": datetime.fromisoformat(meta["created_at"]).astimezone(UTC)}
            )
        )
    except (OSError, ValueError, TypeError, KeyError, InvalidRequestError):
        # One broken folder must not keep the others from being served.
        log.exception("voice_unreadable")
        return None


def _check_arrays(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raises: EngineError if what an engine made is not what can be kept without code in it."""
    size = sum(array.nbytes for array in arrays.values())
    if not arrays or size > MAX_ARRAYS_BYTES:
        raise EngineError(f"the engine made {size} bytes of a voice; 1 to {MAX_ARRAYS_BYTES} are kept")
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" or not name.isidentifier() or name in _RESERVED:
            raise EngineError(f"the engine made {array.dtype} of a voice ({name}); arrays of numbers are kept")


def _read_arrays(folder: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(folder / _ARRAYS, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise EngineError(f"the files of {_PREFIX}{folder.name} are damaged; delete it and make it again") from error
