"""Triton's kernels are used where they fit and were found right, and a reason is given where they are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services.render.engines.liveportrait.config import (
    NARROW,
    OFFICIAL,
    DenseMotionConfig,
    LivePortraitConfig,
)
from services.render.engines.liveportrait.fast.acceleration import UnavailableError, attempted, misfit


def test_the_official_sizes_fit() -> None:
    assert misfit(OFFICIAL) == ""


def test_the_narrow_sizes_do_not_fit() -> None:
    assert "64 pixels wide or a multiple of it, not 8" in misfit(NARROW)


def hourglass(**sizes: int) -> LivePortraitConfig:
    return replace(OFFICIAL, warping=replace(OFFICIAL.warping, dense_motion=DenseMotionConfig(**sizes)))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (replace(OFFICIAL, generator=replace(OFFICIAL.generator, out_channels=32)), "a multiple of 64 channels"),
        (replace(OFFICIAL, generator=replace(OFFICIAL.generator, out_channels=256)), "changes the number of channels"),
        (hourglass(compress=8), "4 compressed features, not 8"),
        (hourglass(block_expansion=64), "64 channels and up to 16 more, not 176"),
    ],
)
def test_other_sizes_are_told_what_would_fit(config: LivePortraitConfig, reason: str) -> None:
    assert reason in misfit(config)


def test_an_attempt_that_comes_back_is_forgotten(tmp_path: Path) -> None:
    note = tmp_path / "kernels" / "attempts"
    for _ in range(5):
        with attempted(note):
            assert note.exists()
        assert not note.exists()


def test_an_attempt_that_fails_in_words_is_forgotten_too(tmp_path: Path) -> None:
    note = tmp_path / "attempts"
    with pytest.raises(UnavailableError, match="too old"), attempted(note):
        raise UnavailableError("too old")
    assert not note.exists()


def test_what_ended_the_process_twice_is_not_tried_again(tmp_path: Path) -> None:
    note = tmp_path / "attempts"
    # As a process leaves it that ended in its first attempt.
    note.write_bytes(b".")
    with attempted(note):
        left_by_the_second = note.read_bytes()
    note.write_bytes(left_by_the_second)
    with pytest.raises(UnavailableError, match=f"ended the process 2 times; delete {note}"), attempted(note):
        pass


def test_without_a_folder_nothing_is_counted() -> None:
    with attempted(None):
        pass
