"""Logits to bytes, on the device that holds them."""

from __future__ import annotations

import torch
from torch import Tensor

# BT.601, limited range, in 2^-20, as OpenCV's COLOR_RGB2YUV_I420 rounds it.
SHIFT = 20
_HALF = 1 << (SHIFT - 1)
LUMA = (269484, 528482, 102760)
BLUE_DIFFERENCE = (-155188, -305135, 460324)
RED_DIFFERENCE = (460324, -385875, -74448)
LUMA_OFFSET = (16 << SHIFT) + _HALF
CHROMA_OFFSET = (128 << SHIFT) + _HALF


def image_of(logits: Tensor) -> Tensor:
    """The picture as the plain generator draws it.

    Args: logits: of `FastGenerator`, shape (n, h, w, 2, 2, 4).
    Returns: shape (n, 3, 2 h, 2 w), float32, RGB in (0, 1).
    """
    pixels = torch.sigmoid(logits[..., :3].float()).permute(0, 5, 1, 3, 2, 4)  # (n, 3, h, 2, w, 2)
    return pixels.flatten(4, 5).flatten(2, 3)


def rgb_of(logits: Tensor) -> Tensor:
    """Rounded down as `pipeline.to_rgb`.

    Args: logits: shape (n, h, w, 2, 2, 4). Returns: shape (n, 2 h, 2 w, 3), uint8.
    """
    return (image_of(logits) * 255.0).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def i420_of(rgb: Tensor) -> Tensor:
    """BT.601, limited range; of four pixels the first gives the colour, as in OpenCV.

    Args: rgb: shape (n, height, width, 3), uint8, height and width even.
    Returns: shape (n, height * 3 / 2, width), uint8: Y, and then U and V of half the size in rows of their own.
    """
    luma = _weighed(rgb, LUMA, LUMA_OFFSET)
    corner = rgb[:, ::2, ::2]
    chroma = [_weighed(corner, weights, CHROMA_OFFSET) for weights in (BLUE_DIFFERENCE, RED_DIFFERENCE)]
    planes = torch.cat([plane.flatten(1) for plane in (luma, *chroma)], dim=1)
    return torch.unflatten(planes, 1, (-1, rgb.shape[2]))


def _weighed(rgb: Tensor, weights: tuple[int, int, int], offset: int) -> Tensor:
    red, green, blue = rgb.to(torch.int32).unbind(-1)
    return ((weights[0] * red + weights[1] * green + weights[2] * blue + offset) >> SHIFT).to(torch.uint8)
