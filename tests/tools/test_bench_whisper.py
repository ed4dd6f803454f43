"""The bench of Whisper's engine, on a network that is too narrow to be worth its figures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tools.bench import whisper
from tools.bench.record import Row


async def rows_of(arguments: Sequence[str]) -> list[Row]:
    parser = argparse.ArgumentParser()
    whisper.options(parser)
    return list((await whisper.measure(parser.parse_args(arguments))).rows)


async def test_every_measure_is_taken_by_number_of_streams() -> None:
    few = ["--random-weights", "narrow", "--device", "cpu", "--max-batch", "1", "--repeat", "1", "--plain-repeat", "1"]
    rows = await rows_of([*few, "--seconds", "0.8", "--streams", "1", "2", "--stretches", "2"])
    by_name = {row.measure: row for row in rows}
    assert by_name["0.8 s of speech, 3 tokens to final, batch 1"].p50 > 0
    plain = next(number for number, row in enumerate(rows) if row.measure.endswith("by a plain loop without a cache"))
    library = next(number for number, row in enumerate(rows) if ", by transformers " in row.measure)
    for number in (plain, library):
        assert rows[number].p50 > 0
        assert rows[number + 1].measure == "  tokens like ours, of 3"
        assert rows[number + 1].p50 == 3
    for streams in (1, 2):
        assert by_name[f"{streams} streams: first sample to first interim"].p50 > 300
        assert by_name[f"{streams} streams: word spoken to word in an interim"].count >= streams
        assert by_name[f"{streams} streams: speech end to final, asked for at once"].count == streams
