"""What the doctor looks at on the machine itself: system, settings, disk and model files."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from services.common import settings_file
from services.common.models import MODEL_FILES, is_in_place
from tools.cli.doctor.finding import Finding
from tools.cli.settings import StackSettings, misspelt

_MIN_PYTHON = (3, 11)
_MACHINES = ("x86_64", "aarch64")
# Of the wheel of Envoy's binary.
_MIN_GLIBC = (2, 31)
# Avatars take a megabyte each, and logs grow.
_LOW_DISK_BYTES, _NO_DISK_BYTES = 1024**3, 100 * 1024**2
_LOW_MEMORY_BYTES = 2 * 1024**3
_GPU_DEVICE = Path("/dev/nvidia0")
_GPU_TIMEOUT_S = 20.0


async def system() -> list[Finding]:
    """Python, operating system, processor, memory and GPU."""
    return [_python(), _platform(), _size(), await _gpu()]


def _python() -> Finding:
    found = f"Python {platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < _MIN_PYTHON:
        return Finding("python", "problem", found, "install Python 3.11 or newer and run `make setup` with it")
    return Finding("python", "ok", found)


def _platform() -> Finding:
    system, kind = platform.system(), platform.machine()
    libc, version = platform.libc_ver()
    found = f"{system} on {kind}, {libc or 'no glibc'} {version}".rstrip()
    if system != "Linux" or kind not in _MACHINES:
        return Finding("system", "problem", found, f"use Linux on {' or '.join(_MACHINES)}")
    if libc != "glibc" or tuple(map(int, version.split("."))) < _MIN_GLIBC:
        return Finding("system", "problem", found, "Envoy needs glibc 2.31 or newer: Debian 11, Ubuntu 20.04 or later")
    return Finding("system", "ok", found)


def _size() -> Finding:
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = f"{cores} processor core{'s' * (cores > 1)}, {memory / 1024**3:.1f} GiB of memory"
    if cores < 2 or memory < _LOW_MEMORY_BYTES:
        return Finding(
            "hardware", "warning", found, "a conversation wants 2 cores and 2 GiB; expect late sound and pictures"
        )
    return Finding("hardware", "ok", found)


async def _gpu() -> Finding:
    program = shutil.which("nvidia-smi")
    if program is None:
        if await asyncio.to_thread(_GPU_DEVICE.exists):
            return Finding(
                "gpu", "warning", "an NVIDIA GPU is there, but not nvidia-smi", "install NVIDIA's driver tools"
            )
        return Finding("gpu", "ok", "no NVIDIA GPU; the embedded engines need none")
    asked = ("--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    status, said = await output_of(_GPU_TIMEOUT_S, program, *asked)
    if status:
        return Finding("gpu", "warning", f"nvidia-smi fails: {said.strip()[:200]}", "repair NVIDIA's driver")
    return Finding("gpu", "ok", "; ".join(said.strip().splitlines()))


async def output_of(limit_s: float, *command: str) -> tuple[int, str]:
    """Run a program to its end. Returns: its exit status (1 if it took too long) and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(limit_s):
            said, _ = await process.communicate()
    except TimeoutError:
        return 1, f"it did not answer within {limit_s:g} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, said.decode(errors="replace")


def settings_source() -> list[Finding]:
    """Which file the settings come from, which can be read as is known by then, and what was meant to be one."""
    path = settings_file.path()
    source = str(path) if path.is_file() else f"defaults and environment variables; there is no {path}"
    return [
        Finding("settings", "ok", source),
        *(
            Finding(
                "settings", "warning", f"the environment variable {name} is not a setting", f"did you mean {meant}?"
            )
            for name, meant in misspelt().items()
        ),
    ]


async def data(settings: StackSettings, runs: bool) -> list[Finding]:  # noqa: FBT001, ARG001
    """Whether the data directory can be written, and how much more it can hold."""
    folder = settings.data_dir
    cure = "make it writable for this user, or set AVATAR_DATA_DIR to another folder"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0")
    except OSError as error:
        return [Finding("data", "problem", f"{folder} cannot be written: {error.strerror}", cure)]
    free = shutil.disk_usage(folder).free
    left = f"{free / 1024**3:.1f} GiB free"
    space = Finding("disk", "ok", left)
    if free < _NO_DISK_BYTES:
        space = Finding("disk", "problem", left, f"make room on the disk of {folder}")
    elif free < _LOW_DISK_BYTES:
        space = Finding("disk", "warning", left, f"avatars and logs need room on the disk of {folder}")
    return [Finding("data", "ok", f"{folder} is writable"), space]


async def models(settings: StackSettings, runs: bool) -> list[Finding]:  # noqa: FBT001, ARG001
    """Whether every model file is there as it is pinned."""
    folder = settings.data_dir / "models"
    missing = [file.name for file in MODEL_FILES if not (folder / file.name).is_file()]
    bad = [file.name for file in MODEL_FILES if file.name not in missing and not is_in_place(file, folder)]
    parts = [f"{', '.join(missing)} missing"] if missing else []
    parts += [f"{', '.join(bad)} damaged (another SHA-256 than pinned)"] if bad else []
    if parts:
        return [Finding("models", "problem", f"in {folder}: {'; '.join(parts)}", "run `make setup`")]
    return [Finding("models", "ok", f"all {len(MODEL_FILES)} model files in {folder} are intact")]
