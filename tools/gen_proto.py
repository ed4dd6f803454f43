"""Generates proto/gen from proto/avatar; with --check, says whether what is committed is up to date."""

from __future__ import annotations

import argparse
import filecmp
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import google.api

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
GENERATED = PROTO / "gen"


def generate(out: Path) -> None:
    """Write Python modules, their type stubs and Envoy's descriptor set (avatar.pb) below `out`."""
    out.mkdir(parents=True, exist_ok=True)
    sources = sorted(str(path.relative_to(PROTO)) for path in (PROTO / "avatar").rglob("*.proto"))
    google_protos = Path(next(iter(google.api.__path__))).parent.parent
    include = [f"-I{PROTO}", f"-I{google_protos}"]
    # Plugins are scripts of this environment, which need not be on the path.
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    protoc = [sys.executable, "-m", "grpc_tools.protoc", *include]
    subprocess.run(
        [
            *protoc,
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            f"--mypy_out=quiet:{out}",
            f"--mypy_grpc_out=quiet:{out}",
            *sources,
        ],
        check=True,
        env=env,
    )
    # Rich error details and the standard services are in the set so that Envoy can turn them into JSON.
    subprocess.run(
        [
            *protoc,
            "--include_imports",
            f"--descriptor_set_out={out / 'avatar.pb'}",
            *sources,
            "google/rpc/error_details.proto",
        ],
        check=True,
    )


def differences(expected: Path, actual: Path) -> list[str]:
    """Paths below either folder that the other lacks or holds with other content."""
    names = {str(p.relative_to(root)) for root in (expected, actual) for p in root.rglob("*") if p.is_file()}
    names = {name for name in names if "__pycache__" not in name}
    return sorted(
        name
        for name in names
        if not (
            (expected / name).is_file()
            and (actual / name).is_file()
            and filecmp.cmp(expected / name, actual / name, shallow=False)
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with what is committed, write nothing")
    if not parser.parse_args().check:
        generate(GENERATED)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        stale = differences(Path(folder), GENERATED)
    for name in stale:
        print(f"proto/gen/{name} is not what tools/gen_proto.py makes; run it and commit the result", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
