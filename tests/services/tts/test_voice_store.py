"""Voices are kept whole or not at all, survive the process, and hold nothing that could be run."""

from __future__ import annotations

import contextlib
import gc
import json
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from services.common.errors import EngineError, InvalidRequestError, NotFoundError, OverloadedError, ProtocolError
from services.tts.engine import Conditioning
from services.tts.voice_recording import Quality
from services.tts.voice_store import VoiceRecord, VoiceStore, checked_wish, voice_id_of

QUALITY = Quality(8.0, 5.5, -20.0, 40.0, ("A sentence.",))
ARRAYS: dict[str, np.ndarray] = {
    "latent": np.arange(6, dtype=np.float32).reshape(2, 3),
    "embedding": np.ones(4, np.float16),
}
CONSENT = "I am a buzz"


@pytest.fixture
def store(tmp_path: Path) -> VoiceStore:
    return VoiceStore(tmp_path, max_voices=2)


def record(voice_id: str, *, has_recording: bool = False, second: int = 0) -> VoiceRecord:
    created_at = datetime(2026, 11, 27, 12, 0, second, tzinfo=UTC)
    return VoiceRecord(voice_id, voice_id.title(), CONSENT, "fake-1", has_recording, QUALITY, created_at)


def files(data_dir: Path) -> list[str]:
    return sorted(str(path.relative_to(data_dir / "voices")) for path in (data_dir / "voices").rglob("*"))


def test_a_voice_survives_a_restart(tmp_path: Path, store: VoiceStore) -> None:
    made = record("zoe", has_recording=True)
    store.add(made, ARRAYS, b"the file")
    again = VoiceStore(tmp_path, max_voices=2)
    assert again.records() == [made]
    assert again.recording("zoe") == (made, b"the file")
    for kept in (store.conditioning("zoe"), again.conditioning("zoe")):
        assert kept.arrays.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(kept.arrays[name], array, strict=True)


def test_a_recording_is_kept_only_where_that_was_asked_for(tmp_path: Path, store: VoiceStore) -> None:
    store.add(record("zoe"), ARRAYS, None)
    assert files(tmp_path) == ["zoe", "zoe/arrays.npz", "zoe/voice.json"]
    with pytest.raises(ProtocolError, match=r"voices/zoe was not kept; .*keep_recording=true"):
        store.recording("zoe")


def test_there_is_one_conditioning_of_a_voice_until_it_is_gone(store: VoiceStore) -> None:
    store.add(record("zoe", has_recording=True), ARRAYS, b"1")
    first = store.conditioning("zoe")
    assert store.conditioning("zoe") is first
    assert store.is_current("zoe", first)
    store.exchange(record("zoe", has_recording=True), {"latent": np.zeros(1)}, b"1")
    assert not store.is_current("zoe", first)
    assert list(store.conditioning("zoe").arrays) == ["latent"]


def test_what_an_engine_keeps_of_a_voice_goes_with_it(store: VoiceStore) -> None:
    on_device: weakref.WeakKeyDictionary[Conditioning, str] = weakref.WeakKeyDictionary()
    for name in ("zoe", "ann"):
        store.add(record(name), ARRAYS, None)
        on_device[store.conditioning(name)] = name
    store.delete("zoe")
    gc.collect()
    assert list(on_device.values()) == ["ann"]


def test_voices_that_come_and_go_at_once_are_whole_or_not_there(tmp_path: Path) -> None:
    store = VoiceStore(tmp_path, max_voices=1000)
    seen: list[int] = []

    def come_and_go(number: int) -> None:
        name = f"v{number % 5}"
        with contextlib.suppress(InvalidRequestError):
            store.add(record(name), {"number": np.full(1000, number)}, None)
        with contextlib.suppress(NotFoundError):
            values = np.unique(store.conditioning(name).arrays["number"])
            seen.append(len(values))
        with contextlib.suppress(NotFoundError):
            store.delete(name)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(come_and_go, range(200)))
    assert set(seen) == {1}
    assert {known.voice_id for known in store.records()} == {path.name for path in (tmp_path / "voices").iterdir()}


def test_a_deleted_voice_leaves_nothing(tmp_path: Path, store: VoiceStore) -> None:
    store.add(record("zoe", has_recording=True), ARRAYS, b"1")
    loaded = store.conditioning("zoe")
    store.delete("zoe")
    assert files(tmp_path) == []
    assert not store.is_current("zoe", loaded)
    for act in (store.conditioning, store.recording, store.delete):
        with pytest.raises(NotFoundError, match="voices/zoe"):
            act("zoe")
    with pytest.raises(NotFoundError, match="voices/zoe"):
        store.exchange(record("zoe"), ARRAYS, b"1")
    assert files(tmp_path) == []


