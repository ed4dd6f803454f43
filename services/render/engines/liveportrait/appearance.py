"""F, the appearance extractor: a portrait to a volume of features that can be warped in three dimensions.

Source: "LivePortrait", section 3.2, after Wang et al., "One-Shot Free-View Neural Talking-Head Synthesis", 2021.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import torch.nn.functional as nnf
from torch import Tensor, nn

from services.render.engines.liveportrait.config import AppearanceConfig


class ConvBlock(nn.Module):
    """Convolution 3x3, batch norm, ReLU; with `halves`, the mean of each 2x2 pixels."""

    def __init__(self, channels_in: int, channels_out: int, *, halves: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels_out)
        self.halves = halves

    def forward(self, x: Tensor) -> Tensor:
        x = nnf.relu(self.norm(self.conv(x)))
        return nnf.avg_pool2d(x, 2) if self.halves else x


class ResBlock3d(nn.Module):
    """Pre-activation residual block: twice batch norm, ReLU, convolution 3x3x3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm3d(channels)
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm3d(channels)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(nnf.relu(self.norm1(x)))
        y = self.conv2(nnf.relu(self.norm2(y)))
        out: Tensor = x + y
        return out


class AppearanceExtractor(nn.Module):
    """F. The shapes in comments are the official ones."""

    def __init__(self, config: AppearanceConfig) -> None:
        super().__init__()
        widths = [min(config.max_features, config.block_expansion << i) for i in range(config.num_down_blocks + 1)]
        self.first = ConvBlock(3, config.block_expansion, halves=False)
        self.down_blocks = nn.ModuleList(ConvBlock(narrow, wide, halves=True) for narrow, wide in pairwise(widths))
        self.second = nn.Conv2d(widths[-1], config.max_features, 1)
        self.resblocks_3d = nn.Sequential(
            OrderedDict((f"3dr{i}", ResBlock3d(config.reshape_channel)) for i in range(config.num_resblocks))
        )
        self._channels_and_depth = (config.reshape_channel, config.reshape_depth)

    def forward(self, image: Tensor) -> Tensor:
        """Args: image: shape (b, 3, size, size), RGB in [0, 1]. Returns: shape (b, channels, depth, size/4, size/4)."""
        x = self.first(image)  # (b, 64, 256, 256)
        for block in self.down_blocks:
            x = block(x)  # (b, 128, 128, 128), then (b, 256, 64, 64)
        x = self.second(x)  # (b, 512, 64, 64)
        x = x.unflatten(1, self._channels_and_depth)  # (b, 32, 16, 64, 64)
        volume: Tensor = self.resblocks_3d(x)  # (b, 32, 16, 64, 64)
        return volume
