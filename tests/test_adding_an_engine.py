"""The engine that docs/adding-an-engine.md walks through is an engine, and its steps make the service speak with it."""

from __future__ import annotations

import importlib.util
import inspect
import io
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import grpc
import pytest
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc

from tests import documents
from tests.services.tts import test_engine_contract
from tests.stack import ROOT, Program, free_ports, started

BLOCKS = list(documents.blocks(ROOT / "docs/adding-an-engine.md"))
(CODE,) = [block for block in BLOCKS if block.language == "python"]
(STEPS,) = [block for block in BLOCKS if block.language == "diff"]


@pytest.fixture(scope="module")
def chirp(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    path = tmp_path_factory.mktemp("engine") / "chirp.py"
    path.write_text(CODE.text)
    spec = importlib.util.spec_from_file_location("chirp", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def contract() -> Iterator[str]:
    """The tests that every engine of the service passes; those of its other arguments are about the arguments."""
    for name, test in vars(test_engine_contract).items():
        if name.startswith("test_") and list(inspect.signature(test).parameters) == ["engine"]:
            yield name


@pytest.mark.parametrize("name", list(contract()))
def test_the_engine_passes_what_every_engine_passes(chirp: ModuleType, name: str) -> None:
    getattr(test_engine_contract, name)(chirp.ChirpEngine(2))


def test_the_code_is_formatted_as_ours_is() -> None:
    path = ROOT / CODE.file
    for arguments in (["format", "--check"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", path, "-"],
            input=CODE.text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project's services, with the steps of the document done."""
    shutil.copytree(ROOT / "services", tmp_path / "services", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / CODE.file).write_text(CODE.text)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=STEPS.text, text=True, check=True)
    return tmp_path


@pytest.mark.slow
async def test_its_steps_make_the_service_speak_with_it(copy: Path) -> None:
    (port,) = free_ports(1)
    env = {"PYTHONPATH": f"{copy}:{ROOT / 'proto/gen'}", "TTS_ENGINE": "chirp", "TTS_PORT": str(port)}
    env |= {"TTS_METRICS_PORT": "0", "TTS_DRAIN__ANNOUNCE_S": "0", "AVATAR_DATA_DIR": str(copy / "data")}
    # Its own folder comes first on the path, before the project that the environment has installed.
    command = ("env", "-C", str(copy), sys.executable, "-m", "services.tts")
    async with started(Program("tts", command, env, port), copy) as program:
        await program.ready()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = tts_pb2_grpc.TextToSpeechServiceStub(channel)
            health = await stub.GetHealth(tts_pb2.GetHealthRequest())
            spoken = await stub.Synthesize(tts_pb2.SynthesizeRequest(text="Hello *robot*!"))
    assert health.engine.name == "chirp"
    with wave.open(io.BytesIO(spoken.audio)) as file:
        assert file.getframerate() == 16_000
        assert file.getnframes() >= 16_000 * 0.07 * len("Hellorobot")
    assert [word.word for word in spoken.timing.words] == ["Hello", "robot"]
    assert spoken.timing.visemes
