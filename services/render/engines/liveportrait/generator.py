"""G, the generator: draws the image from W's features.

Every residual block is normalised per image and then scaled and shifted by what the features say of each place.
Source: LivePortrait (arXiv 2407.03168), section 3.1; SPADE (arXiv 1903.07291); spectral norm (arXiv 1802.05957).
Attribute names are those of the published checkpoint's keys.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from services.render.engines.liveportrait.config import GeneratorConfig

SLOPE = 0.2
NORM_EPSILON = 1e-5
MIDDLE_BLOCKS = 6


class SpectralConv2d(nn.Module):
    """A convolution whose weight was trained with spectral norm.

    The checkpoint holds the weight as it was trained, and the vectors u and v of the last power iteration. In
    evaluation the weight is divided by u W v of those very vectors, not by the norm itself.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, has_bias: bool = True) -> None:
        super().__init__()
        self.weight_orig = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        nn.init.kaiming_normal_(self.weight_orig)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if has_bias else None
        self.register_buffer("weight_u", torch.full((out_channels,), out_channels**-0.5))
        width = in_channels * kernel_size**2
        self.register_buffer("weight_v", torch.full((width,), width**-0.5))

    def weight(self) -> Tensor:
        """The weight that acts. Returns: shape (out, in, k, k)."""
        sigma = torch.dot(self.weight_u, torch.mv(self.weight_orig.flatten(1), self.weight_v))
        return self.weight_orig / sigma

    def forward(self, x: Tensor) -> Tensor:
        """(n, in, h, w) to (n, out, h, w)."""
        return nnf.conv2d(x, self.weight(), self.bias, padding="same")


class Spade(nn.Module):
    """Instance norm whose scale and shift come from the features, pixel by pixel."""

    def __init__(self, channels: int, seg_channels: int, hidden: int) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Conv2d(seg_channels, hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, seg: Tensor) -> Tensor:
        """Args: x: shape (n, channels, h, w); seg: shape (n, seg_channels, h / k, w / k). Returns: as x."""
        hidden = self.mlp_shared(nnf.interpolate(seg, size=x.shape[2:], mode="nearest"))
        normal = nnf.instance_norm(x, eps=NORM_EPSILON)
        return cast("Tensor", normal * (1 + self.mlp_gamma(hidden)) + self.mlp_beta(hidden))


class SpadeResidualBlock(nn.Module):
    """Twice SPADE, leaky ReLU and convolution, beside the input; that goes by its own where the channels change."""

    def __init__(self, in_channels: int, out_channels: int, seg_channels: int, hidden: int) -> None:
        super().__init__()
        middle = min(in_channels, out_channels)
        self.conv_0 = SpectralConv2d(in_channels, middle, 3)
        self.conv_1 = SpectralConv2d(middle, out_channels, 3)
        self.norm_0 = Spade(in_channels, seg_channels, hidden)
        self.norm_1 = Spade(middle, seg_channels, hidden)
        self.has_own_shortcut = in_channels != out_channels
        if self.has_own_shortcut:
            self.conv_s = SpectralConv2d(in_channels, out_channels, 1, has_bias=False)
            self.norm_s = Spade(in_channels, seg_channels, hidden)

    def forward(self, x: Tensor, seg: Tensor) -> Tensor:
        """Args: x: shape (n, in, h, w); seg: shape (n, seg_channels, h / k, w / k). Returns: shape (n, out, h, w)."""
        shortcut = self.conv_s(self.norm_s(x, seg)) if self.has_own_shortcut else x
        inner = self.conv_0(nnf.leaky_relu(self.norm_0(x, seg), SLOPE))
        return cast("Tensor", shortcut + self.conv_1(nnf.leaky_relu(self.norm_1(inner, seg), SLOPE)))


class SpadeGenerator(nn.Module):
    """G. `SpadeGenerator(OFFICIAL.generator)` has the published checkpoint's keys and shapes."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        seg, hidden = config.in_channels, config.spade_hidden
        self.fc = nn.Conv2d(seg, 2 * seg, 3, padding=1)
        for index in range(MIDDLE_BLOCKS):
            self.add_module(f"G_middle_{index}", SpadeResidualBlock(2 * seg, 2 * seg, seg, hidden))
        self.up_0 = SpadeResidualBlock(2 * seg, seg, seg, hidden)
        self.up_1 = SpadeResidualBlock(seg, config.out_channels, seg, hidden)
        # An image at half its edge, four pixels in each of its places.
        self.conv_img = nn.Sequential(nn.Conv2d(config.out_channels, 3 * 4, 3, padding=1), nn.PixelShuffle(2))

    @property
    def middle_blocks(self) -> list[SpadeResidualBlock]:
        """Those at the features' own size, in their order."""
        return [cast("SpadeResidualBlock", getattr(self, f"G_middle_{index}")) for index in range(MIDDLE_BLOCKS)]

    def forward(self, seg: Tensor) -> Tensor:
        """Draw.

        Args: seg: `Warped.out`, shape (n, seg, h, w).
        Returns: shape (n, 3, 8 h, 8 w), RGB in (0, 1).
        """
        x = self.fc(seg)  # (n, 2 seg, h, w)
        for block in self.middle_blocks:
            x = block(x, seg)
        x = self.up_0(nnf.interpolate(x, scale_factor=2), seg)  # (n, seg, 2 h, 2 w)
        x = self.up_1(nnf.interpolate(x, scale_factor=2), seg)  # (n, out_channels, 4 h, 4 w)
        return torch.sigmoid(self.conv_img(nnf.leaky_relu(x, SLOPE)))
