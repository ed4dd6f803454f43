"""What keeps a process from serving is said in one sentence, and in an exit status: trying again is of no use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from services.common import start
from services.common.errors import EngineError, NotReadyError
from services.common.models import MODEL_FILES, ModelFile, is_in_place, model_path
from services.common.settings import Settings
from tests.stack import ROOT, free_ports

STT, RENDER = (next(file for file in MODEL_FILES if file.process == process) for process in ("stt", "render"))
PROCESSES = ("services.render", "services.tts", "services.stt", "orchestrator")
WITHOUT_OPENTELEMETRY = """
import runpy, sys
sys.modules["opentelemetry"] = None
sys.argv = [sys.argv[1]]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""

LOADING_A_MODEL = """
import sys
from services.common import start

async def serve():
    import onnxruntime
    onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])

start.run(serve())
"""


def ended(*command: str, env: Mapping[str, str]) -> tuple[int, list[str]]:
    """Exit status of a process that cannot begin, and what it printed."""
    sections = ("RENDER", "TTS", "STT", "ORCHESTRATOR")
    names = [f"{section}_{port}" for section in sections for port in ("PORT", "METRICS_PORT")]
    own = {name: str(port) for name, port in zip((*names, "ORCHESTRATOR_HTTP_PORT"), free_ports(9), strict=True)}
    whole = os.environ | own | dict(env)
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=whole, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with every model, none of them anybody else's."""
    shutil.copytree(Settings().data_dir / "models", tmp_path / "models")
    return tmp_path


def test_no_process_lets_the_models_library_keep_a_record_of_who_runs_it(tmp_path: Path) -> None:
    model = str(model_path(Settings().data_dir, STT.name))
    env = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
    env |= {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
    subprocess.run([sys.executable, "-c", LOADING_A_MODEL, model], cwd=ROOT, env=env, check=True, timeout=60)
    # With its telemetry on, the library would begin a session file here, to be sent to its maker.
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.slow
@pytest.mark.parametrize("process", PROCESSES)
def test_traces_without_opentelemetry_are_refused_with_what_to_install(process: str, tmp_path: Path) -> None:
    env = {"AVATAR_OTLP_ENDPOINT": "http://127.0.0.1:4317", "AVATAR_DATA_DIR": str(tmp_path)}
    status, said = ended("-c", WITHOUT_OPENTELEMETRY, process, env=env)
    assert status == start.NEEDS_REPAIR
    assert "AVATAR_OTLP_ENDPOINT) is http://127.0.0.1:4317" in said[-1]
    assert "`pip install .[otel]`" in said[-1]


@pytest.mark.slow
@pytest.mark.parametrize("file", [STT, RENDER], ids=lambda file: file.process)
@pytest.mark.parametrize("fault", ["damaged", "missing"])
def test_a_process_without_its_model_names_the_file_and_the_repair(file: ModelFile, fault: str, data: Path) -> None:
    path = data / "models" / file.name
    if fault == "damaged":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    status, said = ended("-m", f"services.{file.process}", env={"AVATAR_DATA_DIR": str(data)})
    assert status == start.NEEDS_REPAIR
    assert f"the model file {path} is {fault}" in said[-1]
    assert "`make setup` fetches it" in said[-1]


def test_a_whole_model_is_found_and_one_changed_byte_is_noticed(data: Path) -> None:
    assert model_path(data, STT.name) == data / "models" / STT.name
    content = bytearray((data / "models" / STT.name).read_bytes())
    content[len(content) // 2] ^= 1
    (data / "models" / STT.name).write_bytes(content)
    assert not is_in_place(STT, data / "models")
    with pytest.raises(NotReadyError, match="damaged"):
        model_path(data, STT.name)


def test_an_engine_that_fails_may_be_started_again(capsys: pytest.CaptureFixture[str]) -> None:
    async def serving() -> None:
        raise EngineError("there is no memory left on the GPU")

    with pytest.raises(SystemExit) as exited:
        start.run(serving())
    assert exited.value.code == "there is no memory left on the GPU"


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    async def serving() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        start.run(serving())
