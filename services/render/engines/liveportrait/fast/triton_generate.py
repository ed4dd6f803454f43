"""G with Triton's kernels: each convolution does what follows it before it stores."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from services.render.engines.liveportrait.fast.generate import Block, FastGenerator, bias_of
from services.render.engines.liveportrait.fast.kernels.convolve import (
    After,
    Moments,
    Term,
    convolve,
    convolve_upsampled,
    copied_term,
    spade,
    statistics,
    terms_of,
    upsampled_matrix,
)
from services.render.engines.liveportrait.fast.kernels.image import bytes_of
from services.render.engines.liveportrait.generator import SLOPE, Spade, SpadeGenerator, SpadeResidualBlock


class _Spade(NamedTuple):
    """Scale and shift in turn, for each channel."""

    term: Term
    bias: Tensor


class _Block(NamedTuple):
    """A residual block's weights as matrices."""

    norm_0: _Spade
    conv_0: Term
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
        (term,) = terms_of(weight[:, :, None], self.dtype)
        return term

    def _packed(self, block: SpadeResidualBlock, folded: Block, *, copies: bool) -> _Block:
        return _Block(
            self._spade(block.norm_0, copies=copies),
            self._term(folded.conv_0),
            self._spade(block.norm_1, copies=copies),
            self._term(folded.conv_1),
            folded.bias_1,
            self._spade(block.norm_s, copies=copies) if folded.norm_s is not None else None,
            self._term(folded.conv_s) if folded.conv_s is not None else None,
        )

    def _spade(self, norm: Spade, *, copies: bool) -> _Spade:
        convs = norm.mlp_gamma, norm.mlp_beta
        weight = torch.stack([conv.weight.detach() for conv in convs], dim=1).flatten(0, 1)
        bias = torch.stack([bias_of(conv) for conv in convs], dim=1).flatten()
        return _Spade(copied_term(weight, self.dtype) if copies else self._term(weight), bias)

    def __call__(self, seg: Tensor) -> Tensor:
        seg = seg.permute(0, 2, 3, 1)[:, None]  # (b, 1, h, w, channels), as it lies in memory
        assert seg.is_contiguous()
        plane = self.hidden_channels
        hidden, _ = convolve([(seg, self._hidden_term)], After(bias=self._hidden_bias, slope=0.0, plane=plane))
        x, moments = convolve([(seg, self._fc)], After(bias=self.fc_bias, has_moments=True))
        for index, block in enumerate(self._blocks[:-2]):
            x, moments = self._residual(block, x, moments, hidden[2 * index : 2 * index + 2], 1, has_moments=True)
        for block, scale in zip(self._blocks[-2:], (2, 4), strict=True):
            matrix, bias = self._upsampled[scale]
            hidden = convolve_upsampled(seg, matrix, bias, scale, plane)
            # After the last block comes leaky ReLU, and no norm.
            x, moments = self._residual(block, x, moments, hidden, 2, has_moments=scale == 2)
        logits, _ = convolve([(x[0], self._image)], After(bias=self.image_bias, dtype=torch.float32))
        return torch.unflatten(logits[0, :, 0], -1, (2, 2, 4))

    def _residual(
        self, block: _Block, x: Tensor, moments: Moments | None, hidden: Tensor, scale: int, *, has_moments: bool
    ) -> tuple[Tensor, Moments | None]:
        """Args: x: shape (1, b, 1, h, w, in), and its moments; hidden: shape (2 or 3, b, 1, scale * h, ..., hidden)."""
        assert moments is not None
        content = x[0, :, 0]
        of_content = statistics(moments)
        inner = spade(content, of_content, hidden[0], *block.norm_0, scale=scale, slope=SLOPE)
        inner, moments = convolve([(inner, block.conv_0)], After(has_moments=True))
        assert moments is not None
        inner = spade(inner[0, :, 0], statistics(moments), hidden[1], *block.norm_1, scale=1, slope=SLOPE)
        parts = [(inner, block.conv_1)]
        after = After(bias=block.bias_1, has_moments=has_moments, slope=1.0 if has_moments else SLOPE)
        if block.norm_s is None or block.conv_s is None:
            after = After(bias=block.bias_1, residual=x, has_moments=has_moments)
        else:
            own = spade(content, of_content, hidden[2], *block.norm_s, scale=scale, slope=1.0)
            parts.append((own, block.conv_s))
        return convolve(parts, after)

    def bytes_of(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        return bytes_of(logits)
