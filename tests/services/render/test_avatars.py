"""Avatars are kept whole or not at all, and survive the process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.common.errors import InvalidRequestError, NotFoundError, OverloadedError, ProtocolError
from services.render.avatars import DEFAULT_ID, AvatarStore, avatar_id_of

CONSENT = "I am a drawing"


@pytest.fixture
def store(data_dir: Path) -> AvatarStore:
    return AvatarStore(data_dir, max_avatars=2)


def folders(data_dir: Path) -> list[str]:
    return sorted(path.name for path in (data_dir / "avatars").iterdir())


def test_the_default_comes_first_and_stays(store: AvatarStore, default_file: bytes) -> None:
    store.create("zoe", "Zoe", CONSENT, default_file)
    assert [record.avatar_id for record in store.records()] == [DEFAULT_ID, "zoe"]
    with pytest.raises(ProtocolError, match="ships with the product"):
        store.delete(DEFAULT_ID)


def test_an_avatar_survives_a_restart(data_dir: Path, store: AvatarStore, default_file: bytes) -> None:
    made = store.create("zoe", "Zoë", CONSENT, default_file)
    assert (made.width, made.height) == (720, 720)
    assert made.landmarks.shape == (468, 2)
    again = AvatarStore(data_dir, max_avatars=2)
    found = again.record("zoe")
    assert (found.display_name, found.consent, found.created_at) == ("Zoë", CONSENT, made.created_at)
    np.testing.assert_array_equal(found.landmarks, made.landmarks)
    before, after = store.portrait("zoe"), again.portrait("zoe")
    np.testing.assert_array_equal(before.image_rgb, after.image_rgb)
    np.testing.assert_array_equal(before.points, after.points)
    np.testing.assert_array_equal(before.person, after.person)


def test_a_deleted_avatar_leaves_nothing(data_dir: Path, store: AvatarStore, default_file: bytes) -> None:
    store.create("zoe", "", CONSENT, default_file)
    store.delete("zoe")
    assert folders(data_dir) == []
    for act in (store.record, store.portrait, store.delete):
        with pytest.raises(NotFoundError, match="avatars/zoe"):
            act("zoe")
    store.create("zoe", "", CONSENT, default_file)


def test_a_failed_write_leaves_nothing(
    data_dir: Path, store: AvatarStore, default_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space"):
        store.create("zoe", "", CONSENT, default_file)
    assert folders(data_dir) == []
    with pytest.raises(NotFoundError):
        store.record("zoe")


def test_what_a_crash_left_is_swept_away_and_a_broken_folder_hides_no_other(
    data_dir: Path, store: AvatarStore, default_file: bytes
) -> None:
    store.create("zoe", "", CONSENT, default_file)
    (data_dir / "avatars" / "~half-1234").mkdir()
    (data_dir / "avatars" / "broken").mkdir()
    (data_dir / "avatars" / "broken" / "avatar.json").write_text("{")
    again = AvatarStore(data_dir, max_avatars=2)
    assert [record.avatar_id for record in again.records()] == [DEFAULT_ID, "zoe"]
    assert "~half-1234" not in folders(data_dir)


def test_an_id_is_made_when_none_is_given(store: AvatarStore, default_file: bytes) -> None:
    one, other = (store.create("", "", CONSENT, default_file) for _ in range(2))
    assert one.avatar_id != other.avatar_id
    assert avatar_id_of(f"avatars/{one.avatar_id}") == one.avatar_id


def test_one_more_than_the_limit_is_refused_with_the_limit(store: AvatarStore, default_file: bytes) -> None:
    for name in ("one", "two"):
        store.create(name, "", CONSENT, default_file)
    with pytest.raises(OverloadedError, match="2 avatars already") as refused:
        store.create("three", "", CONSENT, default_file)
    assert refused.value.limit == "max_avatars=2"
    with pytest.raises(InvalidRequestError, match="exists already"):
        store.create("two", "", CONSENT, default_file)


@pytest.mark.parametrize(
    ("avatar_id", "display_name", "consent", "said"),
    [
        (DEFAULT_ID, "", CONSENT, "exists already"),
        ("Zoe", "", CONSENT, "1 to 63 of a-z"),
        ("-zoe", "", CONSENT, "not '-' at either end"),
        ("../zoe", "", CONSENT, "1 to 63 of a-z"),
        ("z" * 64, "", CONSENT, "1 to 63"),
        ("zoe", "", "", "who agreed"),
        ("zoe", "", "   ", "who agreed"),
        ("zoe", "", "x" * 501, "1 to 500"),
        ("zoe", "x" * 81, CONSENT, "at most 80"),
    ],
)
def test_a_wrong_request_is_refused_in_words(
    data_dir: Path, store: AvatarStore, default_file: bytes, avatar_id: str, display_name: str, consent: str, said: str
) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        store.create(avatar_id, display_name, consent, default_file)
    assert folders(data_dir) == []


@pytest.mark.parametrize("name", ["zoe", "avatars/", "avatars/../x", "avatars/a/b", "voices/zoe", "avatars/Zoe"])
def test_a_name_that_is_no_avatars_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError):
        avatar_id_of(name)
