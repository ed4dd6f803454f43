"""Makes an image's root file system from its Dockerfile, in a fresh Debian, without a container engine.

Debian's Python stands for that of the official image: same Debian, same 3.11, same C library. How this machine reaches
Debian's mirrors and the package index is taken over from it for the time of the build.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
import string
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.check_images import dockerfile
from tools.check_images.dockerfile import Arg, Copy, Env, Run, Stage, User, Workdir
from tools.image_requirements import ROOT

_SUITE = "bookworm"
_PACKAGES = ("python3.11-venv", "ca-certificates")
_PATH = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
# How this machine reaches mirrors and the index; an image holds none of it.
_NETWORK_FILES = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pip.conf",
    "/root/.config/pip/pip.conf",
    "/root/.pip/pip.conf",
)
_APT = "/etc/apt"
_NETWORK_VARIABLES = (
    "PIP_",
    "SSL_CERT_",
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
)


class BuildError(Exception):
    """A step of a Dockerfile failed; the message holds the end of what it printed."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a Dockerfile came to. Args: root: its file system; folder: where the command starts."""

    name: str
    root: Path
    env: dict[str, str]
    user: User
    folder: str
    command: list[str]
    health: list[str]


def run(command: Iterable[str], what: str) -> str:
    """Run a program to its end. Raises: BuildError with what it printed."""
    done = subprocess.run([*command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{what} failed with status {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


def _mirror() -> str:
    """The mirror from which this machine takes the suite."""
    form = "$(SITE) $(RELEASE) $(COMPONENT)"
    found = run(("apt-get", "indextargets", "--format", form, "Identifier: Packages"), "apt-get indextargets")
    for line in found.splitlines():
        site, release, component = line.split()
        if (release, component) == (_SUITE, "main"):
            return site
    raise BuildError(f"apt on this machine knows no mirror of Debian {_SUITE}; this check runs on Debian {_SUITE}")


def base_root(work: Path) -> Path:
    """A minimal Debian with Python; made once and kept in the folder."""
    root = work / f"base-{_SUITE}"
    if root.exists():
        return root
    part = work / f"base-{_SUITE}.part"
    shutil.rmtree(part, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    run(("debootstrap", "--variant=minbase", _SUITE, str(part), _mirror()), "debootstrap")
    _take_over_network(part)
    shutil.rmtree(part / _APT.removeprefix("/"))
    shutil.copytree(_APT, part / _APT.removeprefix("/"))
    install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends"
    shell = f"DEBIAN_FRONTEND=noninteractive; export DEBIAN_FRONTEND; {install} {' '.join(_PACKAGES)}"
    run(("chroot", str(part), "env", "-i", f"PATH={_PATH}", "sh", "-c", shell), "apt-get")
    # As the official image has it.
    (part / "usr/local/bin/python").symlink_to("/usr/bin/python3.11")
    part.rename(root)
    return root


def _take_over_network(root: Path) -> None:
    for name in _NETWORK_FILES:
        if Path(name).is_file():
            target = root / name.removeprefix("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copy(name, target)


def ignored(path: str, patterns: Iterable[str]) -> bool:
    """Whether .dockerignore leaves a path out. https://docs.docker.com/build/concepts/context/#dockerignore-files"""
    parts = path.split("/")
    prefixes = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    out = False
    for pattern in patterns:
        plain = pattern.removeprefix("!")
        deep = plain.removeprefix("**/")
        names = parts if deep != plain else prefixes
        if any(fnmatch.fnmatchcase(name, deep) and (deep != "*" or "/" not in name) for name in names):
            out = not pattern.startswith("!")
    return out


def _ignore_patterns() -> list[str]:
    lines = (line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _copy_context(copy: Copy, target: Path) -> None:
    patterns = _ignore_patterns()
    for name in copy.sources:
        source = ROOT / name
        files = [source] if source.is_file() else [file for file in source.rglob("*") if file.is_file()]
        taken = [file for file in files if not ignored(str(file.relative_to(ROOT)), patterns)]
        if not taken:
            raise BuildError(f"COPY {name}: .dockerignore leaves nothing of it")
        for file in taken:
            # A folder's content goes into the target, a file under its own name if the target is a folder.
            inside = (
                str(file.relative_to(source))
                if source.is_dir()
                else file.name
                if copy.target.endswith(("/", "."))
                else ""
            )
            place = target / inside
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)


class _Builder:
    """Runs the steps of one stage in its root."""

    def __init__(self, root: Path, stages: dict[str, Path], arguments: Mapping[str, str]) -> None:
        self.root = root
        self.env = {"PATH": _PATH, "LANG": "C.UTF-8"}
        self.user = User(0, 0)
        self.folder = "/"
        self._stages = stages
        self._given = arguments
        self._arguments: dict[str, str] = {}

    def _inside(self, path: str) -> Path:
        return self.root / os.path.normpath(f"{self.folder}/{path}" if not path.startswith("/") else path).lstrip("/")

    def do(self, step: dockerfile.Step) -> None:
        match step:
            case Workdir(folder):
                self.folder = folder
                self._inside(".").mkdir(parents=True, exist_ok=True)
            case Env(values):
                for name, value in values.items():
                    self.env[name] = string.Template(value).substitute(self.env)
            case Arg(defaults):
                self._arguments |= {name: self._given.get(name, value) for name, value in defaults.items()}
            case User():
                self.user = step
            case Copy(stage=None):
                _copy_context(step, self._inside(step.target))
            case Copy(sources=sources, target=target, stage=stage):
                for source in sources:
                    origin = self._stages[str(stage)] / source.lstrip("/")
                    shutil.copytree(origin, self._inside(target), symlinks=True, dirs_exist_ok=True)
            case Run(script):
                given = {name: value for name, value in os.environ.items() if name.startswith(_NETWORK_VARIABLES)}
                variables = [f"{name}={value}" for name, value in (given | self._arguments | self.env).items()]
                spec = f"--userspec={self.user.uid}:{self.user.gid}"
                shell = ("sh", "-c", f"cd {self.folder} && {script}")
                run(("chroot", spec, str(self.root), "env", "-i", *variables, *shell), f"RUN {script}")


def _fresh(base: Path, root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    run(("cp", "-a", "--reflink=auto", str(base), str(root)), "cp")
    _take_over_network(root)


def build(name: str, stages: list[Stage], work: Path, arguments: Mapping[str, str]) -> Image:
    """Run an image's steps. Args: arguments: of the build, for ARG. Raises: BuildError."""
    roots: dict[str, Path] = {}
    for stage in stages:
        if not stage.base.startswith("python:3.11.") or not stage.base.endswith(f"-slim-{_SUITE}"):
            raise BuildError(f"{stage.base} is another base than the one that stands for it here")
        root = roots[stage.name] = work / f"{name}-{stage.name}"
        _fresh(base_root(work), root)
        builder = _Builder(root, roots, arguments)
        for step in stage.steps:
            builder.do(step)
    for folder in [*roots.values()][:-1]:
        shutil.rmtree(folder)
    last = stages[-1]
    return Image(name, builder.root, builder.env, builder.user, builder.folder, last.command, last.health)
