"""Coverage-guided fuzzing of one parser: `python -m tests.fuzz.guided picture FOLDER -runs=10000 -seed=1`.

libFuzzer (by atheris) keeps in the folder what reaches new code and damages that further, structure first. It ends the
process at the first crash, hang or bomb, and leaves the input that caused it in the folder as well.

Memory is checked here after each input. libFuzzer looks once a second, so it misses short runs and blames whichever
input is being read; and it asks getrusage, where Linux counts the peak of the process that started this one as its own.
"""

from __future__ import annotations

import random
import re
import resource
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["multipart", "services"]):
    from tests.fuzz.parsers import PARSERS
from tests.fuzz.mutate import mutated

MAX_BYTES = 300_000
# An input that takes longer, or a process that takes more, has found a bomb.
LONGEST_S, MOST_MIB = 10, 800


def peak_mib() -> int:
    """The most memory that this process has held, without what the one that started it held."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None, "Linux tells VmHWM of every process"
    return int(found[1]) // 1024


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

    def try_on(data: bytes) -> None:
        parser.try_on(data)
        if (peak := peak_mib()) > MOST_MIB:
            raise MemoryError(f"{len(data)} bytes took the process to {peak} MiB; {MOST_MIB} MiB are enough")

    inherited_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    limits = [
        f"-max_len={MAX_BYTES}",
        f"-timeout={LONGEST_S}",
        # Ends what would fill the machine before it is read to its end.
        f"-rss_limit_mb={inherited_mib + MOST_MIB}",
        f"-artifact_prefix={found}/",
    ]
    atheris.Setup([sys.argv[0], str(kept), *limits, *options], try_on, custom_mutator=mutate, internal_libfuzzer=True)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
