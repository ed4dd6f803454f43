"""What can be said about images and Compose files without building anything."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from tools.check_images import dockerfile
from tools.check_images.dockerfile import Copy, DockerfileError, User
from tools.image_requirements import ROOT

DOCKERFILES = {
    "render": ROOT / "services/render/Dockerfile",
    "tts": ROOT / "services/tts/Dockerfile",
    "stt": ROOT / "services/stt/Dockerfile",
    "orchestrator": ROOT / "orchestrator/Dockerfile",
    "envoy": ROOT / "envoy/Dockerfile",
}
_REQUIREMENTS = re.compile(r"image_requirements\.py ([^>]+) >")
COMPOSE_FILES = (ROOT / "docker-compose.dgx.yml", ROOT / "docker-compose.gpu.yml")
# glibc of the images' Debian.
_ARM64 = "aarch64-manylinux_2_36"
_PYTHON = "3.11"


def compose_faults(files: Sequence[Path] = COMPOSE_FILES) -> Iterator[str]:
    """Compose's own JSON schema, which the package check-jsonschema carries."""
    for file in files:
        command = ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(file))
        done = subprocess.run(_tool(*command), capture_output=True, text=True, check=False)
        if done.returncode:
            yield f"{file.name}: {done.stdout}{done.stderr}".strip()


def reference_faults(files: Sequence[Path] = COMPOSE_FILES) -> Iterator[str]:
    """What the schema cannot see: networks, volumes and Dockerfiles that are named and not there."""
    compose = yaml.safe_load(files[0].read_text())
    named: set[str] = set()
    for name, service in compose["services"].items():
        if not (ROOT / service["build"]["dockerfile"]).is_file():
            yield f"{name}: there is no {service['build']['dockerfile']}"
        for network in service.get("networks", ()):
            if network not in compose["networks"]:
                yield f"{name}: there is no network {network}"
        volumes = {volume.split(":")[0] for volume in service.get("volumes", ())}
        named |= volumes
        for volume in volumes - set(compose["volumes"]):
            yield f"{name}: there is no volume {volume}"
    for volume in set(compose["volumes"]) - named:
        yield f"nobody uses the volume {volume}"
    for file in files[1:]:
        for name in yaml.safe_load(file.read_text())["services"]:
            if name not in compose["services"]:
                yield f"{file.name}: there is no service {name}"


def dockerfile_faults(files: Mapping[str, Path] = DOCKERFILES) -> Iterator[str]:
    """hadolint's rules, and ours: what is copied is there, the last user is not root, and health is checked."""
    done = subprocess.run(
        _tool("hadolint", "--no-color", *map(str, files.values())), capture_output=True, text=True, check=False
    )
    if done.returncode:
        yield f"{done.stdout}{done.stderr}".strip()
    for name, file in files.items():
        try:
            stages = dockerfile.read(file)
        except DockerfileError as error:
            yield f"{name}: {error}"
            continue
        copies = [step for stage in stages for step in stage.steps if isinstance(step, Copy) and step.stage is None]
        for source in (source for copy in copies for source in copy.sources):
            if not (ROOT / source).exists():
                yield f"{name}: there is no {source}"
        users = [step for step in stages[-1].steps if isinstance(step, User)]
        if not users or users[-1].uid == 0:
            yield f"{name}: the process would run as root"
        if not stages[-1].health or not stages[-1].command:
            yield f"{name}: HEALTHCHECK or CMD is missing"
        if any(not stage.base.partition(":")[2].count(".") for stage in stages):
            yield f"{name}: a base image is not pinned to a version"


def asked_for(name: str) -> list[list[str]]:
    """What an image asks image_requirements.py for: first for what it always has, then for what TORCH adds."""
    scripts = (step.script for step in dockerfile.read(DOCKERFILES[name])[0].steps if isinstance(step, dockerfile.Run))
    return [words.split() for script in scripts for words in _REQUIREMENTS.findall(script)]


def requirements_of(name: str) -> list[str]:
    """The lines of the locks that an image installs, for each entry of `asked_for`."""
    commands = [(sys.executable, "tools/image_requirements.py", *words) for words in asked_for(name)]
    return [
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout for command in commands
    ]


def arm64_faults(scratch: Path, images: Sequence[str] = tuple(DOCKERFILES)) -> Iterator[str]:
    """Whether each image's requirements, as they are pinned, are there as wheels for 64-bit ARM. Asks the index."""
    for name in images:
        requirements = scratch / f"{name}.txt"
        # A package of two lists has one version in both, and may be named twice.
        requirements.write_text("".join(requirements_of(name)))
        done = subprocess.run(
            _tool(
                *(
                    "uv",
                    "pip",
                    "install",
                    "--dry-run",
                    "--quiet",
                    "--no-deps",
                    "--only-binary=:all:",
                    "--require-hashes",
                ),
                *("--python-platform", _ARM64, "--python-version", _PYTHON, "--target", str(scratch / name)),
                *("--requirements", str(requirements)),
            ),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            yield f"{name} on 64-bit ARM: {done.stderr.strip()}"


def _tool(name: str, *arguments: str) -> list[str]:
    """A program of this environment."""
    return [str(Path(sys.executable).parent / name), *arguments]
