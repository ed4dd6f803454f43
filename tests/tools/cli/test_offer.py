"""`avatar up` offers the models of speech once: the real command at a terminal, against a hub on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from services.common import gpu, model_manifest
from services.common.model_store import ModelStore
from services.common.settings import Settings
from tests.fakes.hub import FakeHub, Stall, Status, serving_hub
from tests.stack import ROOT, config_file, free_ports
from tests.tools.cli.offering import build, files_of, manifest
from tests.tools.cli.terminal import CTRL_C, LIMIT_S, Terminal
from tools.cli import offer
from tools.cli.settings import read_all

UP = (sys.executable, "-m", "tests.tools.cli.offering", "up")
QUESTION = "Fetch them now? [y/N] "
STARTS = "Starting the avatar."


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("published"))


@pytest.fixture
def fake(built: Path) -> Iterator[FakeHub]:
    with serving_hub(files_of(built / "parakeet") | files_of(built / "piper")) as hub:
        yield hub


@pytest.fixture
def env(tmp_path: Path, fake: FakeHub, built: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Settings and data of the test's own, with the small models of the set-up and no others."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name == "AVATAR_DATA_DIR"]:
        monkeypatch.delenv(name)
    config = config_file(tmp_path)
    models = tmp_path / "data/models"
    models.unlink()
    models.mkdir()
    for file in (Settings().data_dir / "models").iterdir():
        if file.is_file():
            (models / file.name).symlink_to(file)
    ours = {"AVATAR_CONFIG": str(config), "HF_ENDPOINT": fake.endpoint, "HF_TOKEN": "", "TEST_MODELS": str(built)}
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    return dict(os.environ)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "data")


@pytest.fixture
def up(env: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    """`avatar up` at a terminal, with variables of its environment."""
    with contextlib.ExitStack() as held:
        yield lambda **more: held.enter_context(Terminal(env | more, *UP))


def starts_and_is_ended(terminal: Terminal) -> None:
    """It starts: a process of it serves."""
    terminal.sees("✓")
    assert STARTS in terminal.seen
    terminal.types(CTRL_C)
    terminal.ends(0)


def told_to_the_page() -> dict[str, Any]:
    """What the page of the running stack is told of the recogniser."""
    settings = read_all()
    trust = ssl.create_default_context(cafile=settings.data_dir / "tls/certificate.pem")
    address = f"https://localhost:{settings.network.page_port}/hearing"
    with urllib.request.urlopen(address, timeout=LIMIT_S, context=trust) as answer:
        told: dict[str, Any] = json.load(answer)
    return told


@pytest.mark.slow
def test_a_yes_fetches_the_models_and_the_start_takes_them(
    up: Callable[..., Terminal], built: Path, store: ModelStore
) -> None:
    terminal = up()
    terminal.sees(QUESTION)
    said = terminal.seen.replace("\r\n", "\n")
    fetched = [model for model in manifest(built) if model.name in ("parakeet", "piper")]
    for model in fetched:
        assert f"{model.name}: 0 MB, {model.purpose}\n  licence: {model.licence.title} ({model.licence.url})\n" in said
        assert f"It allows {model.licence.allows}.\n" in said
    assert "That is 0 MB in all, once. `avatar --config" in said
    assert "models pull parakeet piper` fetches them at any other time." in said
    terminal.types("y\n")
    terminal.sees("Ready in")
    shown = [line.split()[1:3] for line in terminal.seen.splitlines() if "✓" in line]
    assert ["stt", "parakeet"] in shown
    assert ["tts", "piper"] in shown
    assert told_to_the_page()["engine"] == "parakeet"
    terminal.types(CTRL_C)
    terminal.ends(0)
    assert all(store.state(model).verified_at for model in fetched)


@pytest.mark.slow
def test_a_no_is_kept_and_nobody_is_asked_again(up: Callable[..., Terminal], fake: FakeHub, tmp_path: Path) -> None:
    terminal = up()
    terminal.sees(QUESTION)
    terminal.types("\n")
    starts_and_is_ended(terminal)
    assert "You will not be asked again; `avatar --config" in terminal.seen
    kept = json.loads((tmp_path / "data/offers/speech-models.json").read_text())
    assert kept["models"] == ["parakeet", "piper"]
    assert [seen.where for seen in fake.seen] == ["hub"]
    terminal = up()
    starts_and_is_ended(terminal)
    assert "Fetch" not in terminal.seen
    assert len(fake.seen) == 1


@pytest.mark.slow
def test_without_a_hub_nobody_is_asked(up: Callable[..., Terminal]) -> None:
    (port,) = free_ports(1)
    terminal = up(HF_ENDPOINT=f"http://127.0.0.1:{port}")
    starts_and_is_ended(terminal)
    assert "Fetch" not in terminal.seen


@pytest.mark.slow
def test_a_script_is_not_asked(env: dict[str, str], fake: FakeHub) -> None:
    with subprocess.Popen(
        UP, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == f"{STARTS}\n"
        while "✓" not in (line := command.stdout.readline()):
            assert line
        command.terminate()
        command.communicate(timeout=LIMIT_S)
    assert command.returncode == 0
    assert fake.seen == []


@pytest.mark.slow
def test_ctrl_c_at_the_question_ends_the_command_and_is_no_answer(up: Callable[..., Terminal], tmp_path: Path) -> None:
    terminal = up()
    terminal.sees(QUESTION)
    terminal.types(CTRL_C)
    terminal.ends(130)
    assert STARTS not in terminal.seen
    assert "Traceback" not in terminal.seen
    assert not (tmp_path / "data/offers").exists()


@pytest.mark.slow
def test_ctrl_c_in_the_pull_ends_the_pull_and_the_start_goes_on(
    up: Callable[..., Terminal], fake: FakeHub, store: ModelStore, built: Path
) -> None:
    fake.cdn_faults.append(Stall(10))
    terminal = up()
    terminal.sees(QUESTION)
    terminal.types("yes\n")
    assert fake.stalled.wait(LIMIT_S)
    terminal.types(CTRL_C)
    terminal.sees("The avatar starts with what is here.")
    starts_and_is_ended(terminal)
    assert "what has come is kept; `avatar --config" in terminal.seen
    assert "models pull parakeet` goes on from there" in terminal.seen
    assert not any(store.state(model).is_complete for model in manifest(built))


@pytest.mark.slow
def test_a_pull_that_fails_says_why_and_the_start_goes_on(up: Callable[..., Terminal], fake: FakeHub) -> None:
    fake.cdn_faults.append(Status(404))
    terminal = up()
    terminal.sees(QUESTION)
    terminal.types("y\n")
    starts_and_is_ended(terminal)
    assert f"{fake.endpoint.removeprefix('http://')} has no config.json at revision" in terminal.seen
    assert "The avatar starts with what is here; `avatar --config" in terminal.seen


class Person:
    """Somebody at a terminal in this process, without a GPU, who says no."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._asked = 0
        monkeypatch.setattr("builtins.input", self._answer)

    def _answer(self, _: str) -> str:
        self._asked += 1
        return "n"

    def is_asked(self, *, terminals: Sequence[str] = ("stdin", "stdout")) -> bool:
        """Whether the next start asks."""
        before = self._asked
        with self._monkeypatch.context() as patched:
            for name in ("stdin", "stdout"):
                patched.setattr(getattr(sys, name), "isatty", lambda is_one=name in terminals: is_one)
            offer.offer(read_all())
        return self._asked > before


