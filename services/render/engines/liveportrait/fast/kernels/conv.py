"""Convolutions as matrix products: a tile of pixels times a tile of outputs, moved by the tensor memory accelerator.

A tile of pixels is a piece of one row of the image, or of two rows. For each tap of the kernel the accelerator reads
the piece beside it, with zeros beyond the image's edge, so nothing is unrolled or padded in memory. What follows a
convolution in the networks (bias, ReLU, sums, statistics, SPADE's modulation) is done before its result is stored.

`first` and `second` are the sums of one row's piece and of the next one's, where `rows` is 2: shape (tile_w, block_n),
float32. A descriptor of pixels has shape (images, depth, height, width, channels) and blocks (1, 1, 1, tile_w,
block_k); one of weights shape (outputs, taps * inputs) and blocks (block_n, block_k); one of results shape (pixels,
channels) and blocks (tile_w, block_n).

Source: implicit GEMM (cuDNN, arXiv 1410.0759).
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def accumulate(
    first,
    second,
    activations,
    weights,
    image,
    z,
    y,
    x,
    row,
    channel,
    depth,
    height,
    taps_d,
    taps_h,
    taps_w,
    step_w: tl.constexpr,
    chunks: tl.constexpr,
    block_k: tl.constexpr,
    tile_w: tl.constexpr,
    rows: tl.constexpr,
):
    """Add the products of all taps that read any pixel.

    Args:
        z, y, x: of the pixel that the first tap of the first pixel reads.
        row: of `weights`, where the outputs begin; channel: where the inputs begin.
        step_w: pixels from a tap to the next in a row.
        depth, height: of what is read.
        chunks: of `block_k` inputs, for each tap.
    """
    # Taps come slice by slice, row by row: those that read nothing are the first and the last.
    line = taps_w * chunks
    if taps_d == 1:
        begin = tl.maximum(1 - rows - y, 0) * line
        end = tl.minimum(height - y, taps_h) * line
    else:
        begin = tl.maximum(-z, 0) * taps_h * line
        end = tl.minimum(depth - z, taps_d) * taps_h * line
    for step in tl.range(begin, end):
        tap = step // chunks
        k = channel + (step % chunks) * block_k
        z_k = z + tap // (taps_h * taps_w)
        y_k = y + tap // taps_w % taps_h
        x_k = x + tap % taps_w * step_w
        weight = weights.load([row, step * block_k]).T
        pixels = tl.reshape(activations.load([image, z_k, y_k, x_k, k]), (tile_w, block_k))
        first = tl.dot(pixels, weight, first)
        if rows == 2:
            pixels = tl.reshape(activations.load([image, z_k, y_k + 1, x_k, k]), (tile_w, block_k))
            second = tl.dot(pixels, weight, second)
    return first, second


@triton.jit
def place(tile, depth, height, width, tile_w: tl.constexpr, rows: tl.constexpr):
    """Image, slice, row and column of the first pixel of a tile."""
    across = width // tile_w
    down = height // rows
    line = tile // across
    image = line // down
    return image // depth, image % depth, line % down * rows, tile % across * tile_w


@triton.jit
def finish(
    sums,
    pixel,
    row,
    bias,
    residual,
    pixel_scale,
    out,
    slope: tl.constexpr,
    block_n: tl.constexpr,
    tile_w: tl.constexpr,
):
    """Bias, residual, leaky ReLU and scale, each where it is given, and store. Returns: what was stored, float32."""
    n = row + tl.arange(0, block_n)
    if bias is not None:
        sums += tl.load(bias + n)[None, :]
    if residual is not None:
        sums += residual.load([pixel, row]).to(tl.float32)
    if slope != 1.0:
        sums = tl.where(sums >= 0, sums, sums * slope)
    if pixel_scale is not None:
        sums *= tl.load(pixel_scale + pixel + tl.arange(0, tile_w))[:, None]
    out.store([pixel, row], sums.to(out.dtype))
    return sums


@triton.jit
def conv_kernel(
    activations,
    weights,
    more_activations,
    more_weights,
    bias,
    residual,
    pixel_scale,
    moments,
    out,
    depth_in,
    depth,
    height,
    width,
    channels_out,
    begin,
    slope: tl.constexpr,
    taps_d: tl.constexpr,
    taps_h: tl.constexpr,
    taps_w: tl.constexpr,
    origin_d: tl.constexpr,
    origin_w: tl.constexpr,
    step_w: tl.constexpr,
    channel: tl.constexpr,
    chunks: tl.constexpr,
    block_k: tl.constexpr,
    more_taps_d: tl.constexpr,
    more_taps_h: tl.constexpr,
    more_taps_w: tl.constexpr,
    more_origin_d: tl.constexpr,
    more_origin_w: tl.constexpr,
    more_step_w: tl.constexpr,
    more_channel: tl.constexpr,
    more_chunks: tl.constexpr,
    more_block_k: tl.constexpr,
    tile_w: tl.constexpr,
    rows: tl.constexpr,
    block_n: tl.constexpr,
):
    """A convolution, or the sum of two where `more_activations` and all of `more_` is given.

    Args:
        bias: shape (channels_out,), float32; residual: descriptor as of the result; pixel_scale: shape (pixels,),
            float32; moments: shape (tiles, 2, channels_out), float32; each may be None.
        depth_in: slices of the inputs; depth: of the result.
        begin: the first output that is computed.
        origin_d, origin_w: slice and column that the first tap reads for slice 0 and column 0; rows are centred.
        channel: the first input that is read.
    """
    row = begin + tl.program_id(0) * block_n
    image, z, y, x = place(tl.program_id(1), depth, height, width, tile_w, rows)
    first = tl.zeros((tile_w, block_n), tl.float32)
    second = tl.zeros((tile_w, block_n), tl.float32)
    first, second = accumulate(
        first, second, activations, weights, image, z + origin_d, y - taps_h // 2, x + origin_w, row, channel, depth_in,
        height, taps_d, taps_h, taps_w, step_w, chunks, block_k, tile_w, rows,
    )  # fmt: skip
    if more_activations is not None:
        first, second = accumulate(
            first, second, more_activations, more_weights, image, z + more_origin_d, y - more_taps_h // 2,
            x + more_origin_w, row, more_channel, depth_in, height, more_taps_d, more_taps_h, more_taps_w, more_step_w,
            more_chunks, more_block_k, tile_w, rows,
        )  # fmt: skip
    pixel = ((image * depth + z) * height + y) * width + x
    first = finish(first, pixel, row, bias, residual, pixel_scale, out, slope, block_n, tile_w)
    total = first
    squares = first * first
    if rows == 2:
        second = finish(second, pixel + width, row, bias, residual, pixel_scale, out, slope, block_n, tile_w)
        total += second
        squares += second * second
    if moments is not None:
        at = moments + tl.program_id(1) * 2 * channels_out + row + tl.arange(0, block_n)
        tl.store(at, tl.sum(total, 0))
        tl.store(at + channels_out, tl.sum(squares, 0))


@triton.jit
def modulated(
    sums,
    value,
    image,
    row,
    bias,
    statistics,
    channels,
    slope: tl.constexpr,
    block_n: tl.constexpr,
    tile_w: tl.constexpr,
):
    """SPADE's scale and shift, as they stand in `sums`, on normalised content; and leaky ReLU.

    Args: sums: of eight channels their scales, less 1, and then their shifts, and so on; value: the content.
    """
    block_c: tl.constexpr = block_n // 2
    by_eight = tl.permute(tl.reshape(sums, (tile_w, block_n // 16, 2, 8)), (0, 1, 3, 2))
    gamma, beta = tl.split(by_eight)
    gamma = tl.reshape(gamma, (tile_w, block_c))
    beta = tl.reshape(beta, (tile_w, block_c))
    c = row // 2 + tl.arange(0, block_c)
    gamma += 1.0 + tl.load(bias + c)[None, :]
    beta += tl.load(bias + channels + c)[None, :]
    mean = tl.load(statistics + image * 2 * channels + c)[None, :]
    inverse = tl.load(statistics + (image * 2 + 1) * channels + c)[None, :]
    value = (value.to(tl.float32) - mean) * inverse * gamma + beta
    if slope != 1.0:
        value = tl.where(value >= 0, value, value * slope)
    return value


@triton.jit
def spade_kernel(
    hidden,
    weights,
    bias,
    content,
    statistics,
    out,
    height,
    width,
    channels,
    channel,
    scale: tl.constexpr,
    slope: tl.constexpr,
    chunks: tl.constexpr,
    block_k: tl.constexpr,
    tile_w: tl.constexpr,
    rows: tl.constexpr,
    block_n: tl.constexpr,
):
    """SPADE: a 3x3 convolution gives scale and shift, which modulate the normalised content.

    Args:
        weights: of eight channels their scales and then their shifts, and so on.
        bias: shape (2, channels), float32: of scales and shifts.
        content: descriptor as of the result; with a scale of 2 the tensor (images, height / 2, width / 2, channels).
        statistics: shape (images, 2, channels), float32: mean, and inverse of the standard deviation.
        channel: of `hidden`, the first that is read.
    """
    row = tl.program_id(0) * block_n
    image, _, y, x = place(tl.program_id(1), 1, height, width, tile_w, rows)
    first = tl.zeros((tile_w, block_n), tl.float32)
    second = tl.zeros((tile_w, block_n), tl.float32)
    first, second = accumulate(
        first, second, hidden, weights, image, 0, y - 1, x - 1, row, channel, 1, height, 1, 3, 3, 1, chunks, block_k,
        tile_w, rows,
    )  # fmt: skip
    for line in tl.static_range(rows):
        pixel = (image * height + y + line) * width + x
        if scale == 1:
            value = content.load([pixel, row // 2])
        else:
            at = (image * (height // 2) + (y + line) // 2) * (width // 2) + (x + tl.arange(0, tile_w)) // 2
            value = tl.load(content + at[:, None] * channels + (row // 2 + tl.arange(0, block_n // 2))[None, :])
        value = modulated(
            first if line == 0 else second, value, image, row, bias, statistics, channels, slope, block_n, tile_w
        )
        out.store([pixel, row // 2], value.to(out.dtype))


@triton.jit
def accumulate_classes(
    first,
    second,
    hidden,
    weights,
    image,
    y,
    x,
    row,
    channel,
    copy_y,
    copy_x,
    chunks: tl.constexpr,
    block_k: tl.constexpr,
    tile_w: tl.constexpr,
    rows: tl.constexpr,
):
    """Add the products of one copy's taps on the classes of copies: see `folding.copied_kernels`."""
    taps_w = 3 - (copy_x % 3 != 0)
    steps = (3 - (copy_y % 3 != 0)) * taps_w * chunks
    # Of the classes of all rows, one after the other, the first one that is read; the last of the row before is -1.
    from_y = -1 + copy_y - (copy_y == 3)
    from_x = -1 + copy_x - (copy_x == 3)
    for step in tl.range(steps):
        tap = step // chunks
        # From 3 on, so that divisions round down.
        class_y = from_y + tap // taps_w + 3
        class_x = from_x + tap % taps_w + 3
        y_k = y + class_y // 3 - 1
        x_k = x + class_x // 3 - 1
        z_k = class_y % 3 * 3 + class_x % 3
        k = channel + (step % chunks) * block_k
        weight = weights.load([row, step * block_k]).T
        pixels = tl.reshape(hidden.load([image, z_k, y_k, x_k, k]), (tile_w, block_k))
        first = tl.dot(pixels, weight, first)
        if rows == 2:
            pixels = tl.reshape(hidden.load([image, z_k, y_k + 1, x_k, k]), (tile_w, block_k))
            second = tl.dot(pixels, weight, second)
    return first, second


