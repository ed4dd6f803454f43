"""Matrix products of few rows on a GPU, by Triton, with what stands before and behind them in the same kernel.

A step of one stream reads every weight for one row: it takes as long as the reading, and as its kernels take to begin.
The libraries' products are made for many rows, and need kernels of their own for norms, activations and sums.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from services.stt.engines.whisper.network import Products

_BLOCK_OUTPUTS = 4
_MOST_BLOCK_INPUTS = 1024
_CLOSE = 1e-2


@triton.jit
def _product(
    states,
    gain,
    shift,
    weight,
    bias,
    added,
    out,
    outputs,
    epsilon,
    inputs: tl.constexpr,
    inputs_up: tl.constexpr,
    block_inputs: tl.constexpr,
    block_outputs: tl.constexpr,
    is_normed: tl.constexpr,
    is_activated: tl.constexpr,
    is_added: tl.constexpr,
):
    """Some outputs of one row.

    Args:
        states: (rows, inputs); gain, shift: (inputs,), of the normalisation; weight: (outputs, inputs); bias:
            (outputs,); added, out: (rows, outputs). What is not wanted is not read.
        inputs_up: the power of two from `inputs` on; block_inputs: a power of two that divides `inputs`.
    """
    row = tl.program_id(0)
    output = tl.program_id(1) * block_outputs + tl.arange(0, block_outputs)
    is_there = output < outputs
    states += row * inputs
    if is_normed:
        place = tl.arange(0, inputs_up)
        state = tl.load(states + place, mask=place < inputs, other=0.0).to(tl.float32)
        mean = tl.sum(state, axis=0) / inputs
        centred = tl.where(place < inputs, state - mean, 0.0)
        scale = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=0) / inputs + epsilon)
    total = tl.zeros((block_outputs, block_inputs), tl.float32)
    for begin in tl.static_range(0, inputs, block_inputs):
        place = begin + tl.arange(0, block_inputs)
        weights = tl.load(weight + output[:, None] * inputs + place[None, :], mask=is_there[:, None], other=0.0)
        state = tl.load(states + place).to(tl.float32)
        if is_normed:
            state = (state - mean) * scale * tl.load(gain + place).to(tl.float32) + tl.load(shift + place).to(
                tl.float32
            )
        total += weights.to(tl.float32) * state[None, :]
    result = tl.sum(total, axis=1) + tl.load(bias + output, mask=is_there, other=0.0).to(tl.float32)
    if is_activated:
        result = 0.5 * result * (1.0 + tl.erf(result * 0.7071067811865476))
    if is_added:
        result += tl.load(added + row * outputs + output, mask=is_there, other=0.0).to(tl.float32)
    tl.store(out + row * outputs + output, result.to(out.dtype.element_ty), mask=is_there)


class FusedProducts(Products):
    """`Products`, a kernel each; for few rows."""

    def normed(
        self, states: Tensor, norm: nn.LayerNorm, weight: Tensor, bias: Tensor, *, is_activated: bool = False
    ) -> Tensor:
        """As `Products.normed`."""
        return _launch(states, weight, bias, norm=norm, is_activated=is_activated)

    def added(self, states: Tensor, weight: Tensor, bias: Tensor, to: Tensor) -> Tensor:
        """As `Products.added`."""
        return _launch(states, weight, bias, added=to)


def _launch(
    states: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    norm: nn.LayerNorm | None = None,
    added: Tensor | None = None,
    is_activated: bool = False,
) -> Tensor:
    outputs, inputs = weight.shape
    rows = states.numel() // inputs
    out = states.new_empty(*states.shape[:-1], outputs)
    # The largest power of two that divides it.
    block_inputs = min(inputs & -inputs, _MOST_BLOCK_INPUTS)
    _product[rows, triton.cdiv(outputs, _BLOCK_OUTPUTS)](
        states.contiguous(),
        states if norm is None else norm.weight,
        states if norm is None else norm.bias,
        weight,
        bias,
        states if added is None else added.contiguous(),
        out,
        outputs,
        0.0 if norm is None else norm.eps,
        inputs=inputs,
        inputs_up=triton.next_power_of_2(inputs),
        block_inputs=block_inputs,
        block_outputs=_BLOCK_OUTPUTS,
        is_normed=norm is not None,
        is_activated=is_activated,
        is_added=added is not None,
        num_warps=4,
    )
    return out


@torch.no_grad()
def tried(width: int, ffn: int, like: Tensor) -> FusedProducts:
    """The products, compared with the plain ones on a row.

    Args: width, ffn: of the decoder; like: of the device and the number format.

    Raises: RuntimeError if they differ; whatever Triton raises where it cannot compile.
    """
    made = torch.Generator(like.device).manual_seed(0)

    def some(*shape: int) -> Tensor:
        return like.new_empty(shape).normal_(generator=made)

    norm = nn.LayerNorm(width, device=like.device, dtype=like.dtype)
    norm.weight.copy_(some(width))
    norm.bias.copy_(some(width))
    plain, fused = Products(), FusedProducts()
    state, weight, bias = some(1, 1, width), some(3 * width, width) / width**0.5, some(3 * width)
    for is_activated in (False, True):
        wanted = plain.normed(state, norm, weight, bias, is_activated=is_activated)
        _compare(fused.normed(state, norm, weight, bias, is_activated=is_activated), wanted)
    to, bias = some(1, 1, width), some(width)
    for inputs in (width, ffn):
        state, weight = some(1, 1, inputs), some(width, inputs) / inputs**0.5
        _compare(fused.added(state, weight, bias, to), plain.added(state, weight, bias, to))
    return fused


def _compare(found: Tensor, wanted: Tensor) -> None:
    error = float((found.float() - wanted.float()).norm() / wanted.float().norm())
    # Not "greater": what is no number differs, too.
    if not error <= _CLOSE:
        raise RuntimeError(f"its products differ by {error:.2g} from plain ones")