@pytest.fixture
def person(env: dict[str, str], built: Path, monkeypatch: pytest.MonkeyPatch) -> Person:
    monkeypatch.setattr(model_manifest, "MODELS", manifest(built))
    monkeypatch.setattr(gpu, "_NODES", ())
    return Person(monkeypatch)


def test_a_person_is_asked_once(person: Person, fake: FakeHub) -> None:
    assert person.is_asked()
    assert not person.is_asked()
    assert len(fake.seen) == 1


@pytest.mark.parametrize("terminals", [(), ("stdin",), ("stdout",)])
def test_both_ends_have_to_be_a_terminal(person: Person, fake: FakeHub, terminals: Sequence[str]) -> None:
    assert not person.is_asked(terminals=terminals)
    assert fake.seen == []


def test_a_machine_with_a_gpu_takes_other_engines(
    person: Person, fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "_NODES", (tmp_path,))
    assert not person.is_asked()
    assert fake.seen == []


@pytest.mark.parametrize("name", ["parakeet", "piper"])
def test_whoever_has_fetched_a_model_knows_how(
    person: Person, fake: FakeHub, built: Path, store: ModelStore, name: str
) -> None:
    shutil.copytree(built / name, store.folder(model_manifest.find(name)))
    assert not person.is_asked()
    assert fake.seen == []


def test_engines_that_somebody_chose_are_left_alone(
    person: Person, fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STT_ENGINE", "pocketsphinx")
    monkeypatch.setenv("TTS_PIPER__DIR", str(tmp_path / "voices"))
    assert not person.is_asked()
    assert fake.seen == []
    monkeypatch.delenv("TTS_PIPER__DIR")
    assert person.is_asked()
    assert "models pull piper` fetches them" in capsys.readouterr().out


def test_a_hub_that_would_not_give_them_is_not_offered(person: Person, fake: FakeHub) -> None:
    fake.hub_faults.extend([Status(404), Status(401), Status(503)])
    for _ in range(3):
        assert not person.is_asked()
    assert person.is_asked()


def test_a_wrong_address_of_a_hub_keeps_nothing_from_starting(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "hub.lan")
    assert not person.is_asked()
