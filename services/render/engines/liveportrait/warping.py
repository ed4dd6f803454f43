"""W, the warping network: moves the source's feature volume from the source's keypoints to the driven ones.

Source: LivePortrait (arXiv 2407.03168), whose W is that of face vid2vid (arXiv 2011.15126) without Jacobians.
Attribute names are those of the published checkpoint's keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from services.render.engines.liveportrait.config import DenseMotionConfig, WarpingConfig

# Of the bump that marks a keypoint in the hourglass's input, in squared units of the grid.
KEYPOINT_VARIANCE = 0.01
# Slope of `third` below zero.
THIRD_SLOPE = 0.01


class Warped(NamedTuple):
    """What W gives.

    Attributes:
        out: shape (batch, out_channels, height, width): what G draws.
        occlusion: shape (batch, 1, height, width), in [0, 1]: `out` is already multiplied by it.
        deformation: shape (batch, depth, height, width, 3): where in the source each voxel comes from, (x, y, z).
    """

    out: Tensor
    occlusion: Tensor
    deformation: Tensor


def coordinate_grid(shape: Sequence[int], device: torch.device) -> Tensor:
    """Places of the voxels, -1 and 1 being the centres of the outermost ones.

    `sample` takes -1 and 1 as their outer edges, so sampling at this grid is not the identity. The checkpoints were
    trained so.

    Args: shape: depth, height, width.
    Returns: shape (depth, height, width, 3), float32, the last axis (x, y, z).
    """
    z, y, x = (torch.linspace(-1.0, 1.0, n, device=device) for n in shape)
    zz, yy, xx = torch.meshgrid(z, y, x, indexing="ij")
    return torch.stack([xx, yy, zz], dim=-1)


def sample(volume: Tensor, places: Tensor) -> Tensor:
    """Read a volume between its voxels; outside of it there are zeros.

    Args: volume: shape (n, channels, depth, height, width); places: shape (n, d, h, w, 3).
    Returns: shape (n, channels, d, h, w).
    """
    return nnf.grid_sample(volume, places, mode="bilinear", padding_mode="zeros", align_corners=False)


def sparse_motion(grid: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
    """Where each voxel would come from if it moved with one keypoint; the first stays where it is.

    Args: grid: shape (depth, height, width, 3); kp_source, kp_driving: shape (batch, num_kp, 3).
    Returns: shape (batch, 1 + num_kp, depth, height, width, 3).
    """
    shift = nnf.pad(kp_source - kp_driving, (0, 0, 1, 0))  # (batch, 1 + num_kp, 3)
    return grid + shift[:, :, None, None, None, :]


def keypoint_heatmap(grid: Tensor, keypoints: Tensor) -> Tensor:
    """A bump around each keypoint.

    Args: grid: shape (depth, height, width, 3); keypoints: shape (batch, num_kp, 3).
    Returns: shape (batch, num_kp, depth, height, width), in [0, 1].
    """
    squared = ((grid - keypoints[:, :, None, None, None, :]) ** 2).sum(-1)
    return torch.exp(-0.5 / KEYPOINT_VARIANCE * squared)


class SameBlock2d(nn.Module):
    """Convolution, batch norm, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in, h, w) to (n, out, h, w)."""
        return nnf.leaky_relu(self.norm(self.conv(x)), THIRD_SLOPE)


class DownBlock3d(nn.Module):
    """Convolution, batch norm, ReLU, and half the height and width."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.BatchNorm3d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in, d, h, w) to (n, out, d, h / 2, w / 2)."""
        return nnf.avg_pool3d(nnf.relu(self.norm(self.conv(x))), (1, 2, 2))


class UpBlock3d(nn.Module):
    """Twice the height and width, convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.BatchNorm3d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in, d, h, w) to (n, out, d, 2 h, 2 w)."""
        return nnf.relu(self.norm(self.conv(nnf.interpolate(x, scale_factor=(1, 2, 2)))))


class Encoder(nn.Module):
    """The way down: keeps what each level gives."""

    def __init__(self, in_channels: int, config: DenseMotionConfig) -> None:
        super().__init__()
        channels = [in_channels] + [level_channels(config, level) for level in range(1, config.num_blocks + 1)]
        self.down_blocks = nn.ModuleList(map(DownBlock3d, channels, channels[1:]))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Returns: the input, then each level, `num_blocks + 1` in all."""
        levels = [x]
        for block in self.down_blocks:
            levels.append(block(levels[-1]))
        return levels


class Decoder(nn.Module):
    """The way up: each level joins what the way down gave at its size."""

    def __init__(self, in_channels: int, config: DenseMotionConfig) -> None:
        super().__init__()
        self.up_blocks = nn.ModuleList()
        for level in reversed(range(config.num_blocks)):
            is_lowest = level == config.num_blocks - 1
            joined = level_channels(config, level + 1) * (1 if is_lowest else 2)
            self.up_blocks.append(UpBlock3d(joined, level_channels(config, level)))
        self.out_channels = config.block_expansion + in_channels
        self.conv = nn.Conv3d(self.out_channels, self.out_channels, 3, padding=1)
        self.norm = nn.BatchNorm3d(self.out_channels)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Args: levels: of the encoder; used up. Returns: shape (n, out_channels, d, h, w)."""
        x = levels.pop()
        for block in self.up_blocks:
            x = torch.cat([block(x), levels.pop()], dim=1)
        return nnf.relu(self.norm(self.conv(x)))


