"""G with Triton's kernels: each convolution does what follows it before it stores."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as nnf
from torch import Tensor

from services.render.engines.liveportrait.fast.generate import Block, FastGenerator, bias_of
from services.render.engines.liveportrait.fast.kernels.convolve import (
    After,
    Moments,
    Term,
    convolve,
    convolve_upsampled,
    copied_term,
    moments_of,
    spade,
    spade_weight,
    statistics,
    term_of,
    upsampled_matrix,
)
from services.render.engines.liveportrait.fast.kernels.image import bytes_of
from services.render.engines.liveportrait.generator import SLOPE, Spade, SpadeGenerator, SpadeResidualBlock

# Outputs that fill our tiles.
_WIDE = 128


class _Spade(NamedTuple):
    """Scale and shift of a `spade_weight`; bias: shape (2, channels)."""

    term: Term
    bias: Tensor


class _Block(NamedTuple):
    """A residual block's weights as matrices; `narrow` is `conv_0` as it is, where it has few outputs."""

    norm_0: _Spade
    conv_0: Term
    narrow: Tensor | None
    norm_1: _Spade
    conv_1: Term
    bias_1: Tensor
    norm_s: _Spade | None
    conv_s: Term | None


class TritonGenerator(FastGenerator):
    """The same function as `FastGenerator`, up to rounding."""

    def __init__(self, network: SpadeGenerator, dtype: torch.dtype) -> None:
        super().__init__(network, dtype)
        self._fc = self._term(self.fc)
        weight, self._hidden_bias = self.hidden[1]
        self._hidden_term = self._term(weight)
        # By scale: the classes' own taps, and biases.
        self._upsampled = {}
        for scale in (2, 4):
            weight, bias = self.hidden[scale]
            classes = 2 if scale == 2 else 3
            kernels = torch.unflatten(weight, 0, (classes, classes, len(bias)))
            self._upsampled[scale] = upsampled_matrix(kernels, dtype), bias
        blocks = zip(
            (*network.middle_blocks, network.up_0, network.up_1), (*self.middle, self.up_0, self.up_1), strict=True
        )
        self._blocks = [self._packed(block, folded, copies=block is network.up_1) for block, folded in blocks]
        self._image = self._term(self.image)

    def _term(self, weight: Tensor) -> Term:
        return term_of(weight[:, :, None], self.dtype)

    def _packed(self, block: SpadeResidualBlock, folded: Block, *, copies: bool) -> _Block:
        return _Block(
            self._spade(block.norm_0, copies=copies),
            self._term(folded.conv_0),
            folded.conv_0 if len(folded.conv_0) < _WIDE else None,
            self._spade(block.norm_1, copies=copies),
            self._term(folded.conv_1),
            folded.bias_1,
            self._spade(block.norm_s, copies=copies) if folded.norm_s is not None else None,
            self._term(folded.conv_s) if folded.conv_s is not None else None,
        )

    def _spade(self, norm: Spade, *, copies: bool) -> _Spade:
        gamma, beta = norm.mlp_gamma, norm.mlp_beta
        weight = spade_weight(gamma.weight.detach(), beta.weight.detach())
        term = copied_term(weight, self.dtype) if copies else self._term(weight)
        return _Spade(term, torch.stack([bias_of(gamma), bias_of(beta)]))

    def __call__(self, seg: Tensor) -> Tensor:
        seg = seg.permute(0, 2, 3, 1)[:, None].contiguous()  # (b, 1, h, w, channels), as it lies in memory
        hidden, _ = convolve([(seg, self._hidden_term)], After(bias=self._hidden_bias, slope=0.0))
        x, moments = convolve([(seg, self._fc)], After(bias=self.fc_bias, has_moments=True))
        for index, block in enumerate(self._blocks[:-2]):
            x, moments = self._residual(block, x, moments, hidden, 2 * index, 1, has_moments=True)
        for block, scale in zip(self._blocks[-2:], (2, 4), strict=True):
            hidden = convolve_upsampled(seg, *self._upsampled[scale], scale)
            # After the last block comes leaky ReLU, and no norm.
            x, moments = self._residual(block, x, moments, hidden, 0, 2, has_moments=scale == 2)
        logits, _ = convolve([(x, self._image)], After(bias=self.image_bias, dtype=torch.float32))
        return torch.unflatten(logits[:, 0], -1, (2, 2, 4))

    def _residual(
        self,
        block: _Block,
        x: Tensor,
        moments: Moments | None,
        hidden: Tensor,
        layer: int,
        scale: int,
        *,
        has_moments: bool,
    ) -> tuple[Tensor, Moments | None]:
        """Args: x: shape (b, 1, h, w, in), and its moments; hidden: of many SPADE layers, `layer` the block's first."""
        assert moments is not None
        content = x[:, 0]
        of_content = statistics(moments)
        first, second, third = (self.hidden_channels * (layer + index) for index in range(3))
        inner = spade(content, of_content, hidden, first, *block.norm_0, scale=scale, slope=SLOPE)
        inner, moments = self._first(block, inner)
        inner = spade(inner[:, 0], statistics(moments), hidden, second, *block.norm_1, scale=1, slope=SLOPE)
        parts = [(inner, block.conv_1)]
        after = After(bias=block.bias_1, has_moments=has_moments, slope=1.0 if has_moments else SLOPE)
        if block.norm_s is None or block.conv_s is None:
            after = After(bias=block.bias_1, residual=x, has_moments=has_moments)
        else:
            own = spade(content, of_content, hidden, third, *block.norm_s, scale=scale, slope=1.0)
            parts.append((own, block.conv_s))
        return convolve(parts, after)

    def _first(self, block: _Block, x: Tensor) -> tuple[Tensor, Moments]:
        """The first of a block's convolutions."""
        if block.narrow is None:
            x, moments = convolve([(x, block.conv_0)], After(has_moments=True))
            assert moments is not None
            return x, moments
        # Of few outputs cuDNN makes more than our tiles do.
        narrow = nnf.conv2d(x[:, 0].permute(0, 3, 1, 2), block.narrow, padding=1)
        x = narrow.permute(0, 2, 3, 1)[:, None].contiguous()
        return x, moments_of(x)

    def bytes_of(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        return bytes_of(logits)
