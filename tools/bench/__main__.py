"""`avatar bench WHAT`: measure one part, print the table, write the record."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
from collections.abc import Sequence

BENCHES = (
    *("conversation", "inputs", "liveportrait", "one_gpu", "render", "sessions"),
    *("stt", "tts", "whisper", "wire", "xtts"),
)


def run(what: str, arguments: Sequence[str]) -> None:
    """Run one bench. Each is a module here with `options(parser)` and `async def measure(given) -> Record`."""
    bench = importlib.import_module(f"tools.bench.{what}")
    parser = argparse.ArgumentParser(prog=f"avatar bench {what}", description=bench.__doc__)
    parser.add_argument("--keep", action="store_true", help="write the record into tools/bench/records")
    bench.options(parser)
    given = parser.parse_args(arguments)
    record = asyncio.run(bench.measure(given))
    record.print()
    if given.keep:
        print(f"kept as {record.write()}")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in BENCHES:
        sys.exit(f"which? {', '.join(BENCHES)}")
    run(sys.argv[1], sys.argv[2:])
