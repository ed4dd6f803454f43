"""Where fetched models lie, which of their files are there, and whether they are the ones that are pinned."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from services.common import model_manifest, settings_file
from services.common.errors import NotReadyError
from services.common.model_manifest import HubFile, Model

# A file under its final name was whole when it was put there. "unverified" has the right size, and was put there by
# somebody else or was changed since.
FileState = Literal["missing", "damaged", "unverified", "verified"]


@dataclass(frozen=True, slots=True)
class ModelState:
    """What is there of a model, as names and sizes tell it; nothing is read.

    Args:
        files: each file's state, by its path.
        here_bytes: how much of it has come, parts of files too.
        verified_at: when the last of its files was read and found right; None unless all are verified.
    """

    files: dict[str, FileState]
    here_bytes: int
    verified_at: dt.datetime | None

    @property
    def is_complete(self) -> bool:
        return all(state in ("unverified", "verified") for state in self.files.values())


@dataclass(frozen=True, slots=True)
class _Read:
    """A file that was read. Args: sha256: what it was found to be; mtime_ns: of the file then; at: ISO 8601."""

    sha256: str
    mtime_ns: int
    at: str


def pull_command(*models: Model) -> str:
    """What a person types to fetch or to repair models, with the settings that are in use now."""
    with_config = f"--config {settings_file.path()} " if os.environ.get(settings_file.VARIABLE) else ""
    return f"avatar {with_config}models pull {' '.join(model.name for model in models)}"


def _sha256_of(path: Path, size_bytes: int) -> str | None:
    """The hash of a file's content; None without reading it if there is no such file, or its size is another."""
    try:
        with path.open("rb") as content:
            if os.fstat(content.fileno()).st_size != size_bytes:
                return None
            return hashlib.file_digest(content, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def check_file(path: Path, file: HubFile) -> FileState:
    """Read a file, wherever it is. Returns: missing, damaged or verified."""
    return _judged(path, file, _sha256_of(path, file.size_bytes))


def _judged(path: Path, file: HubFile, found: str | None) -> FileState:
    if found is None:
        return "damaged" if path.exists() else "missing"
    return "verified" if found == file.sha256 else "damaged"


class ModelStore:
    """The folder of models in a data directory: `models/FOLDER/PATH`, beside it a record of what was verified."""

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir / "models"

    def folder(self, model: Model) -> Path:
        return self.root / model.folder

    def path(self, model: Model, file: HubFile) -> Path:
        return self.folder(model) / file.path

    def part(self, model: Model, file: HubFile) -> Path:
        """What has come of a file that is not whole."""
        path = self.path(model, file)
        return path.with_name(f"{path.name}.part")

    def part_bytes(self, model: Model, file: HubFile) -> int:
        try:
            return self.part(model, file).stat().st_size
        except OSError:
            return 0

    def state(self, model: Model) -> ModelState:
        """What is there of a model, without reading it."""
        record = self._record(model)
        files = {file.path: self._state_of(model, file, record) for file in model.files}
        here_bytes = sum(
            file.size_bytes
            if files[file.path] in ("unverified", "verified")
            else min(self.part_bytes(model, file), file.size_bytes)
            for file in model.files
        )
        verified = all(state == "verified" for state in files.values())
        times = [dt.datetime.fromisoformat(record[file.path].at) for file in model.files] if verified else []
        return ModelState(files, here_bytes, max(times, default=None))

    def _state_of(self, model: Model, file: HubFile, record: Mapping[str, _Read]) -> FileState:
        try:
            found = self.path(model, file).stat()
        except (FileNotFoundError, NotADirectoryError):
            return "missing"
        if found.st_size != file.size_bytes:
            return "damaged"
        seen = record.get(file.path)
        if seen is None or seen.mtime_ns != found.st_mtime_ns:
            return "unverified"
        return "verified" if seen.sha256 == file.sha256 else "damaged"

    def complete_folder(self, name: str) -> Path:
        """The folder of a model that is there, for the engine that reads it.

        Raises: NotReadyError, which says what is missing and how it is fetched; NotFoundError for an unknown name.
        """
        model = model_manifest.find(name)
        files = self.state(model).files
        wrong = [path for path, state in files.items() if state in ("missing", "damaged")]
        if wrong:
            what = f"{wrong[0]} is {files[wrong[0]]}" if len(wrong) < len(files) else "it is not here"
            raise NotReadyError(
                f"the model {name} is not complete in {self.root}: {what}; fetch the rest by `{pull_command(model)}`"
            )
        return self.folder(model)

    def verify(self, model: Model, file: HubFile, now: dt.datetime) -> FileState:
        """Read a file and keep what it is. Returns: missing, damaged or verified."""
        path = self.path(model, file)
        found = _sha256_of(path, file.size_bytes)
        if found is not None:
            # A folder that cannot be written, such as a volume that is shared to be read, can be verified all the same.
            with contextlib.suppress(OSError):
                self._note(model, file, found, now)
        return _judged(path, file, found)

    def place(self, model: Model, file: HubFile, now: dt.datetime) -> None:
        """Give a part that was found right its final name, so that the name never stands for less, power cuts too."""
        part, path = self.part(model, file), self.path(model, file)
        _to_disk(part)
        part.replace(path)
        _to_disk(path.parent)
        self._note(model, file, file.sha256, now)

    @contextlib.contextmanager
    def locked(self, model: Model, on_wait: Callable[[], None]) -> Iterator[None]:
        """Keep other processes from fetching the same model; the lock ends with its process.

        Args: on_wait: called if another process has it, before this one waits.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / f"{model.name}.lock").open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _record_file(self, model: Model) -> Path:
        return self.root / f"{model.name}.verified.json"

    def _record(self, model: Model) -> dict[str, _Read]:
        """What was read, by path; empty if the record is missing or unreadable: then files are read again."""
        try:
            record = json.loads(self._record_file(model).read_text())
            return {path: _Read(**seen) for path, seen in record.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _note(self, model: Model, file: HubFile, sha256: str, now: dt.datetime) -> None:
        mtime_ns = self.path(model, file).stat().st_mtime_ns
        record = self._record(model) | {file.path: _Read(sha256, mtime_ns, now.isoformat(timespec="seconds"))}
        part = self._record_file(model).with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps({path: asdict(seen) for path, seen in record.items()}, indent=2))
        part.replace(self._record_file(model))


def _to_disk(path: Path) -> None:
    """Have the disk keep a file's content, or a folder's names."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
