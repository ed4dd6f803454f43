"""G: spectral norm as it was trained, SPADE, and the image."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as nnf

from services.render.engines.liveportrait.config import NARROW
from services.render.engines.liveportrait.generator import Spade, SpadeResidualBlock, SpectralConv2d
from services.render.engines.liveportrait.networks import Networks

CHANNELS = NARROW.generator.in_channels
SIZE = NARROW.feature_size


def random_features(batch: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, CHANNELS, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def test_a_weight_is_divided_by_the_norm_that_its_vectors_know() -> None:
    conv = SpectralConv2d(2, 2, 1, has_bias=False)
    state = {
        "weight_orig": torch.tensor([[3.0, 0.0], [0.0, 5.0]])[..., None, None],
        "weight_u": torch.tensor([1.0, 0.0]),
        "weight_v": torch.tensor([1.0, 0.0]),
    }
    conv.load_state_dict(state)
    # Of the vectors in the checkpoint, whose 3 is not the largest singular value, 5.
    torch.testing.assert_close(conv.weight().squeeze(), torch.tensor([[1.0, 0.0], [0.0, 5.0 / 3.0]]))
    pixel = torch.tensor([1.0, 1.0]).reshape(1, 2, 1, 1)
    torch.testing.assert_close(conv(pixel).flatten().tolist(), [1.0, 5.0 / 3.0])


def test_spade_is_an_instance_norm_scaled_and_shifted_pixel_by_pixel() -> None:
    spade = Spade(channels=2, seg_channels=1, hidden=1)
    state = {name: torch.zeros_like(weight) for name, weight in spade.state_dict().items()}
    # The features themselves are the hidden layer.
    state["mlp_shared.0.weight"][0, 0, 1, 1] = 1.0
    state["mlp_gamma.weight"][:, 0, 1, 1] = torch.tensor([1.0, 2.0])
    state["mlp_beta.weight"][:, 0, 1, 1] = torch.tensor([0.5, -0.5])
    spade.load_state_dict(state)
    with torch.no_grad():
        x = torch.tensor([[[[1.0, 3.0]], [[2.0, 6.0]]]])  # of each channel -1 and 1, normalised
        seg = torch.tensor([[[[0.0, 2.0]]]])
        modulated = spade(x, seg)
    torch.testing.assert_close(modulated[0, 0, 0].tolist(), [-1.0, 4.0], rtol=1e-4, atol=0)
    torch.testing.assert_close(modulated[0, 1, 0].tolist(), [-1.0, 4.0], rtol=1e-4, atol=0)


def test_features_are_repeated_for_a_larger_image() -> None:
    torch.manual_seed(0)
    spade = Spade(channels=4, seg_channels=3, hidden=8)
    x, seg = torch.randn(1, 4, 8, 8), torch.randn(1, 3, 4, 4)
    repeated = seg.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(spade(x, seg), spade(x, repeated))


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 8), (8, 4)])
def test_a_block_whose_branch_is_nothing_passes_its_input_on(inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    block = SpadeResidualBlock(inputs, outputs, seg_channels=3, hidden=4)
    x, seg = torch.randn(1, inputs, 6, 6), torch.randn(1, 3, 6, 6)
    silent = {name: torch.zeros_like(weight) for name, weight in block.norm_1.state_dict().items()}
    silent["mlp_gamma.bias"] -= 1.0
    block.norm_1.load_state_dict(silent)
    with torch.no_grad():
        passed = block(x, seg)
        shortcut = block.conv_s(block.norm_s(x, seg)) if inputs != outputs else x
    torch.testing.assert_close(passed, shortcut)


def test_the_image_is_eight_times_as_large_and_between_black_and_white(networks: Networks) -> None:
    image = networks.generator(random_features(2))
    assert image.shape == (2, 3, 8 * SIZE, 8 * SIZE)
    assert 0 < image.min() < image.max() < 1


def test_four_pixels_come_out_of_each_place(networks: Networks) -> None:
    generator = networks.generator
    inner: list[torch.Tensor] = []
    hook = generator.conv_img[0].register_forward_hook(lambda _module, _inputs, output: inner.append(output))
    image = generator(random_features(1))
    hook.remove()
    torch.testing.assert_close(image[0, 1, 10, 7], torch.sigmoid(inner[0][0, 4 * 1 + 2 * 0 + 1, 5, 3]))
    torch.testing.assert_close(image, torch.sigmoid(nnf.pixel_shuffle(inner[0], 2)))


def test_the_images_of_a_batch_do_not_see_each_other(networks: Networks) -> None:
    features = random_features(3)
    together = networks.generator(features)
    for index in range(3):
        alone = networks.generator(features[index : index + 1])
        torch.testing.assert_close(alone[0], together[index], rtol=1e-4, atol=1e-5)
