"""What images and Compose files say, and that the checks of them can fail."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from services.common import model_manifest
from services.common.settings import ServerSettings
from services.render.settings import RenderSettings
from services.stt.settings import CanarySettings, SttSettings
from services.tts.settings import TtsSettings
from tools.check_images import dockerfile, static
from tools.check_images.build import ignored
from tools.check_images.dockerfile import DockerfileError
from tools.image_requirements import ROOT, entries, subset

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.dgx.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
# What docker-compose.gpu.yml adds to a service.
ON_GPU: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text())["services"]
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
    file.write_text(
        f'# first\n{GOOD}RUN one \\\n    # why\n    && two\nENV A=1 B=$A/2\nCOPY --from=x /a /b\nARG C=3 D=""\n'
    )
    (stage,) = dockerfile.read(file)
    run, env, copy, arg = stage.steps[1:]
    assert isinstance(run, dockerfile.Run)
    assert run.script.split() == ["one", "&&", "two"]
    assert env == dockerfile.Env({"A": "1", "B": "$A/2"})
    assert copy == dockerfile.Copy(("/a",), "/b", "x")
    assert arg == dockerfile.Arg({"C": "3", "D": ""})
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


def _whole(requirements: str, lock: str, extras: list[str], left_out: set[str]) -> set[str]:
    """The packages of a list that has all that some extras need in turn, from a lock, by hash."""
    pinned = (ROOT / lock).read_text()
    mine = entries(requirements)
    for lines in mine.values():
        assert lines in pinned
        assert "--hash=sha256:" in lines
    known = {name.replace("_", "-").lower() for name in mine}
    todo = [Requirement(f"avatar[{','.join(extras)}]")]
    seen: set[str] = set()
    while todo:
        asked = todo.pop()
        for needed in _asked_for(asked.name, asked.extras):
            normal = needed.name.replace("_", "-").replace(".", "-").lower()
            if normal not in left_out:
                assert normal in known, f"{asked.name} needs {normal}"
                if str(needed) not in seen:
                    todo.append(needed)
                    seen.add(str(needed))
    assert not known & {"pytest", "mypy", "ruff", "playwright", "torch"}
    return known


@pytest.mark.parametrize("image", static.DOCKERFILES)
def test_the_requirements_of_an_image_are_whole_and_no_more(image: str) -> None:
    known = _whole(static.requirements_of(image)[0], "requirements.lock", static.asked_for(image)[0], set())
    # GPL: in the image of the process that loads it, and in no other.
    assert ("espeakng-loader" in known) is (image == "tts")


@pytest.mark.parametrize(("image", "engine"), [("tts", "xtts"), ("stt", "whisper")])
def test_what_a_production_engine_needs_is_in_the_versions_of_the_tests(image: str, engine: str) -> None:
    _, (_, lock, extra) = static.asked_for(image)
    assert (lock, extra) == ("requirements-dev.lock", engine)
    # What no lock chooses, and what has no wheel and is not needed.
    left_out = {"torch", "docopt", "monotonic-alignment-search"}
    known = _whole(static.requirements_of(image)[1], lock, [extra], left_out)
    assert not known & left_out


@pytest.mark.slow
def test_xtts_loads_without_what_its_image_leaves_out() -> None:
    """In a process of its own, because others may have imported it here."""
    script = """
import sys
sys.modules |= dict.fromkeys(("docopt", "monotonic_alignment_search"))
from pathlib import Path
import num2words
from services.common.errors import NotReadyError
from services.tts.engines.xtts.engine import XttsEngine
try:
    XttsEngine(Path("/nowhere"), "cpu", 1)
except NotReadyError as missing:
    print(num2words.num2words(42), missing)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("forty-two XTTS reads config.json"), done.stderr


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


def _interpolated(text: str, env: dict[str, str]) -> str:
    """As Compose does it, for `${NAME:-default}`."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: env.get(found[1]) or found[2], text)


def test_every_engine_shares_one_gpu() -> None:
    assert set(ON_GPU) == {"render", "tts", "stt", "canary"}
    for service in ON_GPU.values():
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]
        assert device["device_ids"] == ["${AVATAR_GPU:-0}"]


def test_images_for_a_gpu_have_pytorch_as_pyproject_pins_it() -> None:
    pins = set(re.findall(r'"(torch==[^"]+)"', (ROOT / "pyproject.toml").read_text()))
    for name, service in ON_GPU.items():
        arguments = service["build"]["args"]
        build = dockerfile.read(ROOT / SERVICES[name]["build"]["dockerfile"])[0]
        offered = {key for step in build.steps if isinstance(step, dockerfile.Arg) for key in step.defaults}
        assert set(arguments) <= offered
        assert {_interpolated(arguments["TORCH"], {})} == pins
        assert _interpolated(arguments["TORCH_INDEX"], {"AVATAR_TORCH_INDEX": "https://x"}) == "https://x"


def test_services_of_one_image_build_it_alike() -> None:
    """Otherwise the one that is built last decides what runs in both."""
    builds: dict[str, list[Any]] = {}
    for name, service in SERVICES.items():
        builds.setdefault(service["image"], []).append((service["build"], ON_GPU.get(name, {}).get("build")))
    assert all(one == of_image[0] for of_image in builds.values() for one in of_image)


def test_weights_lie_where_the_engines_are_told_and_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: dict[str, type[ServerSettings]] = {
        "render": RenderSettings,
        "tts": TtsSettings,
        "stt": SttSettings,
        "canary": CanarySettings,
    }
    models = {model.name: model for model in model_manifest.MODELS}
    mounted: dict[str, set[str]] = {}
    for name, service in ON_GPU.items():
        for volume in service["volumes"]:
            host, target, mode = _interpolated(volume, {}).split(":")
            model = target.removeprefix("/weights/")
            assert (host, mode) == (f"./weights/{model}", "ro")
            assert volume.startswith(f"${{AVATAR_{model.upper()}:-")
            # The process that the manifest names reads it.
            assert models[model].service == {"canary": "stt"}.get(name, name)
            mounted.setdefault(name, set()).add(target)
        with monkeypatch.context() as environment:
            for variable, value in service["environment"].items():
                environment.setenv(variable, value)
            told = str(kinds[name]().model_dump(mode="json"))
        for target in mounted[name]:
            assert f"'{target}'" in told, f"{name} is not told of {target}"
        prefix = f"{name.upper()}_"
        assert all(variable.startswith(prefix) for variable in service["environment"])


def test_a_gpu_service_has_the_time_to_read_its_weights() -> None:
    for name, service in ON_GPU.items():
        # The rest of the check is that of docker-compose.dgx.yml.
        assert service["healthcheck"] == {"start_period": "300s"}
        assert SERVICES[name]["healthcheck"]["start_interval"] == "2s"
