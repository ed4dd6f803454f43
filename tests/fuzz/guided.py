"""Coverage-guided fuzzing of one parser: `python -m tests.fuzz.guided picture -runs=10000 -seed=1`.

libFuzzer (by atheris) keeps what reaches new code and damages that further, structure first. It ends the process at
the first crash, hang or leak, and leaves the input that caused it behind.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["services.render.image_file", "services.stt.decode"]):
    from tests.fuzz.parsers import PARSERS
from tests.fuzz.mutate import mutated


def main() -> None:
    name, *options = sys.argv[1:]
    parser = PARSERS[name]
    files = parser.seeds()
    taken = {True: 0, False: 0}

    def try_on(data: bytes) -> None:
        taken[parser.try_on(data)] += 1

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        # Most of what is kept is damaged already; a fresh file leads to new places.
        start = rng.choice(files) if len(data) < 16 or rng.random() < 0.2 else data
        return mutated(start, rng, files)[:max_size]

    with tempfile.TemporaryDirectory() as folder:
        for number, file in enumerate(files):
            (Path(folder) / f"{number}").write_bytes(file)
        atheris.Setup(
            [sys.argv[0], folder, "-max_len=300000", *options], try_on, custom_mutator=mutate, internal_libfuzzer=True
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
