"""Brings models into a data directory: licence, one process at a time, room on the disk, hash, then the final name."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.common import model_hub
from services.common.errors import AvatarError, ConfirmationNeededError
from services.common.model_hub import Hub, HubError
from services.common.model_manifest import HubFile, Licence, Model
from services.common.model_store import ModelStore, pull_command

# Left free beside a model, for the rest of the machine.
_SPARE_BYTES = 64 * 1024 * 1024


class NoRoomError(AvatarError):
    """The disk has no room for a model; the message says how much is missing."""


class Progress(model_hub.Progress, Protocol):
    """Is told how far a pull is."""

    def waits(self) -> None:
        """Another process fetches the same model; this one waits for it."""

    def placed(self, file: HubFile) -> None:
        """A file is whole, has the pinned hash, and has its final name."""


@dataclass(frozen=True, slots=True)
class Licences:
    """Which licences were accepted in a data directory: `licences/NAME.json`, with the day."""

    data_dir: Path

    def are_accepted(self, licence: Licence) -> bool:
        return not licence.needs_yes or self._file(licence).is_file()

    def check(self, model: Model) -> None:
        """Raises: ConfirmationNeededError if the licence of a model has to be accepted first."""
        licence = model.licence
        if not self.are_accepted(licence):
            raise ConfirmationNeededError(
                f"{model.name} comes under the licence {licence.title} ({licence.url}), which allows {licence.allows}; "
                f"`{pull_command(model)} --accept-licence {licence.name}` accepts it"
            )

    def accept(self, licence: Licence, now: dt.datetime) -> None:
        """Keep that somebody said yes, to what and when."""
        file = self._file(licence)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        said = {"accepted_at": now.isoformat(timespec="seconds"), "licence": licence.title, "url": licence.url}
        part.write_text(json.dumps(said, indent=2))
        part.replace(file)

    def _file(self, licence: Licence) -> Path:
        return self.data_dir / "licences" / f"{licence.name}.json"


def pull(model: Model, data_dir: Path, hub: Hub, progress: Progress) -> None:
    """Fetch what is missing or wrong of a model; without anything of that, no network is touched.

    Raises:
        ConfirmationNeededError: its licence has to be accepted first.
        NoRoomError: the disk is too small; nothing was fetched.
        HubError: the hub did not give a file as it is pinned. What has come is kept for the next pull.
        OSError: the data directory cannot be written.
    """
    Licences(data_dir).check(model)
    store = ModelStore(data_dir)
    if _unverified(store, model):
        with store.locked(model, progress.waits):
            # What we did not place, or what was changed since, may be right.
            unverified = _unverified(store, model)
            wanted = [file for file in unverified if store.verify(model, file, _now()) != "verified"]
            _check_room(store, model, wanted)
            for file in wanted:
                _fetch(store, model, file, hub, progress)


def _unverified(store: ModelStore, model: Model) -> list[HubFile]:
    states = store.state(model).files
    return [file for file in model.files if states[file.path] != "verified"]


def _check_room(store: ModelStore, model: Model, wanted: list[HubFile]) -> None:
    """Raises: NoRoomError."""
    have = sum(min(store.part_bytes(model, file), file.size_bytes) for file in wanted)
    needed = sum(file.size_bytes for file in wanted) - have
    folder = store.folder(model)
    # It may be a link to another disk.
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if wanted and free < needed + _SPARE_BYTES:
        missing = needed + _SPARE_BYTES - free
        raise NoRoomError(
            f"{model.name} needs {needed / 1e6:.0f} MB more, and {free / 1e6:.0f} MB are free on the disk of "
            f"{folder}: free {missing / 1e6:.0f} MB, or set data_dir or AVATAR_DATA_DIR to a folder of another disk"
        )


def _fetch(store: ModelStore, model: Model, file: HubFile, hub: Hub, progress: Progress) -> None:
    part = store.part(model, file)
    was_begun = store.part_bytes(model, file) > 0
    found = hub.fetch(model, file, part, progress)
    if found != file.sha256 and was_begun:
        # What was there may have been of an older revision, or damaged when a machine lost its power.
        part.unlink()
        found = hub.fetch(model, file, part, progress)
    if found != file.sha256:
        part.unlink()
        raise HubError(
            f"{hub.host} sent another {file.path} than the one that is pinned: SHA-256 {found}, not {file.sha256}; "
            "it was thrown away"
        )
    store.place(model, file, _now())
    progress.placed(file)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
