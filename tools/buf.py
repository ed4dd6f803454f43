"""Lints the contract, or compares it with earlier commits, by buf and without a network."""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import google.api

ROOT = Path(__file__).resolve().parent.parent
BUF = ROOT / "tools" / "node" / "node_modules" / ".bin" / "buf"
CONTRACT = "proto/avatar"
# Names a commit or branch to compare with, instead of what `bases` finds.
BASE_KEY = "AVATAR_CONTRACT_BASE"


def _git(*arguments: str) -> bytes | None:
    """What git prints, or None where it fails: no such commit, or no repository."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def bases() -> list[str]:
    """Commits whose contract this tree must not break.

    HEAD, and the commit that this work began at: where it left origin/main, or on main itself the commit before HEAD.
    A shallow clone and a first commit have fewer; an empty list means that nothing earlier is known.
    """
    if named := os.environ.get(BASE_KEY):
        return [named]
    head = _git("rev-parse", "HEAD")
    fork = _git("merge-base", "HEAD", "origin/main")
    candidates = ["HEAD", "HEAD~1" if fork is None or fork == head else fork.decode().strip()]
    return [commit for commit in candidates if _git("rev-parse", "--verify", "--quiet", f"{commit}:{CONTRACT}")]


def _workspace(folder: Path) -> Path:
    """A buf workspace without the contract itself."""
    google_protos = Path(next(iter(google.api.__path__))).parent
    for package in ("api", "rpc"):
        shutil.copytree(
            google_protos / package,
            folder / "google" / "google" / package,
            ignore=lambda _, names: [name for name in names if Path(name).suffix not in ("", ".proto")],
        )
    shutil.copy(ROOT / "tools" / "buf.yaml", folder)
    return folder


def _buf(*arguments: str) -> int:
    return subprocess.run([BUF, *arguments], check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("check", choices=("lint", "breaking"))
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as name:
        now = _workspace(Path(name) / "now")
        shutil.copytree(ROOT / CONTRACT, now / CONTRACT)
        if check == "lint":
            return _buf("lint", str(now))
        for number, base in enumerate(bases()):
            archive = _git("archive", base, CONTRACT)
            if archive is None:
                print(f"there is no contract in {base}; set {BASE_KEY} to a commit that has one", file=sys.stderr)
                return 1
            before = _workspace(Path(name) / f"before-{number}")
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                tar.extractall(before, filter="data")
            if _buf("breaking", str(now), "--against", str(before)):
                print(f"the contract breaks callers of the one in {base}; within v1 we only add", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
