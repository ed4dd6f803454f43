"""The bench of LivePortrait's networks runs, here on narrow ones and a CPU."""

from __future__ import annotations

import argparse

import pytest

from tools.bench import render


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    render.options(parser)
    return parser


async def test_every_batch_size_and_network_is_measured(parser: argparse.ArgumentParser) -> None:
    options = "--engine liveportrait --sizes narrow --device cpu --batches 1 3 --repeat 4"
    record = await render.measure(parser.parse_args(options.split()))
    assert record.name == "liveportrait"
    figures = {row.measure: row for row in record.rows}
    for size in (1, 3):
        assert figures[f"batch of {size}, asked for until in memory"].p50 > 0
        assert figures[f"frames per second, batches of {size}"].p50 > 0
        for part in ("W", "G", "bytes"):
            assert figures[f"{part} by torch, batch of {size}"].count >= 3
    assert figures["PSNR against the plain path in float32"].p50 > 45
    assert record.raw["way"]["name"] == "cpu plain"
    assert not any("official" in measure for measure in figures)


async def test_a_folder_that_is_no_checkout_of_the_official_code_is_told_so(
    parser: argparse.ArgumentParser, tmp_path: object
) -> None:
    options = f"--engine liveportrait --sizes narrow --device cpu --batches 1 --repeat 1 --official {tmp_path}"
    with pytest.raises(FileNotFoundError, match="is no checkout of LivePortrait"):
        await render.measure(parser.parse_args(options.split()))
