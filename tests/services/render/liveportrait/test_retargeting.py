"""Stitching and retargeting: what the small networks' outputs do to keypoints."""

from __future__ import annotations

import torch

from services.render.engines.liveportrait.config import NARROW, MlpConfig
from services.render.engines.liveportrait.retargeting import Mlp, retarget, stitch


def answering(config: MlpConfig, answer: torch.Tensor) -> Mlp:
    """A network that says the same whatever it is asked."""
    network = Mlp(config).requires_grad_(requires_grad=False)
    *_, (weight_name, weight), (_, bias) = network.named_parameters()
    assert weight_name.endswith("weight")
    weight.zero_()
    bias.copy_(answer)
    return network


def passing_through(config: MlpConfig, offset: int) -> Mlp:
    """A network of one layer that answers with what it was asked, from `offset` on."""
    network = Mlp(MlpConfig(config.input_size, (), config.output_size)).requires_grad_(requires_grad=False)
    weight, bias = network.parameters()
    weight.zero_()
    weight.diagonal(offset).fill_(1.0)
    bias.zero_()
    return network


def test_stitching_shifts_each_keypoint_and_all_of_them_in_the_picture() -> None:
    answer = torch.zeros(65)
    answer[3 * 7 : 3 * 7 + 3] = torch.tensor([0.1, 0.2, 0.3])
    answer[63:] = torch.tensor([1.0, -1.0])
    x_d = torch.full((2, 21, 3), 0.5)
    stitched = stitch(answering(NARROW.stitching, answer), torch.zeros(2, 21, 3), x_d)
    torch.testing.assert_close(stitched[1, 7], torch.tensor([1.6, -0.3, 0.8]))
    torch.testing.assert_close(stitched[1, 8], torch.tensor([1.5, -0.5, 0.5]))
    assert (x_d == 0.5).all()


def test_retargeting_gives_a_shift_for_each_keypoint() -> None:
    answer = torch.arange(63.0)
    shift = retarget(answering(NARROW.eye, answer), torch.zeros(2, 21, 3), torch.zeros(2, 3))
    torch.testing.assert_close(shift[1], torch.arange(63.0).view(21, 3))


def test_networks_are_asked_keypoint_by_keypoint_then_the_ratios() -> None:
    # The answer is what was asked but its first two values, so that it has as many as keypoints have.
    network = passing_through(NARROW.lip, offset=2)
    shift = retarget(network, torch.arange(63.0).view(1, 21, 3), torch.tensor([[0.2, 0.4]]))
    torch.testing.assert_close(shift.flatten(), torch.cat([torch.arange(2.0, 63.0), torch.tensor([0.2, 0.4])]))


def test_stitching_is_asked_the_portraits_keypoints_and_then_the_driven_ones() -> None:
    x_s, x_d = torch.arange(63.0).view(1, 21, 3), torch.arange(100.0, 163.0).view(1, 21, 3)
    from_portrait = stitch(passing_through(NARROW.stitching, offset=0), x_s, x_d) - x_d
    torch.testing.assert_close(from_portrait, x_s + torch.tensor([100.0, 101.0, 0.0]))
    from_driven = stitch(passing_through(NARROW.stitching, offset=61), x_s, x_d) - x_d
    torch.testing.assert_close(from_driven[0, 1], torch.tensor([101.0 + 161.0, 102.0 + 162.0, 103.0]))


def test_layers_have_relu_between_them_and_none_at_the_end() -> None:
    network = Mlp(MlpConfig(1, (1,), 1)).requires_grad_(requires_grad=False)
    for parameter, value in zip(network.parameters(), (1.0, 0.0, -2.0, 0.0), strict=True):
        parameter.fill_(value)
    torch.testing.assert_close(network(torch.tensor([[3.0], [-3.0]])), torch.tensor([[-6.0], [0.0]]))
