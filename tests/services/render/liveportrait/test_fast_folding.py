"""Rewritten weights compute what the weights did."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as nnf
from torch import nn

from services.render.engines.liveportrait.fast.folding import (
    classes_of,
    copied_kernels,
    fold_batch_norm,
    pad_to,
    padded,
    unroll_depth,
    upsampled_kernels,
)

RANDOM = torch.Generator().manual_seed(0)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=RANDOM, dtype=torch.float64)


def test_a_folded_batch_norm_is_gone() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv3d(3, 5, 3, padding=1).double(), nn.BatchNorm3d(5).double().eval()
    norm.load_state_dict({name: random(5).abs() + 0.1 for name in ("weight", "bias", "running_mean", "running_var")})
    with torch.no_grad():
        x = random(2, 3, 4, 5, 6)
        torch.testing.assert_close(nnf.conv3d(x, *fold_batch_norm(conv, norm), padding=1), norm(conv(x)))


@pytest.mark.parametrize("taps", [3, 7])
def test_slices_of_a_kernel_side_by_side_are_the_kernel_once_they_are_shifted_and_summed(taps: int) -> None:
    x, weight = random(2, 3, 8, 9, 9), random(5, 3, taps, 3, 3)
    slices = x.transpose(1, 2).flatten(0, 1)
    partial = nnf.conv2d(slices, unroll_depth(weight), padding=1).reshape(2, 8, taps, 5, 9, 9)
    by_tap = nnf.pad(partial, (0, 0, 0, 0, 0, 0, 0, 0, taps // 2, taps // 2))
    summed = sum(by_tap[:, tap : tap + 8, tap] for tap in range(taps))
    expected = nnf.conv3d(x, weight, padding=(taps // 2, 1, 1)).transpose(1, 2)
    torch.testing.assert_close(summed, expected)


@pytest.mark.parametrize("scale", [2, 4])
def test_a_kernel_on_an_upsampled_image_is_one_for_each_class_of_copies(scale: int) -> None:
    x, weight = random(1, 3, 5, 6), random(4, 3, 3, 3)
    expected = nnf.conv2d(nnf.interpolate(x, scale_factor=scale), weight, padding=1)
    kernels = upsampled_kernels(weight, scale)
    for row, (p, i) in enumerate(classes_of(scale)):
        for column, (q, j) in enumerate(classes_of(scale)):
            windows = nnf.conv2d(x, kernels[p, q], padding=1)
            torch.testing.assert_close(windows[:, :, i : i + 5, j : j + 6], expected[:, :, row::scale, column::scale])


def test_copies_of_one_class_are_equal_so_that_a_second_kernel_reads_each_class_once() -> None:
    x, first, second = random(1, 3, 4, 5), random(6, 3, 3, 3), random(4, 6, 3, 3)
    hidden = nnf.relu(nnf.conv2d(nnf.interpolate(x, scale_factor=4), first, padding=1))
    expected = nnf.conv2d(hidden, second, padding=1)
    # Of four copies the second and third are equal; beyond the edges there are zeros.
    classes = nnf.pad(hidden, (4, 4, 4, 4))[:, :, [i for i in range(24) if i % 4 != 2]]
    classes = classes[..., [i for i in range(28) if i % 4 != 2]]
    begins = (2, 3, 4, 4)
    for row, kernels in enumerate(copied_kernels(second)):
        for column, kernel in enumerate(kernels):
            high, wide = kernel.shape[2:]
            window = classes[:, :, begins[row] : begins[row] + 9 + high, begins[column] : begins[column] + 12 + wide]
            drawn = nnf.conv2d(window, kernel, stride=3)
            torch.testing.assert_close(drawn, expected[:, :, row::4, column::4])


def test_copies_cost_100_taps_instead_of_144() -> None:
    assert sum(kernel[0, 0].numel() for row in copied_kernels(random(1, 1, 3, 3)) for kernel in row) == 100


def test_channels_that_are_added_are_zero() -> None:
    assert [padded(number) for number in (1, 8, 110, 142)] == [8, 8, 112, 144]
    weight = random(2, 3, 3, 3)
    grown = pad_to(weight, 4, 8)
    torch.testing.assert_close(grown[:2, :3], weight)
    assert grown.count_nonzero() == weight.count_nonzero()
