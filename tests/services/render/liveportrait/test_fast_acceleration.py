"""Triton's kernels are used where they fit and were found right, and a reason is given where they are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.render.engines.liveportrait.config import (
    NARROW,
    OFFICIAL,
    DenseMotionConfig,
    LivePortraitConfig,
)
from services.render.engines.liveportrait.fast.acceleration import misfit


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
