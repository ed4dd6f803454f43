"""Coverage-guided fuzzing of one parser: `python -m tests.fuzz.guided picture FOLDER -runs=10000 -seed=1`.

libFuzzer (by atheris) keeps in the folder what reaches new code and damages that further, structure first. It ends the
process at the first crash, hang or bomb, and leaves the input that caused it in the folder as well.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["multipart", "services"]):
    from tests.fuzz.parsers import PARSERS
from tests.fuzz.mutate import mutated

MAX_BYTES = 300_000
# An input that takes longer, or a process that takes more, has found a bomb.
LONGEST_S, MOST_MIB = 10, 800


def main() -> None:
    name, folder, *options = sys.argv[1:]
    parser = PARSERS[name]
    files = parser.seeds()
    kept, found = Path(folder) / "kept", Path(folder) / "found"
    for place in (kept, found):
        place.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(files):
        (kept / f"seed-{number}").write_bytes(file)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        # Most of what is kept is damaged already; a fresh file leads to new places.
        start = rng.choice(files) if len(data) < 16 or rng.random() < 0.2 else data
        return mutated(start, rng, files)[:max_size]

    limits = [
        f"-max_len={MAX_BYTES}",
        f"-timeout={LONGEST_S}",
        f"-rss_limit_mb={MOST_MIB}",
        f"-artifact_prefix={found}/",
    ]
    atheris.Setup(
        [sys.argv[0], str(kept), *limits, *options], parser.try_on, custom_mutator=mutate, internal_libfuzzer=True
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
