"""Writes the README's table of figures from the newest bench records; with --check, compares it with those it names."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.bench.record import RECORDS, ROOT

README = ROOT / "README.md"
_BEGIN, _END = "<!-- figures: tools/measured_table.py -->\n", "<!-- end of figures -->"
# The measure in the record, by the name of the record, and how the README says it.
_ROWS = (
    ("conversation", "speech end to first avatar audio", "you stop speaking, until you hear the answer"),
    ("conversation", "decision to silence in the browser", "decision to stop, until it is silent in the browser"),
    ("conversation", "|skew|", "sound against picture, either way"),
    ("conversation", "cut off in mid-sentence", "turns that were cut off in mid-sentence"),
    ("conversation", "false stops (synthetic cough, hum)", "coughs and hums that stopped the answer"),
    ("wire", "video, made to painted", "a frame made, until it is painted"),
    ("wire", "microphone sample to recogniser", "microphone, until the recogniser has the sample"),
    ("wire", "expression command to painted face", "expression asked for, until it is painted"),
    ("render", "one frame, 512 x 512 I420, made", "one frame of 512 x 512"),
    ("tts", "text to first audible sample (its place included)", "text, until its first audible sample"),
)
_NAMES = tuple(dict.fromkeys(name for name, *_ in _ROWS))


def newest() -> dict[str, Path]:
    """The newest record of each kind. Raises: FileNotFoundError where there is none."""
    found = {}
    for name in _NAMES:
        records = sorted(RECORDS.glob(f"{name}-*.json"))
        if not records:
            raise FileNotFoundError(f"there is no record of {name}; `avatar bench {name} --keep` makes one")
        found[name] = records[-1]
    return found


def named(readme: str) -> dict[str, Path]:
    """The records that a README's table names."""
    names = re.findall(r"\((tools/bench/records/(\w+)-[^)]*\.json)\)", _table_in(readme))
    return {name: ROOT / path for path, name in names}


def _table_in(readme: str) -> str:
    return readme.partition(_BEGIN)[2].partition(_END)[0]


def _figure(value: float, unit: str) -> str:
    digits = 0 if value >= 10 else 1
    return f"{value:.{digits}f} {unit}"


def table(records: Mapping[str, Path]) -> str:
    """The table, and where its figures come from."""
    contents: dict[str, Any] = {name: json.loads(path.read_text()) for name, path in records.items()}
    lines = ["| | p50 | p95 | goal | times measured |", "|---|---|---|---|---|"]
    for name, measure, said in _ROWS:
        row = next(row for row in contents[name]["rows"] if row["measure"] == measure)
        is_share = row["unit"] == "%"
        p95 = "" if is_share else _figure(row["p95"], row["unit"])
        goal = row["must"] + ("" if "%" in row["must"] or not row["must"] else f" {row['unit']}")
        lines.append(f"| {said} | {_figure(row['p50'], row['unit'])} | {p95} | {goal} | {row['count']} |")
    machines = {(one["hardware"]["cpu"], one["hardware"]["cores"]) for one in contents.values()}
    on = " and ".join(f"{cores} cores of an {cpu}" for cpu, cores in sorted(machines))
    links = ", ".join(f"[{name}]({path.relative_to(ROOT)})" for name, path in records.items())
    return "\n".join([*lines, "", f"Embedded engines on {on}, browser and all. Records: {links}.", ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the records that the table names")
    readme = README.read_text()
    if parser.parse_args().check:
        if _table_in(readme) != table(named(readme)):
            print("the figures in README.md are not those of the records; run tools/measured_table.py", file=sys.stderr)
            return 1
        return 0
    before, _, rest = readme.partition(_BEGIN)
    README.write_text(before + _BEGIN + table(newest()) + _END + rest.partition(_END)[2])
    return 0


if __name__ == "__main__":
    sys.exit(main())
