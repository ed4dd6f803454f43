"""Sizes that fit together, and those that do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.render.engines.liveportrait.config import NARROW, OFFICIAL, LivePortraitConfig, MlpConfig


def test_the_official_sizes_are_those_of_the_paper() -> None:
    assert OFFICIAL.volume == (32, 16, 64, 64)
    assert OFFICIAL.output_size == 512
    assert OFFICIAL.generator.in_channels == OFFICIAL.warping.out_channels == 256


def test_weights_do_not_depend_on_the_image_size() -> None:
    larger = replace(NARROW, image_size=96)
    assert larger.volume == (8, 4, 24, 24)
    assert larger.output_size == 192


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"warping": OFFICIAL.warping}, "W reads F's volume"),
        ({"generator": OFFICIAL.generator}, "G reads what W gives"),
        ({"motion": replace(NARROW.motion, num_kp=15)}, "W takes M's keypoints"),
        ({"stitching": MlpConfig(126, (8,), 63)}, "stitching takes two sets"),
        ({"eye": NARROW.lip}, "the eyes' network takes keypoints and three ratios"),
        ({"lip": NARROW.eye}, "the lip's network takes keypoints and two ratios"),
        ({"image_size": 40}, "a multiple of 32"),
        ({"image_size": 0}, "a multiple of 32"),
        ({"appearance": replace(NARROW.appearance, reshape_depth=8)}, "channels times depth"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_by_the_rule_that_they_break(change: dict[str, object], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        replace(NARROW, **change)  # type: ignore[arg-type]


def test_an_hourglass_deeper_than_the_picture_allows_is_refused() -> None:
    with pytest.raises(ValueError, match="halves the volume's edge without a rest"):
        LivePortraitConfig(image_size=64)