def level_channels(config: DenseMotionConfig, level: int) -> int:
    """Channels of the hourglass's levels below its input; level 0 is what the way up ends with."""
    return min(config.max_features, config.block_expansion << level)


class Hourglass(nn.Module):
    """A 3-D U-Net that leaves the depth as it is."""

    def __init__(self, in_channels: int, config: DenseMotionConfig) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, config)
        self.decoder = Decoder(in_channels, config)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in, d, h, w) to (n, block_expansion + in, d, h, w)."""
        return cast("Tensor", self.decoder(self.encoder(x)))


class DenseMotionNetwork(nn.Module):
    """Finds the deformation: a mixture of the keypoints' motions for each voxel."""

    def __init__(self, num_kp: int, feature_channels: int, config: DenseMotionConfig) -> None:
        super().__init__()
        self.compress = nn.Conv3d(feature_channels, config.compress, 1)
        self.norm = nn.BatchNorm3d(config.compress)
        self.hourglass = Hourglass((1 + num_kp) * (1 + config.compress), config)
        out_channels = self.hourglass.decoder.out_channels
        self.mask = nn.Conv3d(out_channels, 1 + num_kp, 7, padding=3)
        self.occlusion = nn.Conv2d(out_channels * config.reshape_depth, 1, 7, padding=3)

    def forward(self, feature: Tensor, kp_source: Tensor, kp_driving: Tensor) -> tuple[Tensor, Tensor]:
        """Args: feature: shape (b, c, d, h, w); keypoints: shape (b, num_kp, 3), float32.

        Returns: deformation, shape (b, d, h, w, 3); occlusion, shape (b, 1, h, w).
        """
        compressed = nnf.relu(self.norm(self.compress(feature)))  # (b, compress, d, h, w)
        grid = coordinate_grid(feature.shape[2:], feature.device)  # (d, h, w, 3)
        motions = sparse_motion(grid, kp_source, kp_driving)  # (b, 1 + num_kp, d, h, w, 3)
        moved = torch.stack([sample(compressed, one) for one in motions.unbind(1)], dim=1)
        heatmap = keypoint_heatmap(grid, kp_driving) - keypoint_heatmap(grid, kp_source)
        heatmap = nnf.pad(heatmap, (0, 0) * 3 + (1, 0))  # the part that stays has none: (b, 1 + num_kp, d, h, w)
        # Of each keypoint its heatmap and then its moved features: (b, (1 + num_kp) * (1 + compress), d, h, w).
        prediction = self.hourglass(torch.cat([heatmap.unsqueeze(2), moved], dim=2).flatten(1, 2))

        mask = self.mask(prediction).softmax(dim=1)  # (b, 1 + num_kp, d, h, w)
        deformation = (mask.unsqueeze(-1) * motions).sum(dim=1)  # (b, d, h, w, 3)
        # Channels first, then slices: (b, out_channels * d, h, w).
        occlusion = torch.sigmoid(self.occlusion(prediction.flatten(1, 2)))
        return deformation, occlusion


class WarpingNetwork(nn.Module):
    """W. `WarpingNetwork(OFFICIAL.warping)` has the published checkpoint's keys and shapes."""

    def __init__(self, config: WarpingConfig) -> None:
        super().__init__()
        self.dense_motion_network = DenseMotionNetwork(config.num_kp, config.reshape_channel, config.dense_motion)
        self.third = SameBlock2d(config.max_features, config.out_channels)
        self.fourth = nn.Conv2d(config.out_channels, config.out_channels, 1)

    def forward(self, feature: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Warped:
        """Move the features.

        Args:
            feature: of F, shape (batch, channels, depth, height, width).
            kp_source: shape (batch, num_kp, 3), float32; kp_driving: the same.
        """
        deformation, occlusion = self.dense_motion_network(feature, kp_source, kp_driving)
        moved = sample(feature, deformation)  # (b, c, d, h, w)
        out = self.fourth(self.third(moved.flatten(1, 2)))  # (b, out_channels, h, w)
        return Warped(out * occlusion, occlusion, deformation)
