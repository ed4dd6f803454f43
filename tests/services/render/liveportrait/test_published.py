"""Our networks have the published weights, and compute what the official code computed (tools/liveportrait_parity)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from services.render.engines.liveportrait.checkpoint import FILES
from services.render.engines.liveportrait.config import NARROW, OFFICIAL
from services.render.engines.liveportrait.networks import Networks
from services.render.engines.liveportrait.pipeline import Pipeline
from services.render.engines.liveportrait.random_weights import random_networks
from tools.liveportrait_parity import ours
from tools.liveportrait_parity.figures import figures_of, form_of
from tools.liveportrait_parity.probe import make_probe

HERE = Path(__file__).parent
MADE = json.loads((HERE / "golden.json").read_text())
GOLDEN = MADE["figures"]


def published(name: str) -> dict[str, str]:
    """What the manifest says of a network's weights."""
    _, _, after = (HERE / "manifest.txt").read_text().partition(f"[{name}]\n")
    lines, _, _ = after.partition("[")
    return dict(line.split(" ") for line in lines.splitlines())


@pytest.mark.parametrize("name", FILES)
def test_a_network_has_exactly_the_published_weights(name: str) -> None:
    with torch.device("meta"):
        weights = Networks(OFFICIAL).get_submodule(name).state_dict()
    assert {key: form_of(weight) for key, weight in weights.items()} == published(name)


def test_the_manifest_is_of_all_the_published_weights() -> None:
    assert {name: len(published(name)) for name in FILES} == {
        "appearance": 107,
        "motion": 212,
        "warping": 97,
        "generator": 182,
        "stitching": 8,
        "eye": 12,
        "lip": 8,
    }


@pytest.fixture(scope="module")
def answers() -> dict[str, torch.Tensor]:
    assert MADE["size"] == "narrow"
    pipeline = Pipeline(random_networks(NARROW, MADE["seed"]))
    return ours.answers(pipeline, make_probe(NARROW.image_size, MADE["seed"]))


@pytest.mark.parametrize("name", GOLDEN)
def test_an_answer_has_the_figures_of_the_official_one(name: str, answers: dict[str, torch.Tensor]) -> None:
    rms, *values = figures_of(answers[name])
    assert rms == pytest.approx(GOLDEN[name][0], rel=1e-4)
    assert values == pytest.approx(GOLDEN[name][1:], rel=1e-4, abs=1e-4 * rms)


def test_every_answer_has_golden_figures(answers: dict[str, torch.Tensor]) -> None:
    assert answers.keys() == GOLDEN.keys()
