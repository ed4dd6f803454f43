"""G, rewritten: what depends on the features alone is computed at their own size and for many layers at once.

Each step is plain PyTorch, and runs on any device; `triton_generate` replaces some.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from services.render.engines.liveportrait.fast.folding import classes_of, upsampled_kernels
from services.render.engines.liveportrait.fast.pixels import i420_of, rgb_of
from services.render.engines.liveportrait.generator import (
    NORM_EPSILON,
    SLOPE,
    Spade,
    SpadeGenerator,
    SpadeResidualBlock,
    SpectralConv2d,
)


class Modulation(NamedTuple):
    """SPADE's second convolution, scale and shift in one.

    Attributes:
        weight: shape (2 * channels, hidden, 3, 3): of the scale, less 1, and then of the shift.
        bias: shape (2 * channels,), float32.
    """

    weight: Tensor
    bias: Tensor


class Block(NamedTuple):
    """A residual block with folded weights. The norm after `conv_0` takes its bias away, so it has none."""

    norm_0: Modulation
    conv_0: Tensor
    norm_1: Modulation
    conv_1: Tensor
    bias_1: Tensor
    norm_s: Modulation | None
    conv_s: Tensor | None


class FastGenerator:
    """The same function as `SpadeGenerator`, up to rounding."""

    def __init__(self, network: SpadeGenerator, dtype: torch.dtype) -> None:
        """Args: dtype: of the convolutions."""
        self.dtype = dtype
        self.fc = self._weight(network.fc.weight)
        self.fc_bias = bias_of(network.fc)
        self.hidden_channels = network.up_1.norm_0.mlp_gamma.in_channels
        middle = network.middle_blocks
        # By scale: the first convolutions of all SPADE layers at that size, in the order in which they are used.
        self.hidden = {
            1: self._hidden([norm for block in middle for norm in (block.norm_0, block.norm_1)], 1),
            2: self._hidden(_norms(network.up_0), 2),
            4: self._hidden(_norms(network.up_1), 4),
        }
        self.middle = [self._block(block) for block in middle]
        self.up_0 = self._block(network.up_0)
        self.up_1 = self._block(network.up_1)
        conv = network.conv_img[0]
        assert isinstance(conv, nn.Conv2d)
        # By pixel of the four, row by row, and then by colour with a fourth that is nothing.
        self.image = self._weight(_by_pixel(conv.weight))
        self.image_bias = _by_pixel(bias_of(conv))

    def _weight(self, weight: Tensor) -> Tensor:
        return weight.detach().to(self.dtype).contiguous(memory_format=torch.channels_last)

    def _hidden(self, norms: list[Spade], scale: int) -> tuple[Tensor, Tensor]:
        """Weight, of the kernels as `upsampled_kernels` has them, and bias of many layers side by side."""
        convs = [cast("nn.Conv2d", norm.mlp_shared[0]) for norm in norms]
        weight = torch.cat([conv.weight.detach() for conv in convs])
        bias = torch.cat([bias_of(conv) for conv in convs])
        if scale > 1:
            weight = upsampled_kernels(weight.double(), scale).flatten(0, 2)
        return self._weight(weight), bias

    def _modulation(self, norm: Spade) -> Modulation:
        weight = torch.cat([norm.mlp_gamma.weight, norm.mlp_beta.weight])
        return Modulation(self._weight(weight), torch.cat([bias_of(norm.mlp_gamma), bias_of(norm.mlp_beta)]))

    def _block(self, block: SpadeResidualBlock) -> Block:
        assert block.conv_1.bias is not None
        return Block(
            self._modulation(block.norm_0),
            self._folded(block.conv_0),
            self._modulation(block.norm_1),
            self._folded(block.conv_1),
            block.conv_1.bias.detach().float(),
            self._modulation(block.norm_s) if block.has_own_shortcut else None,
            self._folded(block.conv_s) if block.has_own_shortcut else None,
        )

    def _folded(self, conv: SpectralConv2d) -> Tensor:
        return self._weight(conv.weight())

    def __call__(self, seg: Tensor) -> Tensor:
        """Draw.

        Args: seg: W's output, shape (batch, channels, h, w).
        Returns: logits, shape (batch, 4 h, 4 w, 2, 2, 4), float32: two rows of two pixels, RGB and nothing.
        """
        hidden = self.hidden_of(seg, 1)
        x = nnf.conv2d(seg, self.fc, self.fc_bias.to(self.dtype), padding=1)
        for index, block in enumerate(self.middle):
            x = self.block(block, x, hidden[2 * index : 2 * index + 2], 1)
        x = self.block(self.up_0, x, self.hidden_of(seg, 2), 2)
        x = self.block(self.up_1, x, self.hidden_of(seg, 4), 2)
        x = nnf.conv2d(nnf.leaky_relu(x, SLOPE), self.image, padding=1)  # (b, 16, 4 h, 4 w)
        logits = x.float() + self.image_bias[:, None, None]
        return torch.unflatten(logits.movedim(1, -1), -1, (2, 2, 4))

    def bytes_of(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The frames: RGB, shape (batch, 8 h, 8 w, 3), and I420, shape (batch, 12 h, 8 w); uint8."""
        rgb = rgb_of(logits)
        return rgb, i420_of(rgb)

    def hidden_of(self, seg: Tensor, scale: int) -> list[Tensor]:
        """What all SPADE layers at that scale make of the features first, each of shape (b, hidden, scale * h, ...)."""
        weight, bias = self.hidden[scale]
        if scale == 1:
            x = nnf.conv2d(seg, weight, padding=1)
        else:
            x = self._assembled(nnf.conv2d(seg, weight, padding=1), scale, len(bias))
        x = nnf.relu(x + bias.to(self.dtype)[:, None, None])
        parts = torch.split(x, self.hidden_channels, dim=1)
        return [part.contiguous(memory_format=torch.channels_last) for part in parts]

    def _assembled(self, windows: Tensor, scale: int, channels: int) -> Tensor:
        """Each copy of a pixel from the outputs of its class.

        Args: windows: shape (b, classes * classes * channels, h + 1, w + 1).
        Returns: shape (b, channels, scale * h, scale * w).
        """
        height, width = windows.shape[2] - 1, windows.shape[3] - 1
        copies = classes_of(scale)
        number = len(set(copies))
        windows = torch.unflatten(windows, 1, (number, number, channels))
        rows = [
            torch.stack([windows[:, p, q, :, i : i + height, j : j + width] for q, j in copies], dim=-1)
            for p, i in copies
        ]
        return torch.stack(rows, dim=-3).flatten(-2).flatten(-3, -2)  # from (b, channels, h, scale, w, scale)

    def block(self, block: Block, x: Tensor, hidden: list[Tensor], scale: int) -> Tensor:
        """A residual block.

        Args:
            x: shape (b, in, h, w); the block works on it upsampled by `scale`.
            hidden: of norm_0, norm_1 and, where there is one, norm_s.
        Returns: shape (b, out, scale * h, scale * w).
        """
        if block.norm_s is None or block.conv_s is None:
            shortcut = x if scale == 1 else nnf.interpolate(x, scale_factor=scale)
        else:
            shortcut = nnf.conv2d(self.modulate(block.norm_s, x, hidden[2], scale), block.conv_s)
        inner = self.modulate(block.norm_0, x, hidden[0], scale, SLOPE)
        inner = nnf.conv2d(inner, block.conv_0, padding=1)
        inner = self.modulate(block.norm_1, inner, hidden[1], 1, SLOPE)
        return shortcut + nnf.conv2d(inner, block.conv_1, block.bias_1.to(self.dtype), padding=1)

    def modulate(self, norm: Modulation, x: Tensor, hidden: Tensor, scale: int, slope: float = 1.0) -> Tensor:
        """Instance norm, scale and shift, and leaky ReLU. Upsampling leaves the statistics as they are.

        Args: x: shape (b, channels, h, w); hidden: shape (b, hidden, scale * h, scale * w); slope: 1 for no ReLU.
        """
        gamma, beta = nnf.conv2d(hidden, norm.weight, norm.bias.to(self.dtype), padding=1).chunk(2, dim=1)
        normal = nnf.instance_norm(x, eps=NORM_EPSILON)
        if scale > 1:
            normal = nnf.interpolate(normal, scale_factor=scale)
        return nnf.leaky_relu(normal * (1 + gamma) + beta, slope)


def _norms(block: SpadeResidualBlock) -> list[Spade]:
    return [block.norm_0, block.norm_1, *([block.norm_s] if block.has_own_shortcut else [])]


def bias_of(conv: nn.Conv2d) -> Tensor:
    """Of a convolution that has one, float32."""
    assert conv.bias is not None
    return conv.bias.detach().float()


def _by_pixel(channels: Tensor) -> Tensor:
    """Outputs as pixel shuffle takes them, (colour, row, column), in the order (row, column, colour or nothing).

    Args: channels: shape (12, ...). Returns: shape (16, ...).
    """
    ordered = torch.unflatten(channels.detach(), 0, (3, 2, 2)).movedim(0, 2)  # (2, 2, 3, ...)
    grown = ordered.new_zeros(2, 2, 4, *ordered.shape[3:])
    grown[:, :, :3] = ordered
    return grown.flatten(0, 2)
