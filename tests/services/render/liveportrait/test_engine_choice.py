"""Which engine draws where LivePortrait's weights, PyTorch or a device are missing or wrong, and what is said."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from services.common.errors import NotReadyError
from services.common.start import NEEDS_REPAIR
from services.render import engines
from services.render.engines.liveportrait import engine as liveportrait
from services.render.engines.liveportrait.checkpoint import FILES
from services.render.engines.liveportrait.sizes import FILE as SIZES
from services.render.settings import RenderSettings
from tests.services.render.conftest import INSTALLED

F, M, W, G, S = dict.fromkeys(file for file, _ in FILES.values())
NO_DEVICE = "cuda:99"


def settings(data_dir: Path, **more: Any) -> RenderSettings:
    return RenderSettings(port=0, **{"AVATAR_DATA_DIR": data_dir, **more})


@pytest.fixture
def folder(official_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(official_folder, tmp_path / "weights")


def reason(data_dir: Path, **more: Any) -> str:
    """Why the mesh draws."""
    chosen = engines.load(settings(data_dir, **more))
    assert chosen.engine.name == "mesh"
    assert chosen.fallback is None
    assert "\n" not in chosen.reason
    return chosen.reason


def refusal(data_dir: Path, **more: Any) -> str:
    """Why nothing draws that was asked for by its name."""
    with pytest.raises(NotReadyError) as refused:
        engines.load(settings(data_dir, engine="liveportrait", **more))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_weights_that_are_not_here_are_fetched_by_a_command_that_is_named(data_dir: Path) -> None:
    said = r"the model liveportrait is not complete in .*: it is not here; fetch .*`avatar .*models pull liveportrait`"
    assert re.fullmatch(said, reason(data_dir))
    assert re.fullmatch(said, refusal(data_dir))


def test_without_weights_pytorch_is_not_looked_for(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_for(name: str) -> None:
        raise AssertionError(f"{name} takes seconds to import")

    monkeypatch.setattr("importlib.util.find_spec", looked_for)
    assert "models pull" in reason(data_dir)


def test_a_folder_that_is_not_there_is_named(data_dir: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert refusal(data_dir, liveportrait_dir=nowhere).endswith(f"liveportrait_dir is {nowhere}")


def test_a_device_that_is_not_there_is_named(data_dir: Path, official_folder: Path) -> None:
    said = "there is no (CUDA device|cuda:99)"
    assert re.search(said, reason(data_dir, liveportrait_dir=official_folder, device=NO_DEVICE))
    assert re.search(said, refusal(data_dir, liveportrait_dir=official_folder, device=NO_DEVICE))


def test_auto_never_takes_the_cpu(data_dir: Path, official_folder: Path) -> None:
    said = reason(data_dir, liveportrait_dir=official_folder, device="cpu")
    assert said == 'liveportrait is too slow on device = "cpu"'


def test_the_cpu_draws_when_both_are_asked_for_by_name(data_dir: Path, official_folder: Path) -> None:
    chosen = engines.load(settings(data_dir, engine="liveportrait", liveportrait_dir=official_folder, device="cpu"))
    assert chosen.engine.name == "liveportrait"
    assert chosen.engine.path == "cpu plain"
    assert chosen.reason == "it draws on the CPU, where a frame takes seconds: the settings ask for it"
    assert chosen.fallback is not None
    assert chosen.fallback.name == "mesh"
    assert chosen.restart is not None
    chosen.engine.close()
    again = chosen.restart()
    assert again.name == "liveportrait"
    again.close()


def test_without_pytorch_it_is_named(data_dir: Path, official_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    said = "PyTorch, which is not installed: `pip install 'avatar[liveportrait]'`"
    assert said in reason(data_dir, liveportrait_dir=official_folder)
    assert said in refusal(data_dir, liveportrait_dir=official_folder)


def test_a_broken_pytorch_is_no_reason_to_stop(
    data_dir: Path, official_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As an import ends that finds a library of another CUDA.
    monkeypatch.setitem(sys.modules, liveportrait.__name__, None)
    assert "which cannot be imported here: " in reason(data_dir, liveportrait_dir=official_folder)
    assert "which cannot be imported here: " in refusal(data_dir, liveportrait_dir=official_folder)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda folder: (folder / M).unlink(), f"lacks {M}"),
    "truncated": (lambda folder: os.truncate(folder / W, 1000), "is not a checkpoint of PyTorch, or it is truncated"),
    "mixed up": (lambda folder: shutil.copy(folder / F, folder / G), "holds the weights of 'appearance' where"),
    "of another network": (lambda folder: torch.save({"a": torch.zeros(1)}, folder / G), "of its"),
    "a web page": (lambda folder: (folder / S).write_text("<html>not found</html>"), "but a web page"),
    "of other sizes": (lambda folder: (folder / SIZES).unlink(), "is not what 'appearance' expects"),
    "of nonsense sizes": (lambda folder: (folder / SIZES).write_text('{"image_size": 31}'), "do not fit together"),
    "of unknown sizes": (lambda folder: (folder / SIZES).write_text('{"edge": 32}'), "has no edge; it has image_size"),
}


@pytest.mark.parametrize(("spoil", "said"), SPOILT.values(), ids=list(SPOILT))
def test_weights_that_are_wrong_leave_auto_the_mesh_and_refuse_who_asked_by_name(
    data_dir: Path,
    folder: Path,
    spoil: Callable[[Path], object],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(folder)
    assert said in refusal(data_dir, liveportrait_dir=folder, device="cpu")
    # As if there were a GPU.
    monkeypatch.setattr(liveportrait, "device_of", lambda _: torch.device("cpu"))
    assert said in reason(data_dir, liveportrait_dir=folder)


@pytest.mark.slow
async def test_a_process_that_lacks_its_engine_is_never_ready_and_ends_with_the_sentence(
    tmp_path: Path, folder: Path
) -> None:
    (folder / G).unlink()
    (tmp_path / "models").symlink_to(INSTALLED / "models")
    env = os.environ | {
        "AVATAR_DATA_DIR": str(tmp_path),
        "RENDER_PORT": "0",
        "RENDER_ENGINE": "liveportrait",
        "RENDER_DEVICE": "cpu",
        "RENDER_LIVEPORTRAIT_DIR": str(folder),
        "RENDER_DRAIN__ANNOUNCE_S": "0",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.render", env=env, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, log = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == NEEDS_REPAIR
    assert b"server_listening" in log
    assert b"server_ready" not in log
    assert b"Traceback" not in log
    assert log.decode().splitlines()[-1].startswith(f"{folder} lacks {G}: ")
