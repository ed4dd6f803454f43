"""What W does to volumes besides convolutions: each step in one pass, in float32, stored in the convolutions' type."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def coordinate(index, size):
    """Of a voxel, -1 and 1 being the centres of the outermost ones; as `coordinate_grid`."""
    return 2.0 * index / (size - 1) - 1.0


@triton.jit
def position(place, size):
    """In voxels, -1 and 1 being the outer edges; as `sample`."""
    return ((place + 1.0) * size - 1.0) * 0.5


@triton.jit
def shift_of(kp_source, kp_driving, image, part, parts, axis: tl.constexpr):
    """From where each driven keypoint is to where the source's is; the first part stays."""
    at = (image * (parts - 1) + part - 1) * 3 + axis
    moves = (part > 0) & (part < parts)
    return tl.load(kp_source + at, moves, 0.0) - tl.load(kp_driving + at, moves, 0.0)


@triton.jit
def bump(keypoints, image, part, parts, x, y, z, sharpness: tl.constexpr):
    """exp(-sharpness * distance squared) from each keypoint; 0 for the first part."""
    at = (image * (parts - 1) + part - 1) * 3
    moves = (part > 0) & (part < parts)
    dx = x - tl.load(keypoints + at, moves, 0.0)
    dy = y - tl.load(keypoints + at + 1, moves, 0.0)
    dz = z - tl.load(keypoints + at + 2, moves, 0.0)
    return tl.where(moves, tl.exp(-sharpness * (dx * dx + dy * dy + dz * dz)), 0.0)


@triton.jit
def half(word, index: tl.constexpr):
    """One of the float16 that lie in an integer, as float32; the first is the lowest."""
    return ((word >> (16 * index)) & 0xFFFF).to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)


@triton.jit
def hourglass_input_kernel(
    compressed,
    slots,
    kp_source,
    kp_driving,
    out,
    depth,
    height,
    parts,
    channels_out,
    width: tl.constexpr,
    sharpness: tl.constexpr,
    block_p: tl.constexpr,
):
    """The difference of the keypoints' bumps, and the features moved with each keypoint, for a row and some parts.

    Args:
        compressed: shape (sources, depth, height, width), int64: four float16 features of each voxel.
        slots: shape (images,), int64.
        out: shape (images, depth, height, width, channels_out): all parts' bumps, then of each feature all parts.
    """
    line = tl.program_id(0)
    image = line // (depth * height)
    z = line // height % depth
    y = line % height
    source = tl.load(slots + image)
    part = tl.program_id(1) * block_p + tl.arange(0, block_p)
    x = tl.arange(0, width)
    is_part = part < parts
    grid_x = coordinate(x, width)[None, :]
    grid_y = coordinate(y, height)
    grid_z = coordinate(z, depth)
    row = out + (line * width + x)[None, :] * channels_out + part[:, None]
    heat = bump(kp_driving, image, part[:, None], parts, grid_x, grid_y, grid_z, sharpness)
    heat -= bump(kp_source, image, part[:, None], parts, grid_x, grid_y, grid_z, sharpness)
    tl.store(row, heat.to(out.dtype.element_ty), is_part[:, None])

    at_x = position(grid_x + shift_of(kp_source, kp_driving, image, part, parts, 0)[:, None], width)
    at_y = position(grid_y + shift_of(kp_source, kp_driving, image, part, parts, 1), height)
    at_z = position(grid_z + shift_of(kp_source, kp_driving, image, part, parts, 2), depth)
    low_x = tl.floor(at_x)
    low_y = tl.floor(at_y)
    low_z = tl.floor(at_z)
    first = tl.zeros((block_p, width), tl.float32)
    second = tl.zeros((block_p, width), tl.float32)
    third = tl.zeros((block_p, width), tl.float32)
    fourth = tl.zeros((block_p, width), tl.float32)
    for corner in tl.static_range(8):
        near_x = low_x + corner % 2
        near_y = low_y + corner // 2 % 2
        near_z = low_z + corner // 4
        weight_of_row = (1.0 - tl.abs(at_y - near_y)) * (1.0 - tl.abs(at_z - near_z))
        is_row = is_part & (near_y >= 0) & (near_y < height) & (near_z >= 0) & (near_z < depth)
        base = ((source * depth + near_z.to(tl.int32)) * height + near_y.to(tl.int32)) * width
        weight = (1.0 - tl.abs(at_x - near_x)) * weight_of_row[:, None]
        inside = is_row[:, None] & (near_x >= 0) & (near_x < width)
        word = tl.load(compressed + base[:, None] + near_x.to(tl.int32), inside, 0)
        first += weight * half(word, 0)
        second += weight * half(word, 1)
        third += weight * half(word, 2)
        fourth += weight * half(word, 3)
    tl.store(row + parts, first.to(out.dtype.element_ty), is_part[:, None])
    tl.store(row + 2 * parts, second.to(out.dtype.element_ty), is_part[:, None])
    tl.store(row + 3 * parts, third.to(out.dtype.element_ty), is_part[:, None])
    tl.store(row + 4 * parts, fourth.to(out.dtype.element_ty), is_part[:, None])
    # What fills the channels up to a multiple of 8.
    filler = 5 * parts + tl.arange(0, 8)
    is_filler = (filler < channels_out) & (tl.program_id(1) == 0)
    at = out + (line * width + x)[None, :] * channels_out + filler[:, None]
    tl.store(at, tl.zeros((8, width), out.dtype.element_ty), is_filler[:, None])


