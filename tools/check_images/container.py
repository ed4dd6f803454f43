"""Runs images as Compose would: read-only root, a volume at /data, nothing of root's powers, a network of their own."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.check_images.build import BuildError, Image

_HEALTHY_S = 240.0
_STOP_S = 30.0
# Of what a container gets, those that our processes use.
_MOUNTS = (
    "mount --bind {root} {root}",
    "mount --bind {data} {root}/data",
    "mount -o remount,bind,ro {root}",
    "mount -t proc proc {root}/proc",
    "mount -t sysfs sysfs {root}/sys",
    "mount -t tmpfs tmpfs {root}/tmp",
    "mount -t tmpfs tmpfs {root}/dev/shm",
)


@contextlib.contextmanager
def network() -> Iterator[int]:
    """A network with nothing but loopback, shared by those that are started in it. Gives the process that holds it."""
    holder = subprocess.Popen(
        ("unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"), stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    try:
        if holder.stdout.readline() != b"up\n":
            raise BuildError("a network namespace cannot be made here")
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


@dataclass(frozen=True, slots=True)
class Container:
    """An image that runs."""

    image: Image
    process: subprocess.Popen[bytes]
    env: Mapping[str, str]
    log: Path

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in it, as `docker exec` does."""
        enter = ("nsenter", f"--target={self.process.pid}", "--mount", "--net")
        return subprocess.run(
            (*enter, *_entry(self.image, self.env, command)), capture_output=True, text=True, check=False
        )

    def wait_until_healthy(self) -> float:
        """Returns: seconds until the image's own health check said yes. Raises: BuildError with the log's end."""
        begin_s = time.monotonic()
        while self.execute(*self.image.health).returncode:
            ended = self.process.poll() is not None
            if ended or time.monotonic() - begin_s > _HEALTHY_S:
                state = f"ended with status {self.process.returncode}" if ended else "did not become healthy"
                raise BuildError(f"{self.image.name} {state}; its log ends with\n{self.log.read_text()[-3000:]}")
            time.sleep(0.2)
        return time.monotonic() - begin_s


def _entry(image: Image, env: Mapping[str, str], command: tuple[str, ...]) -> list[str]:
    variables = [f"{name}={value}" for name, value in (image.env | dict(env)).items()]
    inside = ("sh", "-c", f'cd {shlex.quote(image.folder)} && exec "$@"', "sh", *command)
    # What Compose says as cap_drop: ALL and no-new-privileges.
    bare = ("--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    user = (f"--reuid={image.user.uid}", f"--regid={image.user.gid}")
    return ["chroot", str(image.root), "setpriv", *user, *bare, "env", "-i", *variables, *inside]


@contextlib.contextmanager
def running(image: Image, network_of: int, env: Mapping[str, str], work: Path) -> Iterator[Container]:
    """Start an image with a new volume, and end it with SIGTERM. Raises: BuildError if it does not end by itself."""
    data = work / f"{image.name}-data"
    shutil.rmtree(data, ignore_errors=True)
    # As an engine fills a new volume: with what the image has there.
    shutil.copytree(image.root / "data", data)
    for folder in (data, *data.rglob("*")):
        os.chown(folder, image.user.uid, image.user.gid)
    mounts = " && ".join(_MOUNTS).format(root=shlex.quote(str(image.root)), data=shlex.quote(str(data)))
    entry = _entry(image, env, tuple(image.command))
    log = work / f"{image.name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            (
                "nsenter",
                f"--target={network_of}",
                "--net",
                "unshare",
                "--mount",
                "sh",
                "-c",
                f'{mounts} && exec "$@"',
                "sh",
                *entry,
            ),
            stdout=out,
            stderr=out,
        )
        try:
            yield Container(image, process, env, log)
        finally:
            process.terminate()
            try:
                status = process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise BuildError(f"{image.name} did not end within {_STOP_S:g} s of SIGTERM") from None
    if status not in (0, -15, 143):
        raise BuildError(f"{image.name} ended with status {status}; its log ends with\n{log.read_text()[-3000:]}")
