"""Random weights: reproducible, and such that no layer can be wrong without being seen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from services.render.engines.liveportrait.checkpoint import FILES, load_networks
from services.render.engines.liveportrait.config import NARROW
from services.render.engines.liveportrait.keypoints import edited, place
from services.render.engines.liveportrait.networks import Networks
from services.render.engines.liveportrait.pipeline import Drive, Pipeline
from services.render.engines.liveportrait.random_weights import random_states
from tests.services.render.liveportrait.conftest import SEED
from tools.liveportrait_parity.probe import make_probe


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """By their network's name and their own."""
    return all_weights(SEED)


def all_weights(seed: int) -> dict[str, torch.Tensor]:
    states = random_states(NARROW, seed)
    return {f"{name}.{key}": weight for name, state in states.items() for key, weight in state.items()}


def test_a_seed_gives_the_same_weights_whatever_torchs_own_seed_is(weights: dict[str, torch.Tensor]) -> None:
    torch.manual_seed(0)
    again = all_weights(SEED)
    assert [key for key in weights if not torch.equal(again[key], weights[key])] == []


def test_another_seed_gives_other_weights(weights: dict[str, torch.Tensor]) -> None:
    others = all_weights(SEED + 1)
    same = {key.rpartition(".")[2] for key in weights if torch.equal(others[key], weights[key])}
    assert same == {"num_batches_tracked"}


def test_the_written_folder_holds_the_same_networks(official_folder: Path, networks: Networks) -> None:
    loaded = load_networks(official_folder, NARROW).state_dict()
    expected = networks.state_dict()
    assert loaded.keys() == expected.keys()
    for key, weight in expected.items():
        assert torch.equal(loaded[key], weight)


def test_the_folder_is_laid_out_as_the_official_one(official_folder: Path) -> None:
    files = {str(path.relative_to(official_folder)) for path in official_folder.rglob("*.pth")}
    assert files == {file for file, _ in FILES.values()}
    nested = torch.load(official_folder / FILES["lip"][0], weights_only=True)
    assert nested.keys() == {"retarget_shoulder", "retarget_eye", "retarget_mouth"}
    assert all(key.startswith("module.mlp.") for key in nested["retarget_eye"])
    motion = torch.load(official_folder / FILES["motion"][0], weights_only=True)
    assert all(key.startswith("detector.") for key in motion)


def test_no_layer_has_weights_that_are_all_the_same(weights: dict[str, torch.Tensor]) -> None:
    constant = [key for key, weight in weights.items() if weight.numel() > 1 and weight.std() < 0.001]
    assert constant == []


def test_spectral_norms_vectors_are_neither_fresh_nor_converged(weights: dict[str, torch.Tensor]) -> None:
    keys = [key for key in weights if key.endswith("weight_orig")]
    assert len(keys) == 18
    for key in keys:
        matrix = weights[key].flatten(1)
        u, v = (weights[key.removesuffix("orig") + vector] for vector in "uv")
        sigma, largest = float(u @ matrix @ v), float(torch.linalg.matrix_norm(matrix, ord=2))
        assert float(u.norm()) == pytest.approx(1.0, rel=1e-5)
        assert float(v.norm()) == pytest.approx(1.0, rel=1e-5)
        assert 0.5 * largest < sigma < 0.99999 * largest, key


def test_a_face_of_them_is_one_that_can_be_in_a_picture(pipeline: Pipeline) -> None:
    face = pipeline.read(make_probe(NARROW.image_size, seed=5).driving_rgb)
    x = place(face.kp, face.motion)
    assert 0.1 < x.std() < 0.5
    assert x.abs().max() < 1.0
    assert ((face.scale > 0.9) & (face.scale < 1.5)).all()


def test_frames_of_them_are_neither_flat_nor_burnt_out_and_change_with_the_expression(pipeline: Pipeline) -> None:
    probe = make_probe(NARROW.image_size, seed=5)
    source = pipeline.prepare(probe.portraits_rgb, torch.full((2, 2), 0.3), torch.zeros(2, 1))
    exp = torch.zeros(2, 21, 3)
    exp[1, 19, 1] = 0.05
    still, spoken = (pipeline.frames(source, Drive(edited(source.face, exp=e))) for e in (torch.zeros_like(exp), exp))
    assert 0.05 < still.std() < 0.4
    assert ((still < 0.01) | (still > 0.99)).float().mean() < 0.05
    assert (still[0] - spoken[0]).abs().max() < 1e-5
    assert (still[1] - spoken[1]).abs().max() > 0.01