@triton.jit
def depth_sum(partial, inside, at, slice_stride, step, z, depth):
    """Sum what a slice and its two neighbours give to it.

    Args: at: of the middle slice's value for tap 0; step: from a tap to the next.
    """
    total = tl.load(partial + at + step, inside, 0.0).to(tl.float32)
    total += tl.load(partial + at - slice_stride, inside & (z > 0), 0.0).to(tl.float32)
    return total + tl.load(partial + at + slice_stride + 2 * step, inside & (z < depth - 1), 0.0).to(tl.float32)


@triton.jit
def slices_kernel(
    partial,
    bias,
    out,
    elements,
    depth,
    height,
    width,
    stride,
    channels: tl.constexpr,
    pool: tl.constexpr,
    block: tl.constexpr,
):
    """Sum over depth, bias, ReLU, and the mean of `pool` x `pool` pixels.

    Args:
        partial: shape (images * depth, pool * height, pool * width, stride), of which the first 3 * channels by tap.
        out: shape (images * depth, height, width, channels), `elements` in all.
    """
    element = tl.program_id(0) * block + tl.arange(0, block)
    inside = element < elements
    m = element // channels
    c = element % channels
    z = m // (height * width) % depth
    wide = width * pool
    corner = (m // width * pool) * wide + m % width * pool
    offset = tl.load(bias + c, inside, 0.0)
    slice_stride = height * pool * wide * stride
    total = tl.zeros((block,), tl.float32)
    for pixel in tl.static_range(pool * pool):
        at = (corner + pixel // pool * wide + pixel % pool) * stride + c
        total += tl.maximum(depth_sum(partial, inside, at, slice_stride, channels, z, depth) + offset, 0.0)
    tl.store(out + element, (total / (pool * pool)).to(out.dtype.element_ty), inside)


@triton.jit
def join_kernel(
    partial,
    bias,
    skip,
    out,
    elements,
    depth,
    height,
    width,
    channels: tl.constexpr,
    skip_channels: tl.constexpr,
    block: tl.constexpr,
):
    """The way up: sum over depth of each pixel's class, bias, ReLU; beside it what the way down gave.

    Args:
        partial: shape (images * depth, height / 2 + 1, width / 2 + 1, 3 * 2 * 2 * channels), by tap and class.
        skip: shape (images * depth, height, width, skip_channels).
        out: shape (images * depth, height, width, channels + skip_channels), `elements` in all.
    """
    element = tl.program_id(0) * block + tl.arange(0, block)
    joined: tl.constexpr = channels + skip_channels
    m = element // joined
    c = element % joined
    x = m % width
    y = m // width % height
    image_slice = m // (width * height)
    is_new = (element < elements) & (c < channels)
    is_skip = (element < elements) & (c >= channels)
    wide = width // 2 + 1
    high = height // 2 + 1
    # A window begins one pixel before its first class's pixel.
    window = (image_slice * high + y // 2 + y % 2) * wide + x // 2 + x % 2
    at = (window * 12 + y % 2 * 2 + x % 2) * channels + c
    slice_stride = high * wide * 12 * channels
    value = depth_sum(partial, is_new, at, slice_stride, 4 * channels, image_slice % depth, depth)
    value = tl.maximum(value + tl.load(bias + c, is_new, 0.0), 0.0)
    kept = tl.load(skip + m * skip_channels + c - channels, is_skip, 0.0)
    tl.store(out + element, tl.where(is_skip, kept, value.to(out.dtype.element_ty)), is_new | is_skip)


@triton.jit
def move_kernel(
    partial,
    bias,
    features,
    slots,
    kp_source,
    kp_driving,
    out,
    depth,
    height,
    width,
    stride,
    parts: tl.constexpr,
    taps: tl.constexpr,
    channels: tl.constexpr,
    block_p: tl.constexpr,
    block_x: tl.constexpr,
):
    """The mask from what slices and rows around give to it, the deformation by it, and the features read there.

    Two float16 are read at once, as one int32.

    Args:
        partial: shape (images, depth, height, width, stride), int32: what each voxel gives to the masks around it, by
            tap of slice and row and then by part, the even one lower.
        features: shape (sources, depth, height, width, channels / 2), int32.
        out: shape (images, height, width, depth * channels), float16.
        block_p: a power of 2, not less than half of `parts`.
    """
    # Slices first: what one reads of the rows around, the next one reads beside it.
    tile = tl.program_id(0)
    z = tile % depth
    tile = tile // depth
    across = width // block_x
    x = tile % across * block_x + tl.arange(0, block_x)
    y = tile // across % height
    image = tile // across // height
    pair = tl.arange(0, block_p)
    is_pair = pair < parts // 2
    even = tl.zeros((block_x, block_p), tl.float32) + tl.load(bias + 2 * pair, is_pair, float("-inf"))[None, :]
    odd = tl.zeros((block_x, block_p), tl.float32) + tl.load(bias + 2 * pair + 1, is_pair, float("-inf"))[None, :]
    for tap_z in range(taps):
        from_z = z + tap_z - taps // 2
        is_slice = is_pair & (from_z >= 0) & (from_z < depth)
        for tap_y in tl.static_range(taps):
            from_y = y + tap_y - taps // 2
            inside = is_slice & (from_y >= 0) & (from_y < height)
            voxel = ((image * depth + from_z) * height + from_y) * width + x
            at = voxel.to(tl.int64)[:, None] * stride + ((tap_z * taps + tap_y) * (parts // 2) + pair)[None, :]
            word = tl.load(partial + at, inside[None, :], 0)
            even += half(word, 0)
            odd += half(word, 1)
    most = tl.maximum(tl.max(even, 1), tl.max(odd, 1))[:, None]
    even = tl.exp(even - most)
    odd = tl.exp(odd - most)
    inverse = 1.0 / (tl.sum(even, 1) + tl.sum(odd, 1))
    # A mask's parts sum to 1: their motions, mixed, are the grid and their shifts, mixed.
    grid_z = coordinate(z, depth)
    grid_y = coordinate(y, height)
    at_x = position(
        coordinate(x, width) + mixed(even, odd, kp_source, kp_driving, image, pair, parts, 0) * inverse, width
    )
    at_y = position(grid_y + mixed(even, odd, kp_source, kp_driving, image, pair, parts, 1) * inverse, height)
    at_z = position(grid_z + mixed(even, odd, kp_source, kp_driving, image, pair, parts, 2) * inverse, depth)
    low_x = tl.floor(at_x)
    low_y = tl.floor(at_y)
    low_z = tl.floor(at_z)
    source = tl.load(slots + image)
    c = tl.arange(0, channels // 2)
    even = tl.zeros((block_x, channels // 2), tl.float32)
    odd = tl.zeros((block_x, channels // 2), tl.float32)
    for corner in tl.static_range(8):
        near_x = low_x + corner % 2
        near_y = low_y + corner // 2 % 2
        near_z = low_z + corner // 4
        weight = (1.0 - tl.abs(at_x - near_x)) * (1.0 - tl.abs(at_y - near_y)) * (1.0 - tl.abs(at_z - near_z))
        inside = (near_x >= 0) & (near_x < width) & (near_y >= 0) & (near_y < height)
        inside &= (near_z >= 0) & (near_z < depth)
        voxel = ((source * depth + near_z.to(tl.int32)) * height + near_y.to(tl.int32)) * width + near_x.to(tl.int32)
        word = tl.load(features + voxel[:, None] * (channels // 2) + c[None, :], inside[:, None], 0)
        even += weight[:, None] * half(word, 0)
        odd += weight[:, None] * half(word, 1)
    at = (((image * height + y) * width + x) * depth + z) * channels
    moved = tl.interleave(even, odd).to(out.dtype.element_ty)
    tl.store(out + at[:, None] + tl.arange(0, channels)[None, :], moved)


@triton.jit
def mixed(even, odd, kp_source, kp_driving, image, pair, parts: tl.constexpr, axis: tl.constexpr):
    """The sum over all parts of their shifts along an axis, weighed."""
    of_even = shift_of(kp_source, kp_driving, image, 2 * pair, parts, axis)[None, :]
    of_odd = shift_of(kp_source, kp_driving, image, 2 * pair + 1, parts, axis)[None, :]
    return tl.sum(even * of_even + odd * of_odd, 1)


@triton.jit
def occlusion_kernel(
    partial,
    bias,
    out,
    pixels,
    height,
    width,
    partial_stride,
    taps: tl.constexpr,
    block_m: tl.constexpr,
    block_t: tl.constexpr,
):
    """Sum what the pixels around give to each, and the sigmoid.

    Args: partial: shape (pixels, partial_stride), float32, by tap; out: shape (pixels,), float32.
    """
    m = tl.program_id(0) * block_m + tl.arange(0, block_m)
    tap = tl.arange(0, block_t)
    down = (tap // taps - taps // 2)[None, :]
    across = (tap % taps - taps // 2)[None, :]
    y = (m // width % height)[:, None] + down
    x = (m % width)[:, None] + across
    inside = (m < pixels)[:, None] & (tap < taps * taps)[None, :] & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    at = (m[:, None] + down * width + across) * partial_stride + tap[None, :]
    total = tl.sum(tl.load(partial + at, inside, 0.0), 1) + tl.load(bias)
    tl.store(out + m, 1.0 / (1.0 + tl.exp(-total)), m < pixels)