@triton.jit
def spade_copies_kernel(
    hidden,
    weights,
    bias,
    content,
    statistics,
    out,
    height,
    width,
    channels,
    channel,
    scale: tl.constexpr,
    slope: tl.constexpr,
    chunks: tl.constexpr,
    block_k: tl.constexpr,
    tile_w: tl.constexpr,
    rows: tl.constexpr,
    block_n: tl.constexpr,
):
    """As `spade_kernel`, on features that were upsampled by 4 and are kept by class.

    Args:
        hidden: of `upsampled_kernel` with 3 classes; height, width: of the features.
        weights: of each of the 4 x 4 copies of a pixel its own taps.
        content: descriptor of the content, shape (images, 4 * height / scale, 4 * width / scale, channels), as shape
            (..., 4 / scale * channels): of pixels beside each other those that are copies of one.
        out: likewise, with a scale of 1.
    """
    row = tl.program_id(0) * block_n
    image, _, y, x = place(tl.program_id(1), 1, height, width, tile_w, rows)
    copy_y = tl.program_id(2) // 4
    copy_x = tl.program_id(2) % 4
    first = tl.zeros((tile_w, block_n), tl.float32)
    second = tl.zeros((tile_w, block_n), tl.float32)
    first, second = accumulate_classes(
        first, second, hidden, weights, image, y, x, tl.program_id(2) * 2 * channels + row, channel, copy_y, copy_x,
        chunks, block_k, tile_w, rows,
    )  # fmt: skip
    for line in tl.static_range(rows):
        at = ((image * height + y + line) * (4 // scale) + copy_y // scale) * width + x
        value = content.load([at, copy_x // scale * channels + row // 2])
        value = modulated(
            first if line == 0 else second, value, image, row, bias, statistics, channels, slope, block_n, tile_w
        )
        at = ((image * height + y + line) * 4 + copy_y) * width + x
        out.store([at, copy_x * channels + row // 2], value.to(out.dtype))


@triton.jit
def upsampled_kernel(
    activations,
    weights,
    bias,
    out,
    height,
    width,
    channels_out,
    classes: tl.constexpr,
    chunks: tl.constexpr,
    block_k: tl.constexpr,
    tile_w: tl.constexpr,
    rows: tl.constexpr,
    block_n: tl.constexpr,
):
    """A 3x3 convolution and ReLU on an image as if it were nearest-upsampled, by 2 or, with 3 classes, by 4.

    Args:
        weights: of each class of rows and columns (see `folding.classes_of`) its own taps, 1 or 2 along each axis.
        out: descriptor of the result, shape (images, 2 * height, 2 * width, channels_out), as shape
            (..., 2 * channels_out); of 3 classes the result has the shape (images, 3, 3, height, width, channels_out).
    """
    row = tl.program_id(0) * block_n
    image, _, y, x = place(tl.program_id(1), 1, height, width, tile_w, rows)
    class_y = tl.program_id(2) // classes
    class_x = tl.program_id(2) % classes
    taps_h = 2 - ((class_y == 1) & (classes == 3))
    taps_w = 2 - ((class_x == 1) & (classes == 3))
    first = tl.zeros((tile_w, block_n), tl.float32)
    second = tl.zeros((tile_w, block_n), tl.float32)
    first, second = accumulate(
        first, second, activations, weights, image, 0, y - (class_y == 0), x - (class_x == 0),
        tl.program_id(2) * channels_out + row, 0, 1, height, 1, taps_h, taps_w, 1, chunks, block_k, tile_w, rows,
    )  # fmt: skip
    offset = tl.load(bias + row + tl.arange(0, block_n))[None, :]
    for line in tl.static_range(rows):
        value = tl.maximum((first if line == 0 else second) + offset, 0.0).to(out.dtype)
        if classes == 2:
            at = ((image * height + y + line) * 2 + class_y) * width + x
            out.store([at, class_x * channels_out + row], value)
        else:
            at = ((image * 9 + class_y * 3 + class_x) * height + y + line) * width + x
            out.store([at, row], value)


@triton.jit
def moments_kernel(x, moments, pixels, channels, block_m: tl.constexpr, block_c: tl.constexpr):
    """Sums and sums of squares of tiles. Args: x: shape (pixels, channels); moments: shape (tiles, 2, channels)."""
    m = tl.program_id(0) * block_m + tl.arange(0, block_m)
    c = tl.program_id(1) * block_c + tl.arange(0, block_c)
    inside = (m < pixels)[:, None] & (c < channels)[None, :]
    value = tl.load(x + m[:, None] * channels + c[None, :], inside, 0.0).to(tl.float32)
    at = moments + tl.program_id(0) * 2 * channels + c
    tl.store(at, tl.sum(value, 0), c < channels)
    tl.store(at + channels, tl.sum(value * value, 0), c < channels)


@triton.jit
def statistics_kernel(
    moments,
    out,
    tiles,
    channels,
    tile_pixels,
    epsilon: tl.constexpr,
    block_t: tl.constexpr,
    block_c: tl.constexpr,
):
    """Mean and inverse standard deviation of each channel from the moments of its tiles (Chan et al., 1979).

    Squared deviations are taken within tiles and between them, so that little is lost where a mean is large.

    Args: moments: shape (images, tiles, 2, channels): sum and sum of squares of `tile_pixels` pixels.
        out: shape (images, 2, channels).
    """
    image = tl.program_id(0)
    c = tl.program_id(1) * block_c + tl.arange(0, block_c)
    t = tl.arange(0, block_t)
    at = moments + ((image * tiles + t) * 2 * channels)[:, None] + c[None, :]
    inside = (t < tiles)[:, None] & (c < channels)[None, :]
    means = tl.load(at, inside, 0.0) / tile_pixels
    within = tl.load(at + channels, inside, 0.0) / tile_pixels - means * means
    mean = tl.sum(means, 0) / tiles
    away = tl.where(inside, means - mean[None, :], 0.0)
    variance = (tl.sum(within, 0) + tl.sum(away * away, 0)) / tiles
    at = out + image * 2 * channels + c
    tl.store(at, mean, c < channels)
    tl.store(at + channels, 1.0 / tl.sqrt(tl.maximum(variance, 0.0) + epsilon), c < channels)
