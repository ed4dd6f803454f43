"""LivePortrait's networks alone, without a service: time to ready, each network and batch size, memory, precision.

Weights are random. With --official the official networks draw the same frames in the same run.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tools.bench.record import Record

BATCHES = (1, 2, 4, 8, 16)


def options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--device", default="", help="cuda or cpu; by default a GPU if there is one")
    parser.add_argument("--sizes", choices=("official", "narrow"), default="official", help="narrow is for a quick try")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--repeat", type=int, default=100, help="frames of each measure, at least")
    parser.add_argument("--compiled", type=Path, help="folder that keeps compiled kernels; empty is a first start")
    parser.add_argument("--official", type=Path, help="checkout of https://github.com/KwaiVGI/LivePortrait")


async def measure(given: argparse.Namespace) -> Record:
    """Draw by every batch size, as fast as frames come."""
    # PyTorch is there only where this engine is installed.
    from tools.bench.liveportrait_figures import figures

    with tempfile.TemporaryDirectory() as scratch:
        rows, raw = figures(
            given.sizes, given.device, given.batches, given.repeat, given.compiled or Path(scratch), given.official
        )
    return Record("liveportrait", rows, {key: str(value) for key, value in vars(given).items()}, raw)
