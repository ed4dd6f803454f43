"""Whisper alone, without a service: a final by itself, its parts, and many live streams on one model.

Weights are random, of an official size, and texts are as long as speech of the same length has them; so every figure is
of the work that real weights take. In the same run a plain loop without a cache drives the same network, and
transformers, where it is installed, the same weights.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tools.bench.record import Record


def options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--random-weights", default="large-v3", help="official size, or narrow for a quick try")
    parser.add_argument("--model", type=Path, help="folder with weights, for their own times; texts stay made up")
    parser.add_argument("--device", default="", help="cuda or cpu; by default a GPU if there is one")
    parser.add_argument("--max-batch", type=int, default=16, help="windows that the model takes at once")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16, 64], help="live streams at once, run by run")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each stretch of speech, up to 29")
    parser.add_argument("--tokens-per-second", type=float, default=4.0, help="of speech; 20 in 5 s")
    parser.add_argument("--stretches", type=int, default=4, help="that each live stream speaks, one after the other")
    parser.add_argument("--repeat", type=int, default=20, help="times that each part is run alone")
    parser.add_argument(
        "--plain-repeat", type=int, default=3, help="times that the plain loop and the library run; 0 leaves them out"
    )
    parser.add_argument("--library-compiled", action="store_true", help="the library compiled, too: takes minutes")


async def measure(given: argparse.Namespace) -> Record:
    """Run the parts alone, then the streams, number by number."""
    # PyTorch is there only where this engine is installed.
    from tools.bench.whisper_figures import figures

    rows, left_out = figures(given)
    settings = {key: str(value) for key, value in vars(given).items()} | {"cores": str(os.cpu_count())}
    for what, reason in left_out.items():
        print(f"left out: {what}: {reason}")
    return Record("whisper", rows, settings, {"left_out": left_out})
