"""G with Triton's kernels: each convolution does what follows it before it stores."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from services.render.engines.liveportrait.fast.generate import Block, FastGenerator, Modulation
from services.render.engines.liveportrait.fast.kernels.convolve import (
    After,
    Moments,
    Term,
    convolve,
    convolve_upsampled,
    spade,
    statistics,
    terms_of,
    upsampled_matrix,
)
from services.render.engines.liveportrait.fast.kernels.image import bytes_of
from services.render.engines.liveportrait.generator import SLOPE, SpadeGenerator


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
        self._blocks = [self._packed(block) for block in (*self.middle, self.up_0, self.up_1)]
        self._image = self._term(self.image)

    def _term(self, weight: Tensor) -> Term:
        (term,) = terms_of(weight[:, :, None], self.dtype)
        return term

    def _packed(self, block: Block) -> _Block:
        return _Block(
            self._spade(block.norm_0),
            self._term(block.conv_0),
            self._spade(block.norm_1),
            self._term(block.conv_1),
            block.bias_1,
            self._spade(block.norm_s) if block.norm_s is not None else None,
            self._term(block.conv_s) if block.conv_s is not None else None,
        )

    def _spade(self, norm: Modulation) -> _Spade:
        weight, bias = (torch.unflatten(part, 0, (2, -1)).transpose(0, 1).flatten(0, 1) for part in norm)
        return _Spade(self._term(weight), bias.contiguous())

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
