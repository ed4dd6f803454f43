"""The bench of XTTS's engine, on a network that is too narrow to be worth its figures."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Iterator

import pytest

from tools.bench import xtts

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("TTS") is None, reason="coqui-tts is not installed: pip install 'avatar[xtts]'"
)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """So narrow a network has too little work for several, which wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
async def test_every_measure_is_taken_by_number_of_sessions() -> None:
    parser = argparse.ArgumentParser()
    xtts.options(parser)
    few = ["--random-weights", "narrow", "--device", "cpu", "--tokens", "70", "--repeat", "1", "--library-repeat", "1"]
    few += ["--rows", "1", "2", "--sessions", "1", "2", "--utterances", "2"]
    record = await xtts.measure(parser.parse_args(few))
    by_name = {row.measure: row for row in record.rows}
    for rows in (1, 2):
        assert by_name[f"one step, cpu plain, {rows} rows"].p50 > 0
        assert by_name[f"vocoder, 76 frames, {(1, 8)[rows - 1]} at once"].p50 > 0
    for name, sessions in (("1 session", 1), ("2 sessions", 2)):
        assert by_name[f"{name}: text to first sound"].count == 2 * sessions
        assert 0 <= by_name[f"{name}: utterances with a gap over 100 ms"].p50 <= 100
        # As long as was asked: 70 tokens are 3.25 s, of which this network makes each in no time.
        assert 0 < by_name[f"{name}: time over length of speech"].p50 < 1
    # The library waits for 20 tokens and makes them again and again.
    ours, theirs = (by_name[f"{who}: text to first sound"].p50 for who in ("1 session", "the library"))
    assert 0 < ours < theirs
