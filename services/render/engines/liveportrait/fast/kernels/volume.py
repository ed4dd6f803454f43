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
    features: tl.constexpr,
    sharpness: tl.constexpr,
    block_p: tl.constexpr,
    block_x: tl.constexpr,
):
    """The difference of the keypoints' bumps, and the features moved with each keypoint, for a piece of a row.

    Args:
        compressed: shape (sources, depth, height, width, features), float32; slots: shape (images,), int64.
        out: shape (images, depth, height, width, channels_out): all parts' bumps, then of each feature all parts.
        block_p: a power of 2, not less than `parts`.
    """
    line = tl.program_id(0)
    image = line // (depth * height)
    z = line // height % depth
    y = line % height
    source = tl.load(slots + image)
    x = tl.program_id(1) * block_x + tl.arange(0, block_x)
    part = tl.arange(0, block_p)
    grid_x = coordinate(x, width)
    grid_y = coordinate(y, height)
    grid_z = coordinate(z, depth)
    row = out + (line * width + x)[:, None] * channels_out + part[None, :]
    heat = bump(kp_driving, image, part[None, :], parts, grid_x[:, None], grid_y, grid_z, sharpness)
    heat -= bump(kp_source, image, part[None, :], parts, grid_x[:, None], grid_y, grid_z, sharpness)
    tl.store(row, heat.to(out.dtype.element_ty), (part < parts)[None, :])

    at_x = position(grid_x[:, None] + shift_of(kp_source, kp_driving, image, part, parts, 0)[None, :], width)
    at_y = position(grid_y + shift_of(kp_source, kp_driving, image, part, parts, 1), height)[None, :]
    at_z = position(grid_z + shift_of(kp_source, kp_driving, image, part, parts, 2), depth)[None, :]
    low_x = tl.floor(at_x)
    low_y = tl.floor(at_y)
    low_z = tl.floor(at_z)
    feature = tl.arange(0, features)
    moved = tl.zeros((block_x, block_p, features), tl.float32)
    for corner in tl.static_range(8):
        near_x = low_x + corner % 2
        near_y = low_y + corner // 2 % 2
        near_z = low_z + corner // 4
        weight = (1.0 - tl.abs(at_x - near_x)) * (1.0 - tl.abs(at_y - near_y)) * (1.0 - tl.abs(at_z - near_z))
        inside = (near_x >= 0) & (near_x < width) & (near_y >= 0) & (near_y < height)
        inside &= (near_z >= 0) & (near_z < depth) & (part < parts)[None, :]
        voxel = ((source * depth + near_z.to(tl.int32)) * height + near_y.to(tl.int32)) * width + near_x.to(tl.int32)
        at = compressed + voxel[:, :, None] * features + feature[None, None, :]
        moved += weight[:, :, None] * tl.load(at, inside[:, :, None], 0.0)
    at = row[:, :, None] + (1 + feature)[None, None, :] * parts
    tl.store(at, moved.to(out.dtype.element_ty), (part < parts)[None, :, None])
    # What fills the channels up to a multiple of 8.
    beyond = (1 + features) * parts
    filler = beyond + tl.arange(0, 8)
    at = out + (line * width + x)[:, None] * channels_out + filler[None, :]
    tl.store(at, tl.zeros((block_x, 8), out.dtype.element_ty), (filler < channels_out)[None, :])


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
    voxels,
    depth,
    height,
    width,
    channels,
    pool: tl.constexpr,
    block_m: tl.constexpr,
    block_c: tl.constexpr,
):
    """Sum over depth, bias, ReLU, and the mean of `pool` x `pool` pixels.

    Args:
        partial: shape (images * depth, pool * height, pool * width, 3 * channels), by tap.
        out: shape (images * depth, height, width, channels), `voxels` of them.
    """
    m = tl.program_id(0) * block_m + tl.arange(0, block_m)
    c = tl.program_id(1) * block_c + tl.arange(0, block_c)
    inside = (m < voxels)[:, None] & (c < channels)[None, :]
    z = (m // (height * width) % depth)[:, None]
    wide = width * pool
    corner = (m // width * pool) * wide + m % width * pool
    offset = tl.load(bias + c, c < channels, 0.0)[None, :]
    slice_stride = height * pool * wide * 3 * channels
    total = tl.zeros((block_m, block_c), tl.float32)
    for pixel in tl.static_range(pool * pool):
        at = (corner + pixel // pool * wide + pixel % pool)[:, None] * 3 * channels + c[None, :]
        total += tl.maximum(depth_sum(partial, inside, at, slice_stride, channels, z, depth) + offset, 0.0)
    at = out + m[:, None] * channels + c[None, :]
    tl.store(at, (total / (pool * pool)).to(out.dtype.element_ty), inside)


@triton.jit
def join_kernel(
    partial,
    bias,
    skip,
    out,
    voxels,
    depth,
    height,
    width,
    channels,
    skip_channels,
    block_m: tl.constexpr,
    block_c: tl.constexpr,
):
    """The way up: sum over depth of each pixel's class, bias, ReLU; beside it what the way down gave.

    Args:
        partial: shape (images * depth, height / 2 + 1, width / 2 + 1, 3 * 2 * 2 * channels), by tap and class.
        skip: shape (images * depth, height, width, skip_channels).
        out: shape (images * depth, height, width, channels + skip_channels), `voxels` of them.
    """
    m = tl.program_id(0) * block_m + tl.arange(0, block_m)
    c = tl.program_id(1) * block_c + tl.arange(0, block_c)
    joined = channels + skip_channels
    wide = width // 2 + 1
    high = height // 2 + 1
    x = m % width
    y = m // width % height
    image_slice = m // (width * height)
    is_new = (m < voxels)[:, None] & (c < channels)[None, :]
    is_skip = (m < voxels)[:, None] & (c >= channels)[None, :] & (c < joined)[None, :]
    # A window begins one pixel before its first class's pixel.
    window = (image_slice * high + y // 2 + y % 2) * wide + x // 2 + x % 2
    at = (window * 12 + y % 2 * 2 + x % 2)[:, None] * channels + c[None, :]
    slice_stride = high * wide * 12 * channels
    z = (image_slice % depth)[:, None]
    value = depth_sum(partial, is_new, at, slice_stride, 4 * channels, z, depth)
    value = tl.maximum(value + tl.load(bias + c, c < channels, 0.0)[None, :], 0.0)
    kept = tl.load(skip + m[:, None] * skip_channels + (c - channels)[None, :], is_skip, 0.0)
    value = tl.where(is_skip, kept.to(tl.float32), value)
    tl.store(out + m[:, None] * joined + c[None, :], value.to(out.dtype.element_ty), is_new | is_skip)


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
    parts,
    partial_stride,
    taps: tl.constexpr,
    channels: tl.constexpr,
    block_p: tl.constexpr,
    block_x: tl.constexpr,
):
    """The mask from what slices and rows around give to it, the deformation by it, and the features read there.

    Args:
        partial: shape (images, depth, height, width, partial_stride): what each voxel gives to the masks around it, by
            tap of slice and row and then by part.
        features: shape (sources, depth, height, width, channels).
        out: shape (images, height, width, depth * channels).
    """
    across = width // block_x
    tile = tl.program_id(0)
    line = tile // across
    image = line // (depth * height)
    z = line // height % depth
    y = line % height
    x = tile % across * block_x + tl.arange(0, block_x)
    part = tl.arange(0, block_p)
    is_part = part < parts
    logits = tl.zeros((block_x, block_p), tl.float32) + tl.load(bias + part, is_part, float("-inf"))[None, :]
    for tap in tl.range(taps * taps):
        from_z = z + tap // taps - taps // 2
        from_y = y + tap % taps - taps // 2
        is_inside = (from_z >= 0) & (from_z < depth) & (from_y >= 0) & (from_y < height)
        voxel = ((image * depth + from_z) * height + from_y) * width + x
        at = partial + voxel.to(tl.int64)[:, None] * partial_stride + (tap * parts + part)[None, :]
        logits += tl.load(at, is_part[None, :] & is_inside, 0.0).to(tl.float32)
    mask = tl.exp(logits - tl.max(logits, 1)[:, None])
    mask = mask / tl.sum(mask, 1)[:, None]
    # A mask's parts sum to 1: their motions, mixed, are the grid and their shifts, mixed.
    move_x = tl.sum(mask * shift_of(kp_source, kp_driving, image, part, parts, 0)[None, :], 1)
    move_y = tl.sum(mask * shift_of(kp_source, kp_driving, image, part, parts, 1)[None, :], 1)
    move_z = tl.sum(mask * shift_of(kp_source, kp_driving, image, part, parts, 2)[None, :], 1)
    at_x = position(coordinate(x, width) + move_x, width)
    at_y = position(coordinate(y, height) + move_y, height)
    at_z = position(coordinate(z, depth) + move_z, depth)
    low_x = tl.floor(at_x)
    low_y = tl.floor(at_y)
    low_z = tl.floor(at_z)
    source = tl.load(slots + image)
    c = tl.arange(0, channels)
    moved = tl.zeros((block_x, channels), tl.float32)
    for corner in tl.static_range(8):
        near_x = low_x + corner % 2
        near_y = low_y + corner // 2 % 2
        near_z = low_z + corner // 4
        weight = (1.0 - tl.abs(at_x - near_x)) * (1.0 - tl.abs(at_y - near_y)) * (1.0 - tl.abs(at_z - near_z))
        inside = (near_x >= 0) & (near_x < width) & (near_y >= 0) & (near_y < height)
        inside &= (near_z >= 0) & (near_z < depth)
        voxel = ((source * depth + near_z.to(tl.int32)) * height + near_y.to(tl.int32)) * width + near_x.to(tl.int32)
        at = features + voxel[:, None] * channels + c[None, :]
        moved += weight[:, None] * tl.load(at, inside[:, None], 0.0).to(tl.float32)
    at = (((image * height + y) * width + x) * depth + z) * channels
    tl.store(out + at[:, None] + c[None, :], moved.to(out.dtype.element_ty))


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
