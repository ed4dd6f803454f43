"""M, the motion extractor: canonical keypoints, head pose, expression, scale and translation of a face.

Source: "LivePortrait", section 3.2; the backbone is Woo et al., "ConvNeXt V2", 2023, https://arxiv.org/abs/2301.00808.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from services.render.engines.liveportrait.config import MotionConfig
from services.render.engines.liveportrait.keypoints import Face, degrees_of_bins

_BINS = 66
_EPS = 1e-6


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel, (b, channels, height, width)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GlobalResponseNorm(nn.Module):
    """Each channel, weighted by its share in the energy of the whole map, (b, height, width, channels)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        energy = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)  # (b, 1, 1, channels)
        response = energy / (energy.mean(dim=-1, keepdim=True) + _EPS)
        out: Tensor = self.gamma * (x * response) + self.beta + x
        return out


class Block(nn.Module):
    """ConvNeXt V2 block: each channel's 7x7 neighbourhood, then four times the channels for each pixel and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=_EPS)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.grn = GlobalResponseNorm(4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dwconv(x).permute(0, 2, 3, 1)  # (b, height, width, channels)
        y = nnf.gelu(self.pwconv1(self.norm(y)))
        y = self.pwconv2(self.grn(y))
        out: Tensor = x + y.permute(0, 3, 1, 2)
        return out


class Detector(nn.Module):
    """The backbone, and a linear head for each quantity."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        dims = config.dims
        stem = nn.Sequential(nn.Conv2d(3, dims[0], 4, stride=4), ChannelNorm(dims[0], eps=_EPS))
        self.downsample_layers = nn.ModuleList([stem])
        for narrow, wide in pairwise(dims):
            halve = nn.Sequential(ChannelNorm(narrow, eps=_EPS), nn.Conv2d(narrow, wide, 2, stride=2))
            self.downsample_layers.append(halve)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(dim) for _ in range(depth))) for dim, depth in zip(dims, config.depths, strict=True)
        )
        self.norm = nn.LayerNorm(dims[-1], eps=_EPS)
        self.fc_kp = nn.Linear(dims[-1], 3 * config.num_kp)
        self.fc_scale = nn.Linear(dims[-1], 1)
        self.fc_pitch = nn.Linear(dims[-1], _BINS)
        self.fc_yaw = nn.Linear(dims[-1], _BINS)
        self.fc_roll = nn.Linear(dims[-1], _BINS)
        self.fc_t = nn.Linear(dims[-1], 3)
        self.fc_exp = nn.Linear(dims[-1], 3 * config.num_kp)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = image  # (b, 3, 256, 256)
        for shrink, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(shrink(x))  # (b, 96, 64, 64), (b, 192, 32, 32), (b, 384, 16, 16), (b, 768, 8, 8)
        x = self.norm(x.mean(dim=(-2, -1)))  # (b, 768)
        return {
            "kp": self.fc_kp(x),  # (b, 63)
            "pitch": self.fc_pitch(x),  # (b, 66)
            "yaw": self.fc_yaw(x),  # (b, 66)
            "roll": self.fc_roll(x),  # (b, 66)
            "exp": self.fc_exp(x),  # (b, 63)
            "scale": self.fc_scale(x),  # (b, 1)
            "t": self.fc_t(x),  # (b, 3)
        }


class MotionExtractor(nn.Module):
    """M."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        self.detector = Detector(config)
        self._keypoints = (config.num_kp, 3)

    def forward(self, image: Tensor) -> Face:
        """Args: image: shape (b, 3, size, size), RGB in [0, 1]. Returns: float32, whatever the weights are."""
        raw: dict[str, Tensor] = {name: value.float() for name, value in self.detector(image).items()}
        return Face(
            kp=raw["kp"].view(-1, *self._keypoints),
            pitch=degrees_of_bins(raw["pitch"]),
            yaw=degrees_of_bins(raw["yaw"]),
            roll=degrees_of_bins(raw["roll"]),
            exp=raw["exp"].view(-1, *self._keypoints),
            scale=raw["scale"],
            t=raw["t"],
        )
