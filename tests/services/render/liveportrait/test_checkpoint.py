"""Loading: the official layout as it is published, and one clear sentence for everything else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.errors import NotReadyError
from services.render.engines.liveportrait.checkpoint import FILES, load_networks
from services.render.engines.liveportrait.config import NARROW, OFFICIAL

F, M, W, G, S = dict.fromkeys(file for file, _ in FILES.values())


@pytest.fixture
def folder(official_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(official_folder, tmp_path / "weights")


def refusal(folder: Path) -> str:
    """What loading says. Fails if it says nothing, or more than a sentence."""
    with pytest.raises(NotReadyError) as refused:
        load_networks(folder, NARROW)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def rewritten(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the weights in a file."""
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)


def test_networks_are_loaded_for_inference(official_folder: Path) -> None:
    networks = load_networks(official_folder, NARROW)
    assert not networks.training
    assert not any(parameter.requires_grad for parameter in networks.parameters())
    assert {tensor.device.type for tensor in networks.state_dict().values()} == {"cpu"}


def test_a_device_that_is_not_there_is_named(official_folder: Path) -> None:
    with pytest.raises(
        NotReadyError, match=r"^LivePortrait's weights \(\d+ MiB\) do not go to cuda:99: \w+"
    ) as refused:
        load_networks(official_folder, NARROW, "cuda:99")
    assert "\n" not in str(refused.value)


def test_missing_files_are_named_together(folder: Path) -> None:
    (folder / W).unlink()
    (folder / S).unlink()
    said = refusal(folder)
    assert said.startswith(f"{folder} lacks {W}, {S}")
    assert "needs all of its official checkpoints" in said


def test_a_folder_that_is_not_there_lacks_them_all(tmp_path: Path) -> None:
    said = refusal(tmp_path / "nowhere")
    assert all(file in said for file in (F, M, W, G, S))


@pytest.mark.parametrize("file", [F, S])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_file_is_named_with_its_size(folder: Path, file: str, share: float) -> None:
    path = folder / file
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    said = refusal(folder)
    assert said.startswith(f"{path} is not a checkpoint of PyTorch, or it is truncated: ")
    assert f"{path.stat().st_size} bytes" in said


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        (b"\n<!doctype html><title>Sign in</title>", "a web page"),
    ],
)
def test_what_a_download_left_instead_is_recognised(folder: Path, content: bytes, kind: str) -> None:
    (folder / G).write_bytes(content)
    said = refusal(folder)
    assert str(folder / G) in said
    assert kind in said
    assert "fetch the official file again" in said


def test_a_file_that_the_disk_does_not_give_says_why(folder: Path) -> None:
    (folder / F).unlink()
    # Nothing is mapped at the start of a process's memory: to read there is an input/output error.
    (folder / F).symlink_to("/proc/self/mem")
    assert refusal(folder) == f"{folder / F} cannot be read: Input/output error"


# PyTorch says so of other protocols than its own before it reads them.
@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@given(content=st.binary(max_size=200))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_at_all_are_refused_in_words(folder: Path, content: bytes) -> None:
    (folder / F).write_bytes(content)
    assert str(folder / F) in refusal(folder)


class Exploit:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_a_file_with_code_in_it_is_refused_and_the_code_does_not_run(folder: Path, tmp_path: Path) -> None:
    torch.save({"first.conv.weight": Exploit(tmp_path / "ran")}, folder / F)
    assert "or it is damaged or holds more than weights" in refusal(folder)
    assert not (tmp_path / "ran").exists()


def test_files_that_were_mixed_up_are_told_apart(folder: Path) -> None:
    shutil.copy(folder / M, folder / G)
    said = refusal(folder)
    assert said == f"{folder / G} holds the weights of 'motion' where those of 'generator' belong"


def test_small_networks_that_were_mixed_up_differ_in_shape(folder: Path) -> None:
    rewritten(folder / S, lambda state: state.update(retarget_mouth=state["retarget_shoulder"]))
    assert "mlp.0.weight is float32 (16, 126) and should be float32 (16, 65)" in refusal(folder)


def test_weights_of_another_size_are_told_by_the_first_that_differs(official_folder: Path) -> None:
    with pytest.raises(NotReadyError, match="of its 107 weights 48 are missing"):
        load_networks(official_folder, OFFICIAL)


def test_missing_and_unknown_weights_are_counted_and_the_first_is_named(folder: Path) -> None:
    def rename(state: dict[str, Any]) -> None:
        state["fifth.weight"] = state.pop("fourth.weight")
        del state["fourth.bias"]

    rewritten(folder / W, rename)
    said = refusal(folder)
    assert "2 are missing (fourth.weight first), and 1 are unknown (fifth.weight first)" in said


def test_a_wrong_shape_is_named_with_the_right_one(folder: Path) -> None:
    rewritten(folder / W, lambda state: state.update({"fourth.bias": torch.zeros(3)}))
    assert f"{folder / W}: fourth.bias is float32 (3,) and should be float32 (16,)" in refusal(folder)


def test_half_precision_is_not_what_is_published(folder: Path) -> None:
    rewritten(folder / W, lambda state: state.update({"fourth.bias": torch.zeros(16).half()}))
    assert "fourth.bias is float16 (16,) and should be float32 (16,)" in refusal(folder)


def test_something_that_is_no_tensor_is_named(folder: Path) -> None:
    rewritten(folder / W, lambda state: state.update({"fourth.bias": 1.0}))
    assert "fourth.bias is a float and should be a tensor" in refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_damaged_weights_are_found_before_they_are_drawn(folder: Path, value: float) -> None:
    rewritten(folder / G, lambda state: state["fc.weight"][3, 2].fill_(value))
    assert "fc.weight holds values that are not finite" in refusal(folder)


def test_a_checkpoint_that_is_no_dictionary_is_named(folder: Path) -> None:
    torch.save([torch.zeros(1)], folder / F)
    assert "holds a list where weights by their names are expected" in refusal(folder)


def test_a_file_without_one_of_its_networks_says_what_it_holds(folder: Path) -> None:
    rewritten(folder / S, lambda state: state.pop("retarget_eye"))
    assert "lacks 'retarget_eye'; it holds retarget_mouth, retarget_shoulder" in refusal(folder)


def test_more_networks_in_the_file_than_are_used_are_no_harm(folder: Path) -> None:
    rewritten(folder / S, lambda state: state.update(another={"module.mlp.0.weight": torch.zeros(1)}))
    load_networks(folder, NARROW)


def test_batch_norms_counters_are_not_missed(folder: Path) -> None:
    def uncounted(state: dict[str, Any]) -> None:
        for key in [key for key in state if key.endswith("num_batches_tracked")]:
            del state[key]

    rewritten(folder / F, uncounted)
    assert load_networks(folder, NARROW).appearance.first.norm.num_batches_tracked == 0


def test_a_prefix_that_is_not_there_is_not_missed(folder: Path) -> None:
    def bare(state: dict[str, Any]) -> None:
        for name, weights in list(state.items()):
            state[name] = {key.removeprefix("module."): weight for key, weight in weights.items()}

    rewritten(folder / S, bare)
    load_networks(folder, NARROW)
