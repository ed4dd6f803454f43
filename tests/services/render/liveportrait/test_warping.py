"""W: the grid, the keypoints' motions, and what the network makes of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from services.render.engines.liveportrait.config import NARROW
from services.render.engines.liveportrait.networks import Networks
from services.render.engines.liveportrait.warping import (
    WarpingNetwork,
    coordinate_grid,
    keypoint_heatmap,
    sample,
    sparse_motion,
)

CPU = torch.device("cpu")


def random_inputs(batch: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Features, and keypoints of the source and the driven face."""
    random = torch.Generator().manual_seed(seed)
    feature = torch.randn(batch, *NARROW.volume, generator=random)
    source = 0.5 * torch.randn(batch, NARROW.warping.num_kp, 3, generator=random)
    return feature, source, source + 0.1 * torch.randn(source.shape, generator=random)


def test_the_grid_ends_with_the_centres_of_the_outermost_voxels() -> None:
    grid = coordinate_grid((3, 5, 2), CPU)
    assert grid.shape == (3, 5, 2, 3)
    assert grid[0, 0, 0].tolist() == [-1, -1, -1]
    assert grid[2, 4, 1].tolist() == [1, 1, 1]
    assert grid[1, 1, 0].tolist() == [-1, -0.5, 0]  # x, y, z


def test_a_volume_is_read_by_its_outer_edges_so_that_the_grid_moves_it() -> None:
    line = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 1, 4)
    flat = coordinate_grid((1, 1, 4), CPU)
    flat[..., 1:] = 0.0
    # Voxels at -.5, 5/6, 13/6 and 3.5 of the line: half of the outermost is beyond its edge.
    expected = [0.5, 1 + 5 / 6, 3 + 1 / 6, 2.0]
    torch.testing.assert_close(sample(line, flat[None]).flatten().tolist(), expected)


def test_a_voxel_comes_from_where_its_keypoint_was_and_the_first_part_stays() -> None:
    grid = coordinate_grid((2, 2, 2), CPU)
    source, driving = torch.tensor([[[0.1, 0.2, 0.3]]]), torch.tensor([[[0.4, 0.1, 0.3]]])
    motions = sparse_motion(grid, source, driving)
    assert motions.shape == (1, 2, 2, 2, 2, 3)
    torch.testing.assert_close(motions[0, 0], grid)
    torch.testing.assert_close(motions[0, 1], grid + torch.tensor([-0.3, 0.1, 0.0]))


def test_a_bump_is_one_at_its_keypoint_and_falls_by_a_known_width() -> None:
    grid = torch.tensor([0.0, 0.1, 0.2]).reshape(1, 1, 3, 1) * torch.tensor([1.0, 0.0, 0.0])
    bump = keypoint_heatmap(grid, torch.zeros(1, 1, 3)).flatten()
    torch.testing.assert_close(bump.tolist(), [1.0, math.exp(-0.5), math.exp(-2.0)])


def test_the_deformation_lies_between_the_motions_that_are_mixed(networks: Networks) -> None:
    feature, source, _ = random_inputs(1)
    shift = torch.tensor([0.3, -0.2, 0.1])
    warped = networks.warping(feature, source, source - shift)
    away = warped.deformation - coordinate_grid(feature.shape[2:], CPU)
    share = away / shift
    assert 0 <= share.min() <= share.max() <= 1
    torch.testing.assert_close(share[..., 0], share[..., 1], rtol=1e-3, atol=1e-3)


def test_keypoints_that_stay_leave_the_deformation_at_the_grid(networks: Networks) -> None:
    feature, source, _ = random_inputs(1)
    warped = networks.warping(feature, source, source)
    torch.testing.assert_close(warped.deformation[0], coordinate_grid(feature.shape[2:], CPU), rtol=0, atol=1e-6)


def test_what_is_hidden_is_dimmed(networks: Networks) -> None:
    feature, source, driving = random_inputs(2)
    network: WarpingNetwork = networks.warping
    warped = network(feature, source, driving)
    assert warped.occlusion.shape == (2, 1, NARROW.feature_size, NARROW.feature_size)
    assert 0 < warped.occlusion.min() < warped.occlusion.max() < 1
    moved = sample(feature, warped.deformation).flatten(1, 2)
    torch.testing.assert_close(warped.out, network.fourth(network.third(moved)) * warped.occlusion)


def test_the_faces_of_a_batch_do_not_see_each_other(networks: Networks) -> None:
    inputs = random_inputs(3)
    together = networks.warping(*inputs)
    for index in range(3):
        alone = networks.warping(*(part[index : index + 1] for part in inputs))
        torch.testing.assert_close(alone.out[0], together.out[index], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axis", [2, 3, 4])
def test_every_axis_of_the_volume_counts(networks: Networks, axis: int) -> None:
    feature, source, driving = random_inputs(1)
    flipped = networks.warping(feature.flip(axis), source, driving).out
    assert (flipped - networks.warping(feature, source, driving).out).abs().max() > 0.1
