"""Launches the convolutions of `conv`: packs weights for them, and chooses tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from services.render.engines.liveportrait.fast.folding import classes_of, copied_kernels
from services.render.engines.liveportrait.fast.kernels import conv
from services.render.engines.liveportrait.generator import NORM_EPSILON

_BLOCK_K = 64
# What `volume.neighbours_kernel` lays side by side: pixels, each with so many channels.
QUAD = 4
NEIGHBOUR_CHANNELS = 16
# With fewer tiles than this for each multiprocessor, smaller ones keep more of them busy.
_LARGE_TILES_FROM = 1.9
# What the larger tiles' three stages take; a device with less shared memory runs the smaller tiles in two.
_LARGE_TILE_BYTES = 3 * (128 + 256) * _BLOCK_K * 2


class Term(NamedTuple):
    """A convolution's weight as a matrix, of all its inputs or of some.

    Attributes:
        matrix: shape (out, taps * chunks * block), for each tap the inputs.
        taps: of depth, height and width.
        origin_d, origin_w: slice and column that the first tap reads for slice 0 and column 0; rows are centred.
        step_w: pixels from a tap to the next in a row.
        channel: the first input; chunks: of `block` inputs each.
    """

    matrix: Tensor
    taps: tuple[int, int, int]
    origin_d: int
    origin_w: int
    step_w: int
    channel: int
    chunks: int
    block: int


class Tile(NamedTuple):
    """What one program computes: `rows` pieces of `width` pixels, times `outputs`."""

    width: int
    rows: int
    outputs: int
    warps: int
    stages: int


@dataclass(frozen=True, slots=True)
class After:
    """What follows a convolution before its result is stored.

    Attributes:
        bias: shape (out,), float32.
        residual: added; as the result.
        slope: of the leaky ReLU; 0 for ReLU, 1 for none.
        pixel_scale: a factor for each pixel, shape (pixels,), float32.
        has_moments: also give sums and sums of squares of each tile, all outputs being in tiles of one size.
        dtype: of the result; the input's by default.
    """

    bias: Tensor | None = None
    residual: Tensor | None = None
    slope: float = 1.0
    pixel_scale: Tensor | None = None
    has_moments: bool = False
    dtype: torch.dtype | None = None


class Moments(NamedTuple):
    """Of each tile of an image.

    Attributes:
        values: shape (images, tiles, 2, channels), float32: sum, and sum of squares.
        pixels: of a tile.
    """

    values: Tensor
    pixels: int


def term_of(weight: Tensor, dtype: torch.dtype, origin_d: int | None = None) -> Term:
    """A convolution as one term.

    Args: weight: shape (out, in, depth, height, width), `in` a multiple of 16; origin_d: centred by default.
    """
    inputs = weight.shape[1]
    block = next((block for block in (_BLOCK_K, 32, 16) if inputs % block == 0), 0)
    if not block:
        raise ValueError(f"a convolution of {inputs} inputs cannot be read in blocks of 16")
    taps = (weight.shape[2], weight.shape[3], weight.shape[4])
    matrix = weight.detach().permute(0, 2, 3, 4, 1).flatten(1).to(dtype).contiguous()
    first = -(taps[0] // 2) if origin_d is None else origin_d
    return Term(matrix, taps, first, -(taps[2] // 2), 1, 0, inputs // block, block)


def neighbours_term(weight: Tensor, dtype: torch.dtype, origin_d: int | None = None) -> Term:
    """A convolution of few inputs, that are read as `volume.neighbours_kernel` lays them out: four pixels at once.

    Args: weight: shape (out, up to 16, depth, height, width); origin_d: centred by default.
    """
    outputs, inputs, *taps, width = weight.shape
    quads = -(-width // QUAD)
    padded = weight.new_zeros((outputs, NEIGHBOUR_CHANNELS, *taps, quads * QUAD))
    padded[:, :inputs, ..., :width] = weight.detach()
    by_quad = torch.unflatten(padded, -1, (quads, QUAD))  # (out, 16, depth, height, quads, 4)
    matrix = by_quad.permute(0, 2, 3, 4, 5, 1).flatten(1).to(dtype).contiguous()
    first = -(taps[0] // 2) if origin_d is None else origin_d
    return Term(matrix, (taps[0], taps[1], quads), first, QUAD - width // 2, QUAD, 0, 1, QUAD * NEIGHBOUR_CHANNELS)


def convolve(
    parts: Sequence[tuple[Tensor, Term]], after: After, depth: int | None = None
) -> tuple[Tensor, Moments | None]:
    """The sum of one or two convolutions that leave height and width as they are.

    Args:
        parts: inputs, each of shape (images, depth, height, width, in), with their terms; the first has the width of
            the result.
        depth: of the result; that of the first input by default.
    Returns: the result, shape (images, depth, height, width, out), and its moments where they are asked for.
    """
    x, term = parts[0]
    more, more_term = parts[1] if len(parts) > 1 else (None, None)
    images, height, width = x.shape[0], x.shape[2], x.shape[3]
    depth = depth or x.shape[1]
    outputs = term.matrix.shape[0]
    pixels = images * depth * height * width
    out = x.new_empty((images, depth, height, width, outputs), dtype=after.dtype or x.dtype)
    moments = None
    for begin, end, tile in _tiles(width, outputs, pixels, x.device):
        if after.has_moments and moments is None:
            tile_pixels = tile.width * tile.rows
            moments = Moments(
                x.new_empty((images * depth, height * width // tile_pixels, 2, outputs), dtype=torch.float32),
                tile_pixels,
            )
        conv.conv_kernel[((end - begin) // tile.outputs, pixels // (tile.width * tile.rows))](
            _pixels(x, tile, term.block),
            _weights(term.matrix, tile, term.block),
            _pixels(more, tile, more_term.block) if more is not None and more_term is not None else None,
            _weights(more_term.matrix, tile, more_term.block) if more_term is not None else None,
            after.bias,
            _results(after.residual, outputs, tile.width, tile.outputs) if after.residual is not None else None,
            after.pixel_scale,
            moments.values if moments else None,
            _results(out, outputs, tile.width, tile.outputs),
            x.shape[1],
            depth,
            height,
            width,
            outputs,
            begin,
            after.slope,
            *term.taps,
            *term[2:],
            *(more_term.taps if more_term else (0, 0, 0)),
            *(more_term[2:] if more_term else (0, 0, 0, 0, 0, 0)),
            tile.width,
            tile.rows,
            tile.outputs,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
    return out, moments


def moments_of(x: Tensor) -> Moments:
    """Args: x: shape (images, 1, height, width, channels)."""
    images, _, height, width, channels = x.shape
    tile, block_c = 256, 64
    values = x.new_empty((images, height * width // tile, 2, channels), dtype=torch.float32)
    grid = (images * height * width // tile, -(-channels // block_c))
    conv.moments_kernel[grid](x, values, images * height * width, channels, tile, block_c, num_warps=8)
    return Moments(values, tile)


def statistics(moments: Moments) -> Tensor:
    """Of whole images. Returns: shape (images, 2, channels), float32: mean, and inverse standard deviation."""
    images, tiles, _, channels = moments.values.shape
    out = moments.values.new_empty((images, 2, channels))
    block_c = 32
    conv.statistics_kernel[(images, -(-channels // block_c))](
        moments.values, out, tiles, channels, moments.pixels, NORM_EPSILON, _power_of_2(tiles), block_c
    )
    return out


def spade_weight(gamma: Tensor, beta: Tensor) -> Tensor:
    """Of eight channels the scales and then the shifts, and so on. Args, returns: shape (channels, ...)."""
    by_eight = torch.stack([torch.unflatten(part, 0, (-1, 8)) for part in (gamma, beta)], dim=1)
    return by_eight.flatten(0, 2)


def copied_term(weight: Tensor, dtype: torch.dtype) -> Term:
    """Each copy's own taps, tightly; see `folding.copied_kernels`.

    Args: weight: shape (out, in, 3, 3).
    Returns: of shape (4 * 4 * out, 9 * in); a copy with fewer taps fills the beginning of its rows.
    """
    outputs, inputs = weight.shape[:2]
    matrix = weight.new_zeros((4, 4, outputs, 9 * inputs))
    for row, kernels in enumerate(copied_kernels(weight)):
        for column, kernel in enumerate(kernels):
            own = kernel.permute(0, 2, 3, 1).flatten(1)
            matrix[row, column, :, : own.shape[1]] = own
    return Term(matrix.flatten(0, 2).to(dtype).contiguous(), (1, 3, 3), 0, -1, 1, 0, inputs // _BLOCK_K, _BLOCK_K)


def spade(
    content: Tensor,
    statistics: Tensor,
    hidden: Tensor,
    channel: int,
    term: Term,
    bias: Tensor,
    scale: int,
    slope: float,
) -> Tensor:
    """SPADE and leaky ReLU.

    Args:
        content: shape (images, height / scale, width / scale, channels); statistics: of it, as of `statistics`.
        hidden: shape (images, 1, height, width, n), or by class (images, 9, height / 4, width / 4, n).
        channel: of `hidden`, where this layer's begin.
        term: of a `spade_weight`; of hidden by class a `copied_term`.
        bias: shape (2, channels), float32: of scale and shift.
    Returns: shape (images, 1, height, width, channels).
    """
    images, classes, height, width, _ = hidden.shape
    copies = 1 if classes == 1 else 4
    channels = content.shape[-1]
    out = content.new_empty((images, 1, copies * height, copies * width, channels))
    block = min(128, 2 * channels)
    programs = images * copies**2 * height * width // 128 * (2 * channels // block)
    tile = _small_tile(width, block, programs, hidden.device)
    kernel = conv.spade_kernel if copies == 1 else conv.spade_copies_kernel
    reads_pixels = copies == 1 and scale == 2
    kernel[(2 * channels // tile.outputs, images * height * width // (tile.width * tile.rows), copies**2)](
        _pixels(hidden, tile, term.block),
        _weights(term.matrix, tile, term.block),
        bias,
        content if reads_pixels else _results(content, copies // scale * channels, tile.width, block // 2),
        statistics,
        _results(out, copies * channels, tile.width, block // 2),
        height,
        width,
        channels,
        channel,
        scale,
        slope,
        term.chunks,
        term.block,
        tile.width,
        tile.rows,
        tile.outputs,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return out


def upsampled_matrix(kernels: Tensor, dtype: torch.dtype) -> Tensor:
    """Each class's own taps, tightly.

    Args: kernels: of `upsampled_kernels`, shape (classes, classes, out, in, 2, 2).
    Returns: shape (classes * classes * out, 4 * in); a class with fewer taps fills the beginning of its rows.
    """
    classes, _, outputs, inputs = kernels.shape[:4]
    matrix = kernels.new_zeros((classes, classes, outputs, 4 * inputs))
    # Copies between the first and the last see their own pixel only, which is the second tap.
    taps = [slice(1, 2) if classes == 3 and index == 1 else slice(0, 2) for index in range(classes)]
    for p in range(classes):
        for q in range(classes):
            own = kernels[p, q][:, :, taps[p], taps[q]].permute(0, 2, 3, 1).flatten(1)
            matrix[p, q, :, : own.shape[1]] = own
    return matrix.flatten(0, 2).to(dtype).contiguous()


def convolve_upsampled(x: Tensor, matrix: Tensor, bias: Tensor, scale: int) -> Tensor:
    """A 3x3 convolution and ReLU on an image as if it were nearest-upsampled.

    Args: x: shape (images, 1, height, width, in); matrix: of `upsampled_matrix`; bias: shape (out,).
    Returns: upsampled by 2, shape (images, 1, 2 * height, 2 * width, out); by 4, each class of copies as an image,
        shape (images, 9, height, width, out).
    """
    images, _, height, width, inputs = x.shape
    outputs, classes = len(bias), len(set(classes_of(scale)))
    image = (1, 2 * height, 2 * width) if scale == 2 else (classes**2, height, width)
    out = x.new_empty((images, *image, outputs))
    pixels = images * height * width
    block = next(block for block in (128, 64, 32, 16) if outputs % block == 0)
    tile = _small_tile(width, block, pixels * classes**2 // 128 * (outputs // block), x.device)
    conv.upsampled_kernel[(outputs // block, pixels // (tile.width * tile.rows), classes**2)](
        _pixels(x, tile, _BLOCK_K),
        _weights(matrix, tile, _BLOCK_K),
        bias,
        _results(out, 2 * outputs if scale == 2 else outputs, tile.width, block),
        height,
        width,
        outputs,
        classes,
        inputs // _BLOCK_K,
        _BLOCK_K,
        tile.width,
        tile.rows,
        block,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return out


@cache
def _device(device: torch.device) -> tuple[int, int]:
    """Multiprocessors, and bytes of shared memory that a program may take."""
    if device.type != "cuda":  # Triton's interpreter
        return 1, 0
    properties = torch.cuda.get_device_properties(device)
    shared_bytes: int = properties.shared_memory_per_block_optin  # type: ignore[attr-defined]
    return properties.multi_processor_count, shared_bytes


def _tiles(width: int, outputs: int, pixels: int, device: torch.device) -> Iterator[tuple[int, int, Tile]]:
    """Ranges of outputs, and the tiles in which they are computed: as large ones as keep all multiprocessors busy."""
    multiprocessors, shared_bytes = _device(device)
    piece = _piece(width)
    large = outputs // 256 * 256
    if shared_bytes >= _LARGE_TILE_BYTES and pixels // 128 * (large // 256) >= _LARGE_TILES_FROM * multiprocessors:
        yield 0, large, Tile(piece, 128 // piece, 256, 8, 3)
    else:
        large = 0
    begin = large
    while begin < outputs:
        block = next(block for block in (128, 64, 32, 16) if block <= outputs - begin)
        end = begin + (outputs - begin) // block * block
        yield begin, end, _small_tile(width, block, pixels // 128 * (end - begin) // block, device)
        begin = end


def _small_tile(width: int, block: int, programs: int, device: torch.device) -> Tile:
    """Args: programs: as many as there are with tiles of 128 pixels."""
    multiprocessors, shared_bytes = _device(device)
    piece = _piece(width)
    rows = 128 // piece
    if 2 * programs <= multiprocessors:
        rows = 1
    # One program alone on a multiprocessor hides the latency of its reads by reading further ahead.
    stages = 6 if programs <= multiprocessors else 3
    if shared_bytes < _LARGE_TILE_BYTES:
        stages = 2
    return Tile(piece, rows, block, 4, stages)


def _piece(width: int) -> int:
    """Pixels of a row that a tile takes. Raises: ValueError if rows do not divide into them."""
    if width % 64:
        raise ValueError(f"rows of {width} pixels do not divide into tiles of 64")
    return 128 if width % 128 == 0 else 64


def _pixels(x: Tensor, tile: Tile, block: int) -> Any:
    return TensorDescriptor(x, list(x.shape), list(x.stride()), [1, 1, 1, tile.width, block])


def _results(x: Tensor, channels: int, tile_w: int, block: int) -> Any:
    """As rows of that many channels."""
    return TensorDescriptor(x, [x.numel() // channels, channels], [channels, 1], [tile_w, block])


def _weights(matrix: Tensor, tile: Tile, block: int) -> Any:
    return TensorDescriptor(matrix, list(matrix.shape), list(matrix.stride()), [tile.outputs, block])


def _power_of_2(number: int) -> int:
    return 1 << (number - 1).bit_length()
