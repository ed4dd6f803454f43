"""The bench of whole conversations on one GPU, on a CPU and networks that are too narrow to be worth their figures."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from services.common.settings import Settings
from tools.bench import one_gpu, one_gpu_loads
from tools.bench.caller import Arrivals
from tools.bench.one_gpu_calls import STAGES

_NEEDED = ("torch", "TTS")


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.skipif(not all(map(importlib.util.find_spec, _NEEDED)), reason="pip install 'avatar[liveportrait,xtts]'")
async def test_one_command_measures_the_engines_and_the_conversations(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    one_gpu.options(parser)
    few = ["--narrow", "--device", "cpu", "--callers", "1", "--seconds", "1", "--alone-s", "2"]
    models = ["--models", str(Settings().data_dir / "models"), "--data-dir", str(tmp_path)]
    record = await one_gpu.measure(parser.parse_args([*few, *models]))
    rows = {row.measure: row for row in record.rows}
    # A CPU that has other work cannot draw this face at all, and the embedded one is no engine of a GPU.
    assert all("not drawn by the production engine" in why for why in record.raw["failed"].values())
    for measure in set(one_gpu_loads.UNITS) - {one_gpu_loads.FRAME}:
        shared, alone = rows[f"1: {measure}, beside the others"], rows[f"1: {measure}, alone"]
        assert rows[f"1: {measure}, times slower"].p50 == pytest.approx(shared.p50 / alone.p50)
    assert rows["1: turns without an answer"].worst == 0
    assert rows["1: interruptions that stopped nothing"].worst == 0
    until = [rows[f"1:   of which until {stage.replace('_', ' ')}"].p50 for stage in STAGES]
    assert 0 < until[0] <= until[2] <= until[3] <= until[4]
    assert rows["1: speech end to first avatar audio"].p50 > until[3]
    assert rows["1: decision to silence at the caller"].p50 < rows["1: first sound of the caller to silence"].p50
    assert {"1: late or missing frames", "1: audio gaps over 100 ms", "1: frames of a face per second"} <= rows.keys()
    assert "none" in record.settings["edge"]
    assert record.raw["metrics"]["1"]["orchestrator"]["avatar_video_frames_sent_total"] > 0


def test_frames_are_placed_by_their_senders_reports_across_the_end_of_the_counter() -> None:
    arrivals = Arrivals("video")
    first = (1 << 32) - 3600
    for number in range(3):
        arrivals.take((first + 3600 * number) % (1 << 32))
    # The second one is reported as captured at 100.25 s of NTP's clock.
    arrivals.report(int(100.25 * (1 << 32)), 0)
    captured_s = arrivals.captured_s()
    assert np.diff(captured_s) == pytest.approx([0.04, 0.04])
    assert np.diff(arrivals.places_s()) == pytest.approx([0.04, 0.04])
    assert arrivals.reported == [(100.25 - 2_208_988_800, 1 << 32)]
