"""Prints the part of a lock that one image needs, hashes and all: `python tools/image_requirements.py tts otel`.

What the product runs on is in requirements.lock; `--lock requirements-dev.lock` has the production engines too. It runs
in the image's build with nothing installed, so it reads the lock's own notes of what asked for each package.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# No lock chooses a build of PyTorch. The others have no wheel (for 64-bit ARM), and are not needed: docopt is for the
# command of num2words, monotonic-alignment-search for voices of coqui-tts that are not XTTS.
_LEFT_OUT = frozenset({"torch", "docopt", "monotonic-alignment-search"})
# The lock's word for what pyproject.toml asks for by itself.
_PROJECT = "avatar"


def _normal(name: str) -> str:
    """https://packaging.python.org/en/latest/specifications/name-normalization/"""
    return re.sub(r"[-_.]+", "-", name).lower()


def direct(pyproject: Mapping[str, object], extras: Iterable[str]) -> set[str]:
    """The packages that pyproject.toml names for every process and for some extras.

    Raises: SystemExit if there is no such extra.
    """
    project = pyproject["project"]
    assert isinstance(project, dict)
    offered: dict[str, list[str]] = project["optional-dependencies"]
    wanted = list(project["dependencies"])
    for extra in extras:
        if extra not in offered:
            sys.exit(f"there is no extra {extra}; there are {', '.join(offered)}")
        wanted += offered[extra]
    names = (_NAME.match(requirement) for requirement in wanted)
    return {_normal(name[0]) for name in names if name}


def entries(lock: str) -> dict[str, str]:
    """Each package of the lock with its lines: version, hashes, and what asked for it."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lock.splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==", line):
            current = found.setdefault(_normal(match[1]), [])
        current.append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}


def _asked_for(packages: Mapping[str, str]) -> dict[str, set[str]]:
    """Package -> those that it asks for."""
    asked: dict[str, set[str]] = defaultdict(set)
    for name, lines in packages.items():
        # A line that begins with -c names the lock that this one was held to.
        for asker in re.findall(r"^    #(?:   | via )([A-Za-z0-9][A-Za-z0-9._-]*)", lines, re.MULTILINE):
            asked[_normal(asker)].add(name)
    asked.pop(_PROJECT, None)
    return asked


def subset(lock: str, wanted: Iterable[str]) -> str:
    """The lock's entries for `wanted` and for everything that these ask for in turn, but for what is left out."""
    packages = {name: lines for name, lines in entries(lock).items() if name not in _LEFT_OUT}
    asked = _asked_for(packages)
    found: set[str] = set()
    open_ends = set(wanted) - _LEFT_OUT
    while open_ends:
        found |= open_ends
        open_ends = {name for one in open_ends for name in asked.get(one, ())} - found
    return "".join(f"{packages[name]}\n" for name in sorted(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extras", nargs="+", metavar="EXTRA", help="of pyproject.toml")
    parser.add_argument("--lock", default="requirements.lock", help="a file beside pyproject.toml")
    given = parser.parse_args()
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    sys.stdout.write(subset((ROOT / given.lock).read_text(), direct(pyproject, given.extras)))


if __name__ == "__main__":
    main()
