"""A model in a data directory: whole or not there, fetched once, under a licence that somebody accepted."""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.errors import ConfirmationNeededError
from services.common.model_hub import Hub, HubError
from services.common.model_manifest import HubFile, Model
from services.common.model_pull import Licences, NoRoomError, pull
from services.common.model_store import ModelStore
from tests.fakes.hub import BOUND, Cut, FakeHub, Status, content_of, model_of, serving_hub

FILES = {path: content_of(path, 150_000) for path in ("nets/one.pth", "two.onnx")}
MODEL = model_of(FILES)
ONE, TWO = MODEL.files


class Told:
    """Keeps which files came whole."""

    def __init__(self) -> None:
        self.placed_paths: list[str] = []

    def at(self, file: HubFile, here_bytes: int) -> None: ...

    def pauses(self, why: str, pause_s: float) -> None: ...

    def waits(self) -> None: ...

    def placed(self, file: HubFile) -> None:
        self.placed_paths.append(file.path)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with serving_hub(FILES) as hub:
        yield hub


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path)


def pulled(store: ModelStore, fake: FakeHub, model: Model = MODEL) -> list[str]:
    """Pull. Returns: what came."""
    told = Told()
    pull(model, store.root.parent, Hub(fake.endpoint, pause=lambda _: None), told)
    return told.placed_paths


def test_a_model_is_there_and_verified_after_its_pull(store: ModelStore, fake: FakeHub) -> None:
    assert pulled(store, fake) == list(FILES)
    assert {path: (store.folder(MODEL) / path).read_bytes() for path in FILES} == FILES
    assert store.state(MODEL).verified_at is not None
    assert list(store.folder(MODEL).rglob("*.part")) == []


def test_a_complete_model_is_not_asked_for_again(
    store: ModelStore, fake: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled(store, fake)

    def connect(*_: object) -> None:
        raise AssertionError("a network was touched")

    monkeypatch.setattr(socket.socket, "connect", connect)
    assert pulled(store, fake) == []
    # Those that somebody put there by hand are read, and no more.
    (store.root / "tiny.verified.json").unlink()
    assert pulled(store, fake) == []
    assert store.state(MODEL).verified_at is not None


def test_a_complete_model_waits_for_nobody(store: ModelStore, fake: FakeHub) -> None:
    def wait() -> None:
        raise AssertionError("waited")

    pulled(store, fake)
    told = Told()
    told.waits = wait  # type: ignore[method-assign]
    with store.locked(MODEL, wait):
        pull(MODEL, store.root.parent, Hub(fake.endpoint), told)


def test_only_what_is_damaged_is_fetched_again(store: ModelStore, fake: FakeHub) -> None:
    pulled(store, fake)
    store.path(MODEL, TWO).write_bytes(FILES[ONE.path])
    assert pulled(store, fake) == [TWO.path]
    assert store.path(MODEL, TWO).read_bytes() == FILES[TWO.path]


def test_no_file_has_its_name_before_it_is_whole(store: ModelStore, fake: FakeHub) -> None:
    fake.cdn_faults += [Cut(90_000)] + [Status(500)] * 6
    with pytest.raises(HubError, match="could not be fetched"):
        pulled(store, fake)
    assert not store.path(MODEL, ONE).exists()
    assert store.state(MODEL).here_bytes == 90_000
    assert pulled(store, fake) == list(FILES)
    assert fake.starts()[-2:] == [90_000, 0]


def test_wrong_bytes_are_thrown_away(store: ModelStore, fake: FakeHub) -> None:
    fake.announces = False
    fake.files[ONE.path] = content_of("other", ONE.size_bytes)
    with pytest.raises(HubError, match=rf"sent another {ONE.path} .* not {ONE.sha256}; it was thrown away"):
        pulled(store, fake)
    assert list(store.folder(MODEL).rglob("*.p*")) == []
    assert fake.starts() == [0]


def test_a_file_is_kept_until_its_successor_is_whole(store: ModelStore, fake: FakeHub) -> None:
    pulled(store, fake)
    store.path(MODEL, ONE).write_bytes(b"damaged")
    fake.hub_faults.append(Status(404))
    with pytest.raises(HubError):
        pulled(store, fake)
    assert store.path(MODEL, ONE).read_bytes() == b"damaged"


def test_a_part_that_was_something_else_is_begun_again(store: ModelStore, fake: FakeHub) -> None:
    store.part(MODEL, ONE).parent.mkdir(parents=True)
    store.part(MODEL, ONE).write_bytes(bytes(70_000))
    assert pulled(store, fake) == list(FILES)
    assert fake.starts() == [70_000, 0, 0]


def test_a_disk_that_is_too_small_is_said_before_anything_comes(store: ModelStore, fake: FakeHub) -> None:
    huge = model_of(FILES)
    object.__setattr__(huge, "files", (ONE, HubFile("huge.bin", 10**18, "0" * 64)))
    with pytest.raises(NoRoomError, match=r"tiny needs 1000000000000 MB more, and \d+ MB are free on the disk of"):
        pulled(store, fake, huge)
    assert fake.seen == []


def test_a_licence_that_binds_is_accepted_first(store: ModelStore, fake: FakeHub) -> None:
    bound = model_of(FILES, BOUND)
    with pytest.raises(
        ConfirmationNeededError, match=r"Bound \(https\S+\), which allows research; .*--accept-licence b"
    ):
        pulled(store, fake, bound)
    assert fake.seen == []
    at = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
    Licences(store.root.parent).accept(BOUND, at)
    assert pulled(store, fake, bound) == list(FILES)
    kept = json.loads((store.root.parent / "licences" / "bound.json").read_text())
    assert kept == {"accepted_at": at.isoformat(), "licence": "Bound", "url": BOUND.url}
