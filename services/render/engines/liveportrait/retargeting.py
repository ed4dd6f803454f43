"""S and the two retargeters: small networks that shift driven keypoints, so that shoulders stay and eyes and lip obey.

Source: "LivePortrait", section 3.3.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from services.render.engines.liveportrait.config import MlpConfig


class Mlp(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, config: MlpConfig) -> None:
        super().__init__()
        *hidden, last = pairwise((config.input_size, *config.hidden_sizes, config.output_size))
        layers: list[nn.Module] = []
        for fan_in, fan_out in hidden:
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(*last))

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: shape (b, input_size). Returns: shape (b, output_size)."""
        out: Tensor = self.mlp(x)
        return out


def stitch(stitching: Mlp, x_s: Tensor, x_d: Tensor) -> Tensor:
    """Driven keypoints, shifted so that shoulders and neck stay where the source has them.

    Args:
        x_s, x_d: shape (b, k, 3), of the source and driven.
    Returns: shape (b, k, 3).
    """
    shift = stitching(torch.cat([x_s.flatten(1), x_d.flatten(1)], dim=1))  # (b, 3 k + 2)
    each, together = shift[:, :-2].view_as(x_d), shift[:, -2:]
    return torch.add(x_d + each, nnf.pad(together, (0, 1))[:, None])


def retarget(network: Mlp, x_s: Tensor, ratios: Tensor) -> Tensor:
    """What to add to driven keypoints so that the source's eyes or lips open as wide as is wanted.

    Args:
        network: that of the eyes or of the lip.
        x_s: shape (b, k, 3), of the source.
        ratios: shape (b, 3) for the eyes: left, right, wanted for both; (b, 2) for the lip: the source's, wanted.
    Returns: shape (b, k, 3).
    """
    shift: Tensor = network(torch.cat([x_s.flatten(1), ratios], dim=1))
    return shift.view_as(x_s)
