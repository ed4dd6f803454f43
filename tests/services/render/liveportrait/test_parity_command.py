"""The command that holds our networks against the official code; the comparison itself runs where that code is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from services.render.engines.liveportrait.config import LivePortraitConfig
from services.render.engines.liveportrait.networks import Networks
from services.render.engines.liveportrait.random_weights import random_networks
from tools.liveportrait_parity import __main__ as command
from tools.liveportrait_parity.figures import figures_of, golden_text, manifest_text
from tools.liveportrait_parity.probe import make_probe

CHECKOUT = os.environ.get("AVATAR_LIVEPORTRAIT_CHECKOUT", "")
needs_checkout = pytest.mark.skipif(
    not CHECKOUT, reason="AVATAR_LIVEPORTRAIT_CHECKOUT does not name a checkout of github.com/KwaiVGI/LivePortrait"
)

# The official code leaves its models.yaml open.
leaves_files_open = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def test_a_difference_is_measured_against_the_official_answer() -> None:
    official = torch.tensor([3.0, 4.0])
    assert command.relative_l2(official, official) == 0.0
    assert command.relative_l2(torch.tensor([3.0, 4.5]), official) == pytest.approx(0.1)
    assert command.relative_l2(torch.tensor([[3.0, 4.0]]), official) == float("inf")


def test_an_answer_that_is_not_a_number_is_not_equal() -> None:
    nan = command.relative_l2(torch.tensor([3.0, float("nan")]), torch.tensor([3.0, 4.0]))
    assert not command.Compared("frame", (2,), nan).is_equal


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([str(tmp_path)])
    assert ended.value.code == 2
    assert f"{tmp_path} is no checkout of LivePortrait" in capsys.readouterr().err


def test_figures_are_the_mean_square_and_values_from_all_over() -> None:
    values = torch.arange(15.0).view(3, 5)
    assert figures_of(values) == [pytest.approx((1015 / 15) ** 0.5), 0, 2, 4, 6, 8, 10, 12, 14]
    written = json.loads(golden_text({"one": values}, "narrow", 3))
    assert written["figures"]["one"] == pytest.approx(figures_of(values), rel=1e-6)
    assert (written["size"], written["seed"]) == ("narrow", 3)


def test_the_manifest_says_type_and_shape() -> None:
    text = manifest_text({"a": torch.nn.BatchNorm1d(2, affine=False), "b": torch.nn.Linear(3, 2, bias=False)})
    assert text.splitlines() == [
        "[a]",
        "num_batches_tracked int64:",
        "running_mean float32:2",
        "running_var float32:2",
        "[b]",
        "weight float32:2x3",
    ]


def test_a_probe_asks_for_open_lips_and_different_pictures() -> None:
    probe = make_probe(32, seed=1)
    assert len({image.tobytes() for image in (*probe.portraits_rgb, *probe.driving_rgb)}) == 4


@needs_checkout
@leaves_files_open
def test_ours_equals_the_official_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([CHECKOUT, "--size", "narrow", "--device", "cpu", "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["is_equal"]
    assert report["same_bytes"] > 0.999
    assert {"F volume", "W out", "G image", "x_d", "frame", "frame, drawn alone"} <= {
        one["name"] for one in report["compared"]
    }


@needs_checkout
@leaves_files_open
def test_a_single_wrong_weight_is_noticed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def slightly_wrong(_folder: Path, config: LivePortraitConfig, _device: str) -> Networks:
        networks = random_networks(config, 1)
        networks.generator.get_parameter("up_1.norm_s.mlp_beta.bias")[0] += 0.1
        return networks

    monkeypatch.setattr(command, "load_networks", slightly_wrong)
    assert command.main([CHECKOUT, "--size", "narrow", "--device", "cpu"]) == 1
    differing = [line.split("  ")[1] for line in capsys.readouterr().out.splitlines() if "DIFFERS" in line]
    assert differing == ["G image", "frame", "frame, drawn alone"]
