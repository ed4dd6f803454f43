"""Where avatars are kept: one folder each, written whole or not at all."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.errors import (
    ConfirmationNeededError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    ProtocolError,
)
from services.common.log import get_logger
from services.render.engine import PORTRAIT_EDGE, Portrait
from services.render.image_file import decode
from services.render.portrait import PortraitExaminer

DEFAULT_ID = "default"
_DEFAULT_NAME = "Ava"
_DEFAULT_CONSENT = "Nobody's face: drawn by this project."
_DEFAULT_PORTRAIT = Path(__file__).parent / "portraits" / "default.jpg"
_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PREFIX = "avatars/"
# Folders that begin so are being written or removed; what a crash left of them is swept away at the next start.
_UNFINISHED = "~"
MAX_NAME, MAX_CONSENT = 80, 500
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AvatarRecord:
    """What is known of an avatar besides its picture; `landmarks` in pixels of the portrait as it was sent."""

    avatar_id: str
    display_name: str
    consent: str
    width: int
    height: int
    score: float
    warnings: tuple[str, ...]
    doubts: tuple[str, ...]
    created_at: datetime
    landmarks: NDArray[np.float32]


def avatar_id_of(name: str) -> str:
    """The last part of "avatars/{avatar}". Raises: InvalidRequestError if the name is not of that form."""
    if not name.startswith(_PREFIX):
        raise InvalidRequestError(f"{name!r} is not an avatar's name; write it like avatars/{DEFAULT_ID}")
    return _checked_id(name.removeprefix(_PREFIX))


def _checked_id(avatar_id: str) -> str:
    if not _ID.fullmatch(avatar_id):
        raise InvalidRequestError(
            f"{avatar_id[:80]!r} cannot be an avatar's id; use 1 to 63 of a-z, 0-9 and '-', not '-' at either end"
        )
    return avatar_id


class AvatarStore:
    """The avatars of one machine. Blocking; the picture models make it one thread's own."""

    def __init__(self, data_dir: Path, max_avatars: int) -> None:
        """Open the store and look at the default portrait. Raises: NotReadyError if a model file is missing."""
        self._folder = data_dir / "avatars"
        self._max_avatars = max_avatars
        self._examiner = PortraitExaminer(data_dir)
        self._folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover)
        self._records: dict[str, AvatarRecord] = {}
        self._default_portrait = self._add_default()
        self._records |= {record.avatar_id: record for record in self._stored()}

    def _add_default(self) -> Portrait:
        image = decode(_DEFAULT_PORTRAIT.read_bytes())
        examined = self._examiner.examine(image)
        created_at = datetime.fromtimestamp(_DEFAULT_PORTRAIT.stat().st_mtime, UTC)
        self._records[DEFAULT_ID] = AvatarRecord(
            *(DEFAULT_ID, _DEFAULT_NAME, _DEFAULT_CONSENT, image.shape[1], image.shape[0]),
            *(examined.score, examined.warnings, examined.doubts, created_at, examined.landmarks),
        )
        # Its picture comes with the product, and what engines make of it is kept beside the other avatars.
        kept_in = self._folder.parent / "prepared" / DEFAULT_ID
        kept_in.mkdir(parents=True, exist_ok=True)
        return replace(examined.portrait, kept_in=kept_in)

    def _stored(self) -> Iterator[AvatarRecord]:
        for folder in self._folder.iterdir():
            try:
                meta: dict[str, Any] = json.loads((folder / "avatar.json").read_text())
                with np.load(folder / "landmarks.npz") as arrays:
                    landmarks = arrays["as_sent"]
                yield AvatarRecord(
                    *(folder.name, meta["display_name"], meta["consent"], meta["width"], meta["height"]),
                    *(meta["score"], tuple(meta["warnings"]), tuple(meta.get("doubts", ()))),
                    *(datetime.fromisoformat(meta["created_at"]), landmarks),
                )
            except (OSError, ValueError, KeyError):
                # One broken folder must not keep the others from being served.
                log.exception("avatar_unreadable", folder=folder.name)

    def records(self) -> list[AvatarRecord]:
        """Every avatar: the default first, then the oldest first."""
        others = [record for key, record in self._records.items() if key != DEFAULT_ID]
        return [self._records[DEFAULT_ID], *sorted(others, key=lambda record: record.created_at)]

    def record(self, avatar_id: str) -> AvatarRecord:
        """One avatar. Raises: NotFoundError if there is none."""
        if avatar_id not in self._records:
            raise NotFoundError(f"there is no avatar {_PREFIX}{avatar_id}; ListAvatars names those that there are")
        return self._records[avatar_id]

    def portrait(self, avatar_id: str) -> Portrait:
        """What is drawn. Raises: NotFoundError if there is no such avatar."""
        self.record(avatar_id)
        if avatar_id == DEFAULT_ID:
            return self._default_portrait
        folder = self._folder / avatar_id
        image = cv2.imread(str(folder / "portrait.png"), cv2.IMREAD_COLOR)
        person = cv2.imread(str(folder / "person.png"), cv2.IMREAD_GRAYSCALE)
        if image is None or person is None or image.shape[0] != PORTRAIT_EDGE:
            raise NotFoundError(f"the files of {_PREFIX}{avatar_id} are damaged; delete it and make it again")
        with np.load(folder / "landmarks.npz") as arrays:
            points = arrays["points"]
        image_rgb = np.ascontiguousarray(image[..., ::-1]).astype(np.uint8)
        return Portrait(image_rgb, points, person.astype(np.uint8), folder)

    def create(
        self, avatar_id: str, display_name: str, consent: str, file: bytes, *, confirmed: bool = False
    ) -> AvatarRecord:
        """Make an avatar of a portrait.

        Args: as of `look`; confirmed: somebody has looked at the landmarks of a face that may not be a person's.
        Raises:
            InvalidRequestError: for anything that is wrong with the request, in words.
            ConfirmationNeededError: for a face that is in doubt and not confirmed.
            OverloadedError: when there are `max_avatars` already.
        """
        avatar_id = self._checked(avatar_id, display_name, consent)
        if len(self._records) - 1 >= self._max_avatars:
            raise OverloadedError(
                f"there are {self._max_avatars} avatars already; delete one first",
                limit=f"max_avatars={self._max_avatars}",
                retry_after_s=60.0,
            )
        record, portrait = self._made(avatar_id, display_name, consent, file)
        if record.doubts and not confirmed:
            raise ConfirmationNeededError(
                f"this may not be a person's face: {' '.join(record.doubts)} Look at its landmarks (validate_only=true "
                "shows them), and send it with confirm_doubtful_face=true if they sit where they should"
            )
        self._write(record, portrait)
        self._records[record.avatar_id] = record
        return record

    def look(self, avatar_id: str, display_name: str, consent: str, file: bytes) -> AvatarRecord:
        """What an avatar of this portrait would be; nothing is kept.

        Args: avatar_id: empty to have one made; file: JPEG, PNG or WebP.
        Raises: InvalidRequestError for anything that is wrong with the request, in words.
        """
        return self._made(self._checked(avatar_id, display_name, consent), display_name, consent, file)[0]

    def portrait_of(self, file: bytes) -> Portrait:
        """A picture, cropped to its face; nothing is kept. Raises: InvalidRequestError if it shows no face."""
        return self._examiner.examine(decode(file)).portrait

    def _checked(self, avatar_id: str, display_name: str, consent: str) -> str:
        """The avatar's id, made if it is empty. Raises: InvalidRequestError naming what is wrong."""
        avatar_id = _checked_id(avatar_id or f"a-{secrets.token_hex(6)}")
        if avatar_id in self._records:
            raise InvalidRequestError(
                f"{_PREFIX}{avatar_id} exists already; choose another avatar_id or delete it first"
            )
        if not consent.strip() or len(consent) > MAX_CONSENT:
            raise InvalidRequestError(
                f"consent has {len(consent.strip())} characters; say in 1 to {MAX_CONSENT} who agreed to its use"
            )
        if len(display_name) > MAX_NAME:
            raise InvalidRequestError(f"display_name has {len(display_name)} characters; use at most {MAX_NAME}")
        return avatar_id

    def _made(self, avatar_id: str, display_name: str, consent: str, file: bytes) -> tuple[AvatarRecord, Portrait]:
        image = decode(file)
        examined = self._examiner.examine(image)
        record = AvatarRecord(
            *(avatar_id, display_name or avatar_id, consent, image.shape[1], image.shape[0]),
            *(examined.score, examined.warnings, examined.doubts, datetime.now(UTC), examined.landmarks),
        )
        return record, examined.portrait

    def _write(self, record: AvatarRecord, portrait: Portrait) -> None:
        new = self._folder / f"{_UNFINISHED}{record.avatar_id}-{secrets.token_hex(4)}"
        new.mkdir()
        try:
            for name, image in (("portrait", portrait.image_rgb[..., ::-1]), ("person", portrait.person)):
                if not cv2.imwrite(str(new / f"{name}.png"), image):
                    raise OSError(f"{new / name}.png could not be written")
            np.savez_compressed(new / "landmarks.npz", points=portrait.points, as_sent=record.landmarks)
            meta = {
                "display_name": record.display_name,
                "consent": record.consent,
                "width": record.width,
                "height": record.height,
                "score": record.score,
                "warnings": record.warnings,
                "doubts": record.doubts,
                "created_at": record.created_at.isoformat(),
            }
            (new / "avatar.json").write_text(json.dumps(meta, indent=1))
            # A folder that is there is a whole one: renaming is the only step that shows it.
            new.rename(self._folder / record.avatar_id)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    def delete(self, avatar_id: str) -> None:
        """Forget an avatar and its picture. Raises: NotFoundError; ProtocolError for the one that ships."""
        self.record(avatar_id)
        if avatar_id == DEFAULT_ID:
            raise ProtocolError(f"{_PREFIX}{DEFAULT_ID} ships with the product and stays; any other can be deleted")
        gone = self._folder / f"{_UNFINISHED}{avatar_id}-{secrets.token_hex(4)}"
        (self._folder / avatar_id).rename(gone)
        del self._records[avatar_id]
        shutil.rmtree(gone)
