"""What images and Compose files say, and that the checks of them can fail."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from tools.check_images import dockerfile, static
from tools.check_images.build import ignored
from tools.check_images.dockerfile import DockerfileError
from tools.image_requirements import ROOT, entries, subset

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.dgx.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
GOOD = 'FROM python:3.11.14-slim-bookworm\nUSER 1:1\nHEALTHCHECK CMD ["true"]\nCMD ["true"]\n'


def test_compose_files_and_dockerfiles_have_no_fault() -> None:
    assert [*static.compose_faults(), *static.reference_faults(), *static.dockerfile_faults()] == []


def changed(tmp_path: Path, old: str, new: str) -> Path:
    """The Compose file with a mistake."""
    text = (ROOT / "docker-compose.dgx.yml").read_text()
    assert old in text
    file = tmp_path / "docker-compose.yml"
    file.write_text(text.replace(old, new))
    return file


def test_the_schema_refuses_a_word_that_compose_does_not_know(tmp_path: Path) -> None:
    assert "restrat" in "".join(static.compose_faults([changed(tmp_path, "restart:", "restrat:")]))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("render-data:/data", "rendr-data:/data", "there is no volume rendr-data"),
        ("networks: [avatar-network]", "networks: [other]", "there is no network other"),
        ("envoy/Dockerfile", "envoy/Dockerfle", "there is no envoy/Dockerfle"),
    ],
)
def test_a_name_of_nothing_is_found(old: str, new: str, fault: str, tmp_path: Path) -> None:
    assert fault in "".join(static.reference_faults([changed(tmp_path, old, new)]))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (GOOD.replace("USER 1:1\n", ""), "as root"),
        (GOOD.replace("USER 1:1", "USER avatar"), "uid:gid"),
        (GOOD.replace('CMD ["true"]\n', "CMD true\n"), "SIGTERM"),
        (GOOD.replace('HEALTHCHECK CMD ["true"]\n', ""), "HEALTHCHECK"),
        (GOOD.replace(":3.11.14-slim-bookworm", ":latest"), "not pinned"),
        (GOOD.replace("USER", "COPY nothing /\nUSER"), "there is no nothing"),
        (GOOD.replace("USER", "ADD x /\nUSER"), "ADD"),
        (GOOD.replace("USER", "RUN apt-get install curl\nUSER"), "DL3008"),
    ],
)
def test_a_mistake_in_a_dockerfile_is_found(text: str, fault: str, tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(text)
    assert fault in "".join(static.dockerfile_faults({"test": file}))


def test_the_reader_follows_lines_that_go_on_and_leaves_comments_out(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(f"# first\n{GOOD}RUN one \\\n    # why\n    && two\nENV A=1 B=$A/2\nCOPY --from=x /a /b\n")
    (stage,) = dockerfile.read(file)
    run, env, copy = stage.steps[1:]
    assert isinstance(run, dockerfile.Run)
    assert run.script.split() == ["one", "&&", "two"]
    assert env == dockerfile.Env({"A": "1", "B": "$A/2"})
    assert copy == dockerfile.Copy(("/a",), "/b", "x")
    file.write_text("RUN x\n")
    with pytest.raises(DockerfileError, match="before FROM"):
        dockerfile.read(file)


@pytest.mark.parametrize(
    ("path", "out"),
    [
        ("services/stt/engine.py", False),
        ("proto/gen/avatar.pb", False),
        ("services/stt/Dockerfile", True),
        ("services/common/__pycache__/log.cpython-311.pyc", True),
        ("proto/avatar/stt/v1/stt.proto", True),
        (".git/config", True),
        (".venv/bin/python", True),
        ("tests/conftest.py", True),
        (".env", True),
    ],
)
def test_images_are_made_of_the_program_and_nothing_else(path: str, out: bool) -> None:
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert ignored(path, patterns) is out


def _asked_for(name: str, extras: set[str]) -> list[Requirement]:
    """What a package asks for here, with some of its extras."""
    found = map(Requirement, importlib.metadata.requires(name) or [])
    return [
        one for one in found if not one.marker or any(one.marker.evaluate({"extra": extra}) for extra in extras | {""})
    ]


@pytest.mark.parametrize("image", static.DOCKERFILES)
def test_the_requirements_of_an_image_are_whole_and_no_more(image: str) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    mine = entries(static.requirements_of(image))
    for lines in mine.values():
        assert lines in lock
        assert "--hash=sha256:" in lines
    known = {name.replace("_", "-").lower() for name in mine}
    todo = [Requirement(f"avatar[{','.join(static.extras_of(static.DOCKERFILES[image]))}]")]
    while todo:
        asked = todo.pop()
        for needed in _asked_for(asked.name, asked.extras):
            normal = needed.name.replace("_", "-").replace(".", "-").lower()
            assert normal in known, f"{asked.name} needs {normal}"
            todo.append(needed)
    assert not known & {"pytest", "mypy", "ruff", "playwright", "torch"}
    # GPL: in the image of the process that loads it, and in no other.
    assert ("espeakng-loader" in known) is (image == "tts")


def test_a_subset_of_the_lock_keeps_versions_hashes_and_what_is_needed_in_turn() -> None:
    lock = (
        "a==1 \\\n    --hash=sha256:1\n    # via avatar (pyproject.toml)\n"
        "b-c==2 ; python_version < '3' \\\n    --hash=sha256:2\n    # via\n    #   A\n    #   d\n"
        "d==3 \\\n    --hash=sha256:3\n    # via avatar (pyproject.toml)\n"
    )
    assert subset(lock, ["a"]).splitlines() == lock.splitlines()[:8]


def test_every_service_is_ready_before_it_is_healthy_restarts_and_holds_no_powers() -> None:
    for name, service in SERVICES.items():
        image = {"canary": "stt"}.get(name, name)
        health = dockerfile.read(static.DOCKERFILES[image])[-1].health
        assert service["healthcheck"]["test"] == ["CMD", *[name if word == image else word for word in health]]
        assert service["restart"] == "unless-stopped"
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert "privileged" not in service


def test_only_the_experimental_profile_has_a_second_recogniser() -> None:
    profiles = {name: set(service["profiles"]) for name, service in SERVICES.items()}
    assert profiles.pop("canary") == {"avatar-experimental"}
    assert set(map(frozenset, profiles.values())) == {frozenset({"avatar", "avatar-experimental"})}


def test_nothing_is_open_to_the_network_but_by_envoy() -> None:
    for name, service in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert (service.get("network_mode") == "host") is (name in {"orchestrator", "envoy"})


def test_memory_is_reserved_and_limited_as_the_older_stack_did() -> None:
    held = {name: service["deploy"]["resources"] for name, service in SERVICES.items()}
    memory = {name: (one["reservations"]["memory"], one["limits"]["memory"]) for name, one in held.items()}
    older = {"render": ("16G", "20G"), "tts": ("8G", "12G"), "stt": ("4G", "6G"), "canary": ("6G", "10G")}
    assert older.items() <= memory.items()
    gpu = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text())["services"]
    assert set(gpu) == set(older)
    for service in gpu.values():
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]
