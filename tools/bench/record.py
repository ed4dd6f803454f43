"""A bench record: a table for people, JSON for programs, both with hardware, versions and commit."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
RECORDS = Path(__file__).parent / "records"
_PACKAGES = (
    *("grpcio", "aiortc", "av", "numpy", "numba", "onnxruntime", "opencv-python-headless", "pocketsphinx"),
    *("torch", "triton"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One measure. Args: must, aim: as in the design, in words; unit: of the figures."""

    measure: str
    unit: str
    count: int
    p50: float
    p95: float
    worst: float
    must: str = ""
    aim: str = ""
    note: str = ""


def row(measure: str, unit: str, values: Sequence[float], must: str = "", aim: str = "", note: str = "") -> Row:
    """A row of percentiles. Raises: ValueError without any value, because a table has no figures nobody measured."""
    if not len(values):
        raise ValueError(f"nothing was measured for {measure!r}")
    p50, p95 = np.percentile(values, [50, 95])
    return Row(measure, unit, len(values), float(p50), float(p95), float(np.max(values)), must, aim, note)


@dataclass(frozen=True, slots=True)
class Record:
    """What one run measured."""

    name: str
    rows: Sequence[Row]
    settings: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)

    def print(self) -> None:
        """The table."""
        widths = max((len(r.measure) for r in self.rows), default=0)
        print(f"{'measure':{widths}}  {'unit':5} {'n':>5} {'p50':>9} {'p95':>9} {'worst':>9}  must / aim")
        for r in self.rows:
            figures = " ".join(f"{value:9.2f}" for value in (r.p50, r.p95, r.worst))
            goal = " / ".join(part for part in (r.must, r.aim) if part)
            print(f"{r.measure:{widths}}  {r.unit:5} {r.count:5d} {figures}  {goal}{'  ' + r.note if r.note else ''}")

    def write(self, folder: Path = RECORDS) -> Path:
        """Keep it. Returns: the file."""
        folder.mkdir(parents=True, exist_ok=True)
        taken = datetime.now(UTC)
        path = folder / f"{self.name}-{taken:%Y%m%d-%H%M}.json"
        content = {
            "name": self.name,
            "taken": taken.isoformat(timespec="seconds"),
            "commit": _git("rev-parse", "--short", "HEAD") + ("+changes" if _git("status", "--porcelain") else ""),
            "hardware": hardware(),
            "versions": _versions() | {"python": platform.python_version()},
            "settings": dict(self.settings),
            "rows": [asdict(r) for r in self.rows],
            "raw": dict(self.raw),
        }
        path.write_text(json.dumps(content, indent=1) + "\n")
        return path


def _versions() -> dict[str, str]:
    """Of what is installed; a machine that runs one service has not all."""
    found = {}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def hardware() -> dict[str, Any]:
    """What the figures were measured on, and how busy it was."""
    cpu = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "machine": platform.machine(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 1024**2, 1),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
