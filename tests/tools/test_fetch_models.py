"""A container's volume is made whole from what its image holds, without a network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from services.common.models import MODEL_FILES, is_in_place
from services.common.settings import Settings
from tools.fetch_models import HashMismatchError, copy

STT = [file for file in MODEL_FILES if file.process == "stt"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "image"
    shutil.copytree(Settings().data_dir / "models", folder)
    return folder


def test_an_empty_volume_gets_what_one_process_reads(source: Path, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    assert copy(volume, source, STT) == [file.name for file in STT]
    assert sorted(path.name for path in volume.iterdir()) == sorted(file.name for file in STT)
    assert all(is_in_place(file, volume) for file in STT)


def test_a_volume_of_an_older_image_is_brought_up_to_date_and_a_whole_one_left_alone(
    source: Path, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    copy(volume, source, STT)
    (volume / STT[0].name).write_bytes(b"an older model")
    assert copy(volume, source, STT) == [STT[0].name]
    before = {path: path.stat().st_mtime_ns for path in volume.iterdir()}
    assert copy(volume, source, STT) == []
    assert {path: path.stat().st_mtime_ns for path in volume.iterdir()} == before


def test_what_is_not_the_pinned_file_is_not_taken(source: Path, tmp_path: Path) -> None:
    (source / STT[0].name).write_bytes(b"something else")
    with pytest.raises(HashMismatchError, match=STT[0].name):
        copy(tmp_path / "volume", source, STT)
    assert not (tmp_path / "volume").exists()
