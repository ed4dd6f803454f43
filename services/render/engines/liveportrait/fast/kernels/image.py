"""Logits to bytes: RGB and I420 in one pass."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from services.render.engines.liveportrait.fast import pixels

_LUMA = tl.constexpr(pixels.LUMA)
_BLUE = tl.constexpr(pixels.BLUE_DIFFERENCE)
_RED = tl.constexpr(pixels.RED_DIFFERENCE)
_LUMA_OFFSET = tl.constexpr(pixels.LUMA_OFFSET)
_CHROMA_OFFSET = tl.constexpr(pixels.CHROMA_OFFSET)
_SHIFT = tl.constexpr(pixels.SHIFT)


@triton.jit
def colour(logits, at, inside):
    """0 to 255, rounded down."""
    return (255.0 / (1.0 + tl.exp(-tl.load(logits + at, inside, 0.0)))).to(tl.int32)


@triton.jit
def image_kernel(logits, rgb, i420, places, height, width, block: tl.constexpr):
    """Four pixels of each place.

    Args:
        logits: shape (images, height, width, 16), float32, by row, column and colour.
        rgb: shape (images, 2 * height, 2 * width, 3), uint8; i420: shape (images, 6 * height * width), uint8.
        places: images * height * width.
    """
    m = tl.program_id(0) * block + tl.arange(0, block)
    inside = m < places
    image = m // (height * width)
    y = m // width % height
    x = m % width
    area = height * width
    for pixel in tl.static_range(4):
        red = colour(logits, m * 16 + pixel * 4, inside)
        green = colour(logits, m * 16 + pixel * 4 + 1, inside)
        blue = colour(logits, m * 16 + pixel * 4 + 2, inside)
        at = (2 * y + pixel // 2) * 2 * width + 2 * x + pixel % 2
        to = rgb + (image * 4 * area + at) * 3
        tl.store(to, red.to(tl.uint8), inside)
        tl.store(to + 1, green.to(tl.uint8), inside)
        tl.store(to + 2, blue.to(tl.uint8), inside)
        luma = (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue + _LUMA_OFFSET) >> _SHIFT
        tl.store(i420 + image * 6 * area + at, luma.to(tl.uint8), inside)
        if pixel == 0:
            u = (_BLUE[0] * red + _BLUE[1] * green + _BLUE[2] * blue + _CHROMA_OFFSET) >> _SHIFT
            v = (_RED[0] * red + _RED[1] * green + _RED[2] * blue + _CHROMA_OFFSET) >> _SHIFT
            to = i420 + image * 6 * area + 4 * area + y * width + x
            tl.store(to, u.to(tl.uint8), inside)
            tl.store(to + area, v.to(tl.uint8), inside)


def bytes_of(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Args: logits: shape (images, height, width, 2, 2, 4), float32.

    Returns: RGB, shape (images, 2 * height, 2 * width, 3), and I420, shape (images, 3 * height, 2 * width); uint8.
    """
    images, height, width = logits.shape[:3]
    rgb = logits.new_empty((images, 2 * height, 2 * width, 3), dtype=torch.uint8)
    i420 = logits.new_empty((images, 3 * height, 2 * width), dtype=torch.uint8)
    places = images * height * width
    block = 128
    image_kernel[(-(-places // block),)](logits, rgb, i420, places, height, width, block)
    return rgb, i420
