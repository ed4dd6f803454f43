"""XTTS alone, without a service: one step by number of rows, its other parts, and many sessions that speak at once.

Weights are random, of the official sizes, and every text is as long as is asked; so every figure is of the work that
real weights take. The library's own streaming speaks the same text in the same run.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from tools.bench.record import Record


def options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--random-weights", choices=("official", "narrow"), default="official", help="their sizes")
    parser.add_argument("--folder", type=Path, help="keeps the random weights, 2 GB, from one run to the next")
    parser.add_argument("--device", default="", help="cuda or cpu; by default a GPU if there is one")
    parser.add_argument("--tokens", type=int, default=108, help="audio tokens of each utterance; 108 are 5 s")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 32, 64], help="of a step, number by number")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 8, 32, 64], help="at once, run by run")
    parser.add_argument("--utterances", type=int, default=4, help="that each session speaks, one after the other")
    parser.add_argument("--repeat", type=int, default=10, help="times that each part is run")
    parser.add_argument("--library-repeat", type=int, default=3, help="times that the library speaks; 0 leaves it out")


async def measure(given: argparse.Namespace) -> Record:
    """The parts, then the sessions, number by number, then the library."""
    # PyTorch is there only where this engine is installed.
    from tools.bench.xtts_figures import figures

    with tempfile.TemporaryDirectory(prefix="xtts-") as scratch:
        rows = figures(given, given.folder or Path(scratch))
    settings = {key: str(value) for key, value in vars(given).items()} | {"cores": str(os.cpu_count())}
    return Record("xtts", rows, settings)
