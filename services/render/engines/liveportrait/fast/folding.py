"""Exact rewrites of weights: what does not change from frame to frame is worked out once, in float64."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# The taps of a 3-tap kernel on an image whose pixels were each repeated, as taps of two neighbours before that: the
# first of the copies sees the pixel before its own, the last one the next, and those between see only their own.
_FIRST = ((1.0, 0.0, 0.0), (0.0, 1.0, 1.0))
_BETWEEN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_LAST = ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def padded(channels: int) -> int:
    """The next multiple of 8: tensor cores read 16 bytes at a time, and cuDNN is slow where channels are fewer."""
    return -(-channels // 8) * 8


def pad_to(weight: Tensor, out_channels: int, in_channels: int) -> Tensor:
    """Add channels of zeros. Args: weight: shape (out, in, ...). Returns: shape (out_channels, in_channels, ...)."""
    grown = weight.new_zeros(out_channels, in_channels, *weight.shape[2:])
    grown[: weight.shape[0], : weight.shape[1]] = weight
    return grown


def fold_batch_norm(conv: nn.Conv2d | nn.Conv3d, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """One convolution that does what a convolution and the batch norm after it do in evaluation.

    Returns: weight, as the convolution's, and bias, shape (out,); both float64.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert conv.bias is not None
    factor = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = (conv.bias.double() - norm.running_mean.double()) * factor + norm.bias.double()
    return conv.weight.double() * factor.reshape(-1, *[1] * (conv.weight.ndim - 1)), bias


def unroll_depth(weight: Tensor) -> Tensor:
    """A 3-D kernel as 2-D ones side by side, one for each of its slices; their outputs, shifted in depth, are summed.

    Args: weight: shape (out, in, depth, h, w). Returns: shape (depth * out, in, h, w).
    """
    return weight.movedim(2, 0).flatten(0, 1)


def classes_of(scale: int) -> list[tuple[int, int]]:
    """What a pixel's copies see when it is repeated `scale` times, 2 or 4, along one axis.

    Returns: for each copy its class, and which neighbours its two taps read: 0 for the pixel before and its own, 1 for
        its own and the next.
    """
    last = 1 if scale == 2 else 2
    return [(0, 0)] + [(1, 0)] * (scale - 2) + [(last, 1)]


# Taps of each of a pixel's four copies along an axis, on the classes of copies that they see (`classes_of`), one after
# the other: the first and the last see three classes, those between see two, one of them twice.
_COPIES = (
    ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    ((1.0, 0.0, 0.0), (0.0, 1.0, 1.0)),
    ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
)


def copied_kernels(weight: Tensor) -> list[list[Tensor]]:
    """A 3x3 kernel on an image that a 3x3 kernel made of one that was upsampled by 4: one for each copy of a pixel.

    Copies of one class are equal, so taps on them are summed: a pixel's copies cost 100 taps instead of 144.

    Args: weight: shape (out, in, 3, 3).
    Returns: for each copy's row and column, shape (out, in, 2 or 3, 2 or 3).
    """
    taps = [torch.tensor(one, dtype=weight.dtype, device=weight.device) for one in _COPIES]
    return [[torch.einsum("ak,bl,oikl->oiab", rows, columns, weight) for columns in taps] for rows in taps]


def upsampled_kernels(weight: Tensor, scale: int) -> Tensor:
    """A 3x3 kernel on a nearest-upsampled image as kernels on the image itself: one for each class of copies.

    Upsampling by 2 then costs 16 taps instead of 36 for each pixel, by 4 at most 36 instead of 144.

    Args: weight: shape (out, in, ..., 3, 3). Returns: shape (classes, classes, out, in, ..., 2, 2).
    """
    taps = torch.tensor([_FIRST, *[_BETWEEN] * (scale > 2), _LAST], dtype=weight.dtype, device=weight.device)
    return torch.einsum("pak,qbl,...kl->pq...ab", taps, taps, weight)
