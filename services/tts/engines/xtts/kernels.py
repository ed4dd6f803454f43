"""Triton's kernels for one step of few rows: a layer is five of them, each bound by the weights that it reads.

Plain operations take fifteen for a layer, and what a small one costs is its start. Here a layer norm is computed again
in every program of the linear layer behind it, biases, GELU and the residual are added where the sum is, and attention
reads as many positions as each row has.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

# Rows and outputs of a tile: the least that the tensor cores take. What is not there is neither read nor written.
_ROWS, _OUTPUTS = 16, 16
# A row alone has no use for them: its sums are spread over all threads, and its outputs over all processors.
_OUTPUTS_OF_ONE = 4
_INPUTS, _INPUTS_OF_ONE = 256, 1024
_POSITIONS = 128


@triton.jit
def gelu(x):
    """By tanh, as GPT-2 has it: x (1 + tanh(u)) / 2 is x / (1 + exp(-2 u))."""
    u = 0.7978845608028654 * (x + 0.044715 * x * x * x)
    return x / (1.0 + tl.exp(tl.minimum(-2.0 * u, 80.0)))


@triton.jit(do_not_specialize=["count"])
def normed_linear_kernel(
    x,
    gain,
    shift,
    weight,
    bias,
    to,
    count,
    outputs,
    width: tl.constexpr,
    eps: tl.constexpr,
    is_gelu: tl.constexpr,
    rows: tl.constexpr,
    tile: tl.constexpr,
):
    """to = act(norm(x) W + b) for a tile of rows and outputs.

    Args: x: shape (count, width); weight: shape (width, outputs), of which an output's inputs lie side by side;
    to: shape (count, outputs).
    """
    n = tl.program_id(0) * tile + tl.arange(0, tile)
    m = tl.program_id(1) * rows + tl.arange(0, rows)
    k = tl.arange(0, width)
    # First, because it is what takes the time.
    if rows == 1:
        w = tl.load(weight + n[:, None] * width + k[None, :], (n < outputs)[:, None], 0.0)
    else:
        w = tl.load(weight + n[None, :] * width + k[:, None], (n < outputs)[None, :], 0.0)
    read = tl.load(x + m[:, None] * width + k[None, :], (m < count)[:, None], 0.0).to(tl.float32)
    centred = read - tl.sum(read, 1)[:, None] / width
    scale = 1.0 / tl.sqrt(tl.sum(centred * centred, 1) / width + eps)
    normed = centred * scale[:, None] * tl.load(gain + k)[None, :] + tl.load(shift + k)[None, :]
    if rows == 1:
        total = tl.sum(normed * w.to(tl.float32), 1)[None, :]
    else:
        total = tl.dot(normed.to(w.dtype), w)
    total += tl.load(bias + n, n < outputs, 0.0)[None, :].to(tl.float32)
    if is_gelu:
        total = gelu(total)
    tl.store(
        to + m[:, None] * outputs + n[None, :],
        total.to(to.dtype.element_ty),
        (m < count)[:, None] & (n < outputs)[None, :],
    )


@triton.jit(do_not_specialize=["count"])
def added_linear_kernel(
    a,
    weight,
    bias,
    x,
    count,
    outputs,
    inputs: tl.constexpr,
    block: tl.constexpr,
    rows: tl.constexpr,
    tile: tl.constexpr,
):
    """x += a W + b for a tile of rows and outputs.

    Args: a: shape (count, inputs); weight: as of `normed_linear_kernel`; x: shape (count, outputs).
    """
    n = tl.program_id(0) * tile + tl.arange(0, tile)
    m = tl.program_id(1) * rows + tl.arange(0, rows)
    if rows == 1:
        part = tl.zeros((tile, block), tl.float32)
        for begin in tl.static_range(0, inputs, block):
            k = begin + tl.arange(0, block)
            w = tl.load(weight + n[:, None] * inputs + k[None, :], (n < outputs)[:, None], 0.0)
            read = tl.load(a + tl.program_id(1) * inputs + k)
            part += w.to(tl.float32) * read.to(tl.float32)[None, :]
        total = tl.sum(part, 1)[None, :]
    else:
        total = tl.zeros((rows, tile), tl.float32)
        for begin in range(0, inputs, block):
            k = begin + tl.arange(0, block)
            w = tl.load(weight + n[None, :] * inputs + k[:, None], (n < outputs)[None, :], 0.0)
            total = tl.dot(tl.load(a + m[:, None] * inputs + k[None, :], (m < count)[:, None], 0.0), w, total)
    inside = (m < count)[:, None] & (n < outputs)[None, :]
    at = x + m[:, None] * outputs + n[None, :]
    total += tl.load(bias + n, n < outputs, 0.0)[None, :].to(tl.float32)
    total += tl.load(at, inside, 0.0).to(tl.float32)
    tl.store(at, total.to(x.dtype.element_ty), inside)


@triton.jit
def attention_kernel(
    qkv,
    keys,
    values,
    positions,
    goes,
    to,
    row_stride,
    head_stride,
    scale,
    heads,
    width: tl.constexpr,
    block: tl.constexpr,
):
    """One head of one row: it keeps the new key and value, and attends to them and to all before them.

    Args:
        qkv: shape (rows, 3 * heads * width); keys, values: of a layer, shape (rows, heads, length, width).
        positions: shape (rows,), int64, where each row's new key goes; goes: shape (rows,), bool.
        to: shape (rows, heads * width).
    """
    row = tl.program_id(0)
    head = tl.program_id(1)
    if tl.load(goes + row):
        position = tl.load(positions + row).to(tl.int32)
        i = tl.arange(0, width)
        read = qkv + row * 3 * heads * width + head * width + i
        query = tl.load(read).to(tl.float32) * scale
        key = tl.load(read + heads * width)
        value = tl.load(read + 2 * heads * width)
        base = row.to(tl.int64) * row_stride + head * head_stride
        tl.store(keys + base + position * width + i, key)
        tl.store(values + base + position * width + i, value)
        # A running softmax, which begins with the new position itself: what was just written is not read.
        most = tl.sum(query * key.to(tl.float32), 0)
        weights = tl.full((), 1.0, tl.float32)
        total = value.to(tl.float32)
        for begin in range(0, position, block):
            n = begin + tl.arange(0, block)
            inside = n < position
            at = base + n[:, None] * width + i[None, :]
            read_keys = tl.load(keys + at, inside[:, None], 0.0).to(tl.float32)
            read_values = tl.load(values + at, inside[:, None], 0.0).to(tl.float32)
            scores = tl.sum(query[None, :] * read_keys, 1)
            scores = tl.where(inside, scores, float("-inf"))
            higher = tl.maximum(most, tl.max(scores, 0))
            kept = tl.exp(most - higher)
            shares = tl.exp(scores - higher)
            weights = weights * kept + tl.sum(shares, 0)
            total = total * kept + tl.sum(shares[:, None] * read_values, 0)
            most = higher
        tl.store(to + row * heads * width + head * width + i, (total / weights).to(to.dtype.element_ty))


def _tile(rows: int) -> tuple[int, int]:
    return (1, _OUTPUTS_OF_ONE) if rows == 1 else (_ROWS, _OUTPUTS)


def normed_linear(
    x: Tensor, gain: Tensor, shift: Tensor, weight: Tensor, bias: Tensor, eps: float, *, is_gelu: bool = False
) -> Tensor:
    """A layer norm and a linear layer, and GELU if asked.

    Args: x: shape (rows, width), contiguous; weight: shape (width, outputs), whose transpose is contiguous.
    Returns: shape (rows, outputs).
    """
    count, width = x.shape
    outputs = weight.shape[1]
    to = x.new_empty(count, outputs)
    rows, tile = _tile(count)
    normed_linear_kernel[triton.cdiv(outputs, tile), triton.cdiv(count, rows)](
        *(x, gain, shift, weight, bias, to, count, outputs),
        width=width,
        eps=eps,
        is_gelu=is_gelu,
        rows=rows,
        tile=tile,
        num_warps=4 if rows == 1 else 8,
    )
    return to


def add_linear(a: Tensor, weight: Tensor, bias: Tensor, x: Tensor) -> None:
    """x += a W + b. Args: a: shape (rows, inputs), contiguous; weight: as of `normed_linear`; x: (rows, outputs)."""
    count, inputs = a.shape
    outputs = weight.shape[1]
    rows, tile = _tile(count)
    added_linear_kernel[triton.cdiv(outputs, tile), triton.cdiv(count, rows)](
        *(a, weight, bias, x, count, outputs),
        inputs=inputs,
        block=min(inputs, _INPUTS_OF_ONE if rows == 1 else _INPUTS),
        rows=rows,
        tile=tile,
        num_warps=4,
        num_stages=4,
    )


def attend(qkv: Tensor, keys: Tensor, values: Tensor, positions: Tensor, goes: Tensor, to: Tensor) -> None:
    """The attention of each row's next position, whose key and value it keeps.

    Args: as of `attention_kernel`; keys and values may have more rows. Rows that do not go are left as they are.
    """
    heads, width = keys.shape[1], keys.shape[3]
    attention_kernel[(len(qkv), heads)](
        *(qkv, keys, values, positions, goes, to, keys.stride(0), keys.stride(1), width**-0.5, heads),
        width=width,
        block=_POSITIONS,
        num_warps=4,
    )
