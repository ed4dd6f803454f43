"""What is known of the models in a data directory: by names and sizes, by what was read, and for the engines."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path, PurePosixPath

import pytest

from services.common import model_manifest
from services.common.errors import NotFoundError, NotReadyError
from services.common.model_manifest import MODELS, find
from services.common.model_store import ModelStore, check_file
from tests.fakes.hub import content_of, model_of

FILES = {path: content_of(path, 1000) for path in ("nets/one.pth", "two.onnx")}
MODEL = model_of(FILES)
ONE, TWO = MODEL.files
NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    monkeypatch.setattr(model_manifest, "MODELS", (MODEL,))
    monkeypatch.delenv("AVATAR_CONFIG")
    return ModelStore(tmp_path)


@pytest.fixture
def filled(store: ModelStore) -> ModelStore:
    """With both files, put there by hand."""
    for file in MODEL.files:
        store.path(MODEL, file).parent.mkdir(parents=True, exist_ok=True)
        store.path(MODEL, file).write_bytes(FILES[file.path])
    return store


def test_every_model_is_pinned_and_lies_below_its_folder() -> None:
    for model in MODELS:
        assert re.fullmatch(r"[0-9a-f]{40}", model.revision)
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", model.repository)
        for path in (model.folder, *(file.path for file in model.files)):
            assert not PurePosixPath(path).is_absolute()
            assert ".." not in PurePosixPath(path).parts
        for file in model.files:
            assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
            assert file.size_bytes > 0
        assert model.companion_of in ("", *(other.name for other in MODELS))
        assert bool(model.companion_of) == bool(model.without)
    places = [(model.folder, file.path) for model in MODELS for file in model.files]
    assert len(set(places)) == len(places)
    assert len({model.name for model in MODELS}) == len(MODELS)


def test_liveportrait_lies_as_its_authors_lay_it_out() -> None:
    assert [file.path for file in find("liveportrait").files] == [
        "liveportrait/base_models/appearance_feature_extractor.pth",
        "liveportrait/base_models/motion_extractor.pth",
        "liveportrait/base_models/spade_generator.pth",
        "liveportrait/base_models/warping_module.pth",
        "liveportrait/retargeting_models/stitching_retargeting_module.pth",
        "liveportrait/landmark.onnx",
    ]
    detector = find("insightface")
    assert [file.path for file in detector.files] == [
        "insightface/models/buffalo_l/det_10g.onnx",
        "insightface/models/buffalo_l/2d106det.onnx",
    ]
    assert detector.folder == find("liveportrait").folder
    assert detector.licence.needs_yes
    assert not find("liveportrait").licence.needs_yes


def test_a_wrong_name_is_answered_with_the_right_ones() -> None:
    with pytest.raises(NotFoundError, match=r"no model livportrait \(did you mean liveportrait\?\); there are livep"):
        find("livportrait")


def test_nothing_is_there_before_the_first_pull(store: ModelStore) -> None:
    state = store.state(MODEL)
    assert set(state.files.values()) == {"missing"}
    assert (state.here_bytes, state.verified_at, state.is_complete) == (0, None, False)


def test_files_put_there_by_hand_are_complete_and_not_verified(filled: ModelStore) -> None:
    state = filled.state(MODEL)
    assert set(state.files.values()) == {"unverified"}
    assert (state.here_bytes, state.verified_at, state.is_complete) == (2000, None, True)
    assert filled.complete_folder("tiny") == filled.folder(MODEL)


def test_what_was_read_is_remembered_until_the_file_changes(filled: ModelStore) -> None:
    assert [filled.verify(MODEL, file, NOW) for file in MODEL.files] == ["verified", "verified"]
    assert filled.state(MODEL).verified_at == NOW
    path = filled.path(MODEL, ONE)
    path.write_bytes(FILES[TWO.path])
    assert filled.state(MODEL).files == {ONE.path: "unverified", TWO.path: "verified"}


def test_damage_that_was_found_is_remembered(filled: ModelStore) -> None:
    filled.path(MODEL, ONE).write_bytes(FILES[TWO.path])
    assert filled.verify(MODEL, ONE, NOW) == "damaged"
    assert filled.state(MODEL).files[ONE.path] == "damaged"
    with pytest.raises(NotReadyError, match=r"nets/one\.pth is damaged; fetch the rest by `avatar models pull tiny`"):
        filled.complete_folder("tiny")


def test_a_file_of_another_length_is_damaged_without_being_read(filled: ModelStore) -> None:
    filled.path(MODEL, TWO).write_bytes(b"short")
    assert filled.state(MODEL).files[TWO.path] == "damaged"
    assert filled.verify(MODEL, TWO, NOW) == "damaged"
    assert check_file(filled.path(MODEL, TWO), TWO) == "damaged"


def test_an_engine_is_told_what_is_missing(filled: ModelStore) -> None:
    filled.path(MODEL, TWO).unlink()
    with pytest.raises(NotReadyError, match=r"is not complete in \S+/models: two\.onnx is missing"):
        filled.complete_folder("tiny")
    filled.path(MODEL, ONE).unlink()
    with pytest.raises(NotReadyError, match="it is not here"):
        filled.complete_folder("tiny")


def test_the_command_names_the_settings_that_are_in_use(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVATAR_CONFIG", "/srv/avatar.toml")
    with pytest.raises(NotReadyError, match=r"`avatar --config /srv/avatar\.toml models pull tiny`"):
        store.complete_folder("tiny")


@pytest.mark.parametrize("record", ["{", "[]", '{"nets/one.pth": 1}', '{"nets/one.pth": {"sha256": ""}}'])
def test_a_record_that_cannot_be_read_is_as_none(record: str, filled: ModelStore) -> None:
    (filled.root / "tiny.verified.json").write_text(record)
    assert filled.state(MODEL).files[ONE.path] == "unverified"
    assert filled.verify(MODEL, ONE, NOW) == "verified"
    assert filled.state(MODEL).files[ONE.path] == "verified"


def test_files_are_verified_where_nothing_can_be_kept(filled: ModelStore) -> None:
    (filled.root / "tiny.verified.json").mkdir()
    assert filled.verify(MODEL, ONE, NOW) == "verified"


def test_what_has_come_of_a_file_counts(store: ModelStore) -> None:
    store.part(MODEL, ONE).parent.mkdir(parents=True)
    store.part(MODEL, ONE).write_bytes(bytes(300))
    assert store.state(MODEL).here_bytes == 300
    store.part(MODEL, ONE).write_bytes(bytes(5000))
    assert store.state(MODEL).here_bytes == 1000
