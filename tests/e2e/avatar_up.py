"""`avatar up` as people start it, on a device of its own, and a browser on that device or on another."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.common.settings import ServerSettings
from tests.e2e.namespaces import Device
from tests.stack import ROOT

_READY_S, _STOP_S = 90.0, 40.0
PUBLIC_PORTS = (8081, 8082, 8083, 8084, 8085, 8086)
NATIVE_PORTS = (50081, 50082, 50083, 50085, 50086)


@dataclass(frozen=True, slots=True)
class AvatarUp:
    """A stack that `avatar up` runs. Args: pid: of its supervisor."""

    device: Device
    data_dir: Path
    pid: int

    @property
    def token(self) -> str:
        return (self.data_dir / "token").read_text().strip()

    def log(self, name: str) -> str:
        return (self.data_dir / "logs" / f"{name}.log").read_text(errors="replace")

    def process(self, module: str) -> int:
        """The process id of a part. Args: module: as it is started, such as "orchestrator"."""
        for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            if f"-m\0{module}\0".encode() in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        raise ProcessLookupError(f"no child of {self.pid} runs {module}")

    def say(self, text: str, path: Path) -> None:
        """Write speech to a WAV file."""
        said = subprocess.run(
            [*self.device.prefix, sys.executable, "-m", "tools.cli", "say", text, "-o", str(path), "--rate", "0.9"],
            env=os.environ | {"AVATAR_DATA_DIR": str(self.data_dir)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert said.returncode == 0, said.stderr


@contextlib.contextmanager
def avatar_up(
    device: Device, folder: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> Iterator[AvatarUp]:
    """Run `avatar up` on a device until it says that it is ready, and end it as Ctrl-C would."""
    data_dir = folder / "data"
    data_dir.mkdir(parents=True)
    # The models are as set-up left them; everything else is this test's own.
    (data_dir / "models").symlink_to(ServerSettings().data_dir / "models")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AVATAR_", "ORCHESTRATOR_"))}
    own |= {"AVATAR_DATA_DIR": str(data_dir), "ORCHESTRATOR_REPLY": "echo"} | dict(env or {})
    printed = folder / "up.log"
    with printed.open("wb") as out:
        process = subprocess.Popen(
            [*device.prefix, sys.executable, "-m", "tools.cli", "up", *arguments],
            env=own,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        limit_s = time.monotonic() + _READY_S
        while "Ready in" not in printed.read_text():
            assert process.poll() is None, f"avatar up ended: {printed.read_text()}"
            assert time.monotonic() < limit_s, f"avatar up is not ready: {printed.read_text()}"
            time.sleep(0.1)
        yield AvatarUp(device, data_dir, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def chromium_on(device: Device, folder: Path) -> Path:
    """A program that runs Chromium on a device."""
    program = folder / f"chromium-{device.name}"
    program.write_text(f'#!/bin/sh\nexec {" ".join(device.prefix)} chromium "$@"\n')
    program.chmod(0o755)
    return program
