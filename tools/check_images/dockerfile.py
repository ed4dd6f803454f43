"""Reads the part of the Dockerfile language that our Dockerfiles use, and refuses the rest.

Source: https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_WORD = re.compile(r"([A-Z]+)\s+(.*)", re.DOTALL)


class DockerfileError(Exception):
    """An instruction that this reader does not know, or a mistake in one."""


@dataclass(frozen=True, slots=True)
class Copy:
    """COPY. Args: stage: --from, or None for the repository."""

    sources: tuple[str, ...]
    target: str
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """RUN of a shell command."""

    script: str


@dataclass(frozen=True, slots=True)
class Workdir:
    """WORKDIR."""

    folder: str


@dataclass(frozen=True, slots=True)
class Env:
    """ENV; values may use those set before."""

    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Arg:
    """ARG with its defaults, which hold where a build is given no other values."""

    defaults: dict[str, str]


@dataclass(frozen=True, slots=True)
class User:
    """USER as uid:gid."""

    uid: int
    gid: int


Step = Copy | Run | Workdir | Env | Arg | User


@dataclass(slots=True)
class Stage:
    """A stage of the build, and what it says about the container."""

    name: str
    base: str
    steps: list[Step] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)


def _lines(text: str) -> Iterator[str]:
    """Whole instructions, without comments."""
    kept = "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    yield from re.sub(r"\\\n", " ", kept).splitlines()


def _json_command(value: str) -> list[str]:
    try:
        command = json.loads(value)
    except ValueError:
        command = None
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        raise DockerfileError(f"{value!r} goes through a shell, which would swallow SIGTERM; write a JSON list")
    return command


def _copy(value: str) -> Copy:
    words = value.split()
    stage = None
    if words[0].startswith("--from="):
        stage = words.pop(0).removeprefix("--from=")
    if len(words) < 2 or words[0].startswith("--"):
        raise DockerfileError(f"COPY {value} is not understood")
    return Copy(tuple(words[:-1]), words[-1], stage)


def _step(word: str, value: str) -> Step:
    match word:
        case "COPY":
            return _copy(value)
        case "RUN":
            return Run(value)
        case "WORKDIR":
            return Workdir(value)
        case "ARG":
            return Arg(dict(part.split("=", 1) for part in shlex.split(value)))
        case "ENV":
            return Env(dict(part.split("=", 1) for part in shlex.split(value)))
        case "USER" if re.fullmatch(r"\d+:\d+", value):
            return User(*map(int, value.split(":")))
        case "USER":
            raise DockerfileError(f"USER {value} is no uid:gid, which Kubernetes needs to see that it is not root")
    raise DockerfileError(f"{word} is not used in our Dockerfiles; teach this reader if it is needed")


def read(path: Path) -> list[Stage]:
    """Raises: DockerfileError on anything that is not understood."""
    stages: list[Stage] = []
    for line in _lines(path.read_text()):
        match = _WORD.fullmatch(line)
        if match is None:
            raise DockerfileError(f"{line!r} is no instruction")
        word, value = match[1], match[2].strip()
        if word == "FROM":
            base, *rest = value.split()
            stages.append(Stage(rest[1] if rest else str(len(stages)), base))
            continue
        if not stages:
            raise DockerfileError(f"{word} stands before FROM")
        if word == "CMD":
            stages[-1].command = _json_command(value)
        elif word == "HEALTHCHECK":
            stages[-1].health = _json_command(value.partition("CMD ")[2])
        elif word != "EXPOSE":
            stages[-1].steps.append(_step(word, value))
    return stages
