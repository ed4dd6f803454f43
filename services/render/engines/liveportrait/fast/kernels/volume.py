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
    """exp(-sharpness * distance squared) from each keypoint; 0 for the first part.

    Args: part: shape (p,); x: shape (1, width); y, z: of the row.
    """
    at = (image * (parts - 1) + part - 1) * 3
    moves = (part > 0) & (part < parts)
    dx = x - tl.load(keypoints + at, moves, 0.0)[:, None]
    dy = y - tl.load(keypoints + at + 1, moves, 0.0)
    dz = z - tl.load(keypoints + at + 2, moves, 0.0)
    of_row = tl.where(moves, tl.exp(-sharpness * (dy * dy + dz * dz)), 0.0)
    return tl.exp(-sharpness * dx * dx) * of_row[:, None]


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
    features: tl.constexpr,
    sharpness: tl.constexpr,
    block_p: tl.constexpr,
):
    """The difference of the keypoints' bumps, and the features moved with each keypoint, for a row and some parts.

    Args:
        compressed: shape (sources, depth, height, width, features); slots: shape (images,), int64.
        out: shape (images, depth, height, width, channels_out): all parts' bumps, then of each feature all parts.
    """
    line = tl.program_id(1)
    image = line // (depth * height)
    z = line // height % depth
    y = line % height
    source = tl.load(slots + image)
    part = tl.program_id(0) * block_p + tl.arange(0, block_p)
    x = tl.arange(0, width)
    is_part = part < parts
    grid_x = coordinate(x, width)[None, :]
    grid_y = coordinate(y, height)
    grid_z = coordinate(z, depth)
    row = out + (line * width + x)[None, :] * channels_out + part[:, None]
    heat = bump(kp_driving, image, part, parts, grid_x, grid_y, grid_z, sharpness)
    heat -= bump(kp_source, image, part, parts, grid_x, grid_y, grid_z, sharpness)
    tl.store(row, heat.to(out.dtype.element_ty), is_part[:, None])

    at_x = position(grid_x + shift_of(kp_source, kp_driving, image, part, parts, 0)[:, None], width)
    at_y = position(grid_y + shift_of(kp_source, kp_driving, image, part, parts, 1), height)
    at_z = position(grid_z + shift_of(kp_source, kp_driving, image, part, parts, 2), depth)
    low_x = tl.floor(at_x)
    low_y = tl.floor(at_y)
    low_z = tl.floor(at_z)
    feature = tl.arange(0, features)
    moved = tl.zeros((block_p, width, features), tl.float32)
    for corner in tl.static_range(8):
        near_x = low_x + corner % 2
        near_y = low_y + corner // 2 % 2
        near_z = low_z + corner // 4
        weight_of_row = (1.0 - tl.abs(at_y - near_y)) * (1.0 - tl.abs(at_z - near_z))
        is_row = is_part & (near_y >= 0) & (near_y < height) & (near_z >= 0) & (near_z < depth)
        base = ((source * depth + near_z.to(tl.int32)) * height + near_y.to(tl.int32)) * width
        weight = (1.0 - tl.abs(at_x - near_x)) * weight_of_row[:, None]
        inside = is_row[:, None] & (near_x >= 0) & (near_x < width)
        voxel = (base[:, None] + near_x.to(tl.int32)) * features
        word = tl.load(compressed + (voxel[:, :, None] + feature[None, None, :]), inside[:, :, None], 0.0)
        moved += weight[:, :, None] * word.to(tl.float32)
    at = row[:, :, None] + (1 + feature)[None, None, :] * parts
    tl.store(at, moved.to(out.dtype.element_ty), is_part[:, None, None])
    # What fills the channels up to a multiple of 8.
    filler = (1 + features) * parts + tl.arange(0, 8)
    is_filler = (filler < channels_out) & (tl.program_id(0) == 0)
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
def halve_kernel(
    partial,
    bias,
    out,
    elements,
    depth,
    height,
    width,
    channels: tl.constexpr,
    block: tl.constexpr,
):
    """The way down: sum over depth, bias, ReLU, and the mean of 2 x 2 pixels.

    Args:
        partial: shape (images * depth, 2 * height, 2 * width, 3 * channels), by tap.
        out: shape (images * depth, height, width, channels), `elements` in all.
    """
    element = tl.program_id(0) * block + tl.arange(0, block)
    inside = element < elements
    m = element // channels
    c = element % channels
    z = m // (height * width) % depth
    wide = width * 2
    corner = (m // width * 2) * wide + m % width * 2
    offset = tl.load(bias + c, inside, 0.0)
    slice_stride = height * 2 * wide * 3 * channels
    total = tl.zeros((block,), tl.float32)
    for pixel in tl.static_range(4):
        at = (corner + pixel // 2 * wide + pixel % 2) * 3 * channels + c
        total += tl.maximum(depth_sum(partial, inside, at, slice_stride, channels, z, depth) + offset, 0.0)
    tl.store(out + element, (total * 0.25).to(out.dtype.element_ty), inside)


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
    joined: tl.constexpr,
    block: tl.constexpr,
):
    """The way up: sum over depth of each pixel's class, bias, ReLU; beside it what the way down gave, or some of it.

    Args:
        partial: shape (images * depth, height / 2 + 1, width / 2 + 1, 3 * 2 * 2 * channels), by tap and class.
        skip: shape (images * depth, height, width, skip_channels).
        out: shape (images * depth, height, width, joined), `elements` in all.
    """
    element = tl.program_id(0) * block + tl.arange(0, block)
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
def neighbours_kernel(
    source,
    bias,
    out,
    depth,
    height,
    width,
    stride,
    channel,
    channels,
    taps: tl.constexpr,
    quad: tl.constexpr,
    block_x: tl.constexpr,
    block_c: tl.constexpr,
):
    """Lay channels of four pixels side by side, so that a convolution reads as many inputs at once as it can use.

    Args:
        source: shape (images * depth, height, width, stride), of which `channels` from `channel` on are taken; where
            there is a bias, what each gives to slices and rows around, by tap, is first summed, with ReLU.
        out: shape (images * depth, height, width + 2 * quad, quad * block_c): at x the pixels x - quad, x - quad + 1,
            and so on, and zeros beyond the edges.
    """
    line = tl.program_id(1)
    z = line // height % depth
    y = line % height
    x = tl.program_id(0) * block_x + tl.arange(0, block_x) - quad
    c = tl.arange(0, block_c)
    inside = ((x >= 0) & (x < width))[:, None] & (c < channels)[None, :]
    value = tl.zeros((block_x, block_c), tl.float32)
    for tap in tl.static_range(taps * taps):
        from_z = z + tap // taps - taps // 2
        from_y = y + tap % taps - taps // 2
        is_line = (from_z >= 0) & (from_z < depth) & (from_y >= 0) & (from_y < height)
        pixel = (line + (tap // taps - taps // 2) * height + tap % taps - taps // 2) * width + x
        at = source + pixel[:, None] * stride + (channel + tap * channels + c)[None, :]
        value += tl.load(at, inside & is_line, 0.0).to(tl.float32)
    if bias is not None:
        value = tl.maximum(value + tl.load(bias + c, c < channels, 0.0)[None, :], 0.0)
    value = tl.where(inside, value, 0.0).to(out.dtype.element_ty)
    wide = width + 2 * quad
    for neighbour in tl.static_range(quad):
        to = x + quad - neighbour
        at = out + ((line * wide + to) * quad + neighbour)[:, None] * block_c + c[None, :]
        tl.store(at, value, ((to >= 0) & (to < wide))[:, None] & (c < block_c)[None, :])


@triton.jit
def move_kernel(
    near,
    far,
    bias,
    features,
    slots,
    kp_source,
    kp_driving,
    out,
    depth,
    height,
    width,
    near_stride: tl.constexpr,
    far_stride: tl.constexpr,
    parts: tl.constexpr,
    taps: tl.constexpr,
    channels: tl.constexpr,
    block_p: tl.constexpr,
    block_x: tl.constexpr,
):
    """The mask from what slices and rows around give to it, the deformation by it, and the features read there.

    Two float16 are read at once, as one int32. What a voxel gives to the masks is, for each tap of slices, a number for
    each part: of the first of these, `near` has sums over rows and columns; of the others, `far` has sums over columns
    alone, for each tap of rows.

    Args:
        near: shape (images, depth, height, width, near_stride), int32.
        far: shape (images, depth, height, width, far_stride), int32, by tap of rows.
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
    pairs: tl.constexpr = parts // 2
    others: tl.constexpr = taps * pairs - near_stride
    pair = tl.arange(0, block_p)
    is_pair = pair < pairs
    even = tl.zeros((block_x, block_p), tl.float32) + tl.load(bias + 2 * pair, is_pair, float("-inf"))[None, :]
    odd = tl.zeros((block_x, block_p), tl.float32) + tl.load(bias + 2 * pair + 1, is_pair, float("-inf"))[None, :]
    for tap_z in tl.static_range(taps):
        from_z = z + tap_z - taps // 2
        column = tap_z * pairs + pair
        inside = is_pair & (from_z >= 0) & (from_z < depth)
        if tap_z * pairs < near_stride:
            voxel = ((image * depth + from_z) * height + y) * width + x
            at = near + voxel[:, None] * near_stride + column[None, :]
            word = tl.load(at, (inside & (column < near_stride))[None, :], 0)
            even += half(word, 0)
            odd += half(word, 1)
        if (tap_z + 1) * pairs > near_stride:
            for tap_y in tl.static_range(taps):
                from_y = y + tap_y - taps // 2
                is_far = inside & (column >= near_stride) & (from_y >= 0) & (from_y < height)
                voxel = ((image * depth + from_z) * height + from_y) * width + x
                at = far + voxel[:, None] * far_stride + (tap_y * others + column - near_stride)[None, :]
                word = tl.load(at, is_far[None, :], 0)
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