def test_the_oldest_comes_first(store: VoiceStore) -> None:
    for second, name in ((30, "late"), (10, "early")):
        store.add(record(name, second=second), ARRAYS, None)
    assert [known.voice_id for known in store.records()] == ["early", "late"]


def test_one_more_than_the_limit_is_refused_with_the_limit(store: VoiceStore) -> None:
    for name in ("one", "two"):
        store.check_room()
        store.add(record(name), ARRAYS, None)
    with pytest.raises(OverloadedError, match="2 voices already") as refused:
        store.check_room()
    assert refused.value.limit == "max_voices=2"


def test_a_failed_write_leaves_nothing(tmp_path: Path, store: VoiceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space"):
        store.add(record("zoe"), ARRAYS, None)
    assert files(tmp_path) == []
    assert store.record("zoe") is None


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({}, "0 bytes"),
        ({"latent": np.zeros(65 * 2**20, np.uint8)}, "1 to 67108864 are kept"),
        ({"latent": np.array([{"a": 1}], object)}, "arrays of numbers are kept"),
        ({"text": np.array(["a"])}, "arrays of numbers are kept"),
        ({"../latent": np.zeros(1)}, "arrays of numbers are kept"),
        ({"file": np.zeros(1)}, "arrays of numbers are kept"),
    ],
    ids=["nothing", "too much", "objects", "text", "path", "reserved"],
)
def test_what_is_no_array_of_numbers_is_not_kept(
    tmp_path: Path, store: VoiceStore, arrays: dict[str, np.ndarray], said: str
) -> None:
    with pytest.raises(EngineError, match=said):
        store.add(record("zoe"), arrays, None)
    assert files(tmp_path) == []


class Trap:
    """Sets a mark when it is unpickled."""

    is_sprung = False

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return Trap._spring, ()

    @staticmethod
    def _spring() -> None:
        Trap.is_sprung = True


def test_arrays_with_code_in_them_are_not_run(tmp_path: Path, store: VoiceStore) -> None:
    store.add(record("zoe"), ARRAYS, None)
    np.savez(tmp_path / "voices" / "zoe" / "arrays.npz", latent=np.array([Trap()], object))
    with pytest.raises(EngineError, match="voices/zoe are damaged; delete it"):
        store.conditioning("zoe")
    (tmp_path / "voices" / "zoe" / "arrays.npz").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(EngineError, match="voices/zoe are damaged; delete it"):
        store.conditioning("zoe")
    assert not Trap.is_sprung


def test_what_a_crash_left_is_swept_away_and_a_broken_folder_hides_no_other(tmp_path: Path, store: VoiceStore) -> None:
    store.add(record("zoe"), ARRAYS, None)
    folder = tmp_path / "voices"
    for name, meta in (("broken", "{"), ("list", "[]"), ("other", json.dumps({"voice_id": "other"})), ("No Id", "{}")):
        (folder / name).mkdir()
        (folder / name / "voice.json").write_text(meta)
    (folder / "~half-1234").mkdir()
    again = VoiceStore(tmp_path, max_voices=2)
    assert [known.voice_id for known in again.records()] == ["zoe"]
    assert not (folder / "~half-1234").exists()


def test_an_id_and_a_name_are_made_when_none_are_given() -> None:
    (one, name), (other, _) = (checked_wish("", "", CONSENT, {}) for _ in range(2))
    assert one != other
    assert name == one
    assert voice_id_of(f"voices/{one}") == one


@pytest.mark.parametrize(
    ("voice_id", "display_name", "consent", "said"),
    [
        ("anna", "", CONSENT, "voices/anna exists already"),
        ("Zoe", "", CONSENT, "1 to 63 of a-z"),
        ("-zoe", "", CONSENT, "not '-' at either end"),
        ("../zoe", "", CONSENT, "1 to 63 of a-z"),
        ("zoe\n", "", CONSENT, "1 to 63 of a-z"),
        ("z" * 64, "", CONSENT, "1 to 63"),
        ("zoe", "", "", "who agreed"),
        ("zoe", "", "   ", "who agreed"),
        ("zoe", "", "x" * 501, "1 to 500"),
        ("zoe", "x" * 81, CONSENT, "at most 80"),
        ("zoe", "two\nlines", CONSENT, "on one line"),
        ("zoe", "Anna (female)", CONSENT, "a voice 'Anna \\(female\\)' already"),
        ("zoe", "anna", CONSENT, "a voice 'anna' already"),
    ],
)
def test_a_wrong_wish_is_refused_in_words(voice_id: str, display_name: str, consent: str, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        checked_wish(voice_id, display_name, consent, {"anna": "Anna (female)"})


@pytest.mark.parametrize("name", ["zoe", "voices/", "voices/../x", "voices/a/b", "avatars/zoe", "voices/Zoe"])
def test_a_name_that_is_no_voices_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError):
        voice_id_of(name)
