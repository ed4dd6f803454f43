"""All networks of LivePortrait, built from their sizes."""

from __future__ import annotations

from torch import nn

from services.render.engines.liveportrait.appearance import AppearanceExtractor
from services.render.engines.liveportrait.config import LivePortraitConfig
from services.render.engines.liveportrait.generator import SpadeGenerator
from services.render.engines.liveportrait.motion import MotionExtractor
from services.render.engines.liveportrait.retargeting import Mlp
from services.render.engines.liveportrait.warping import WarpingNetwork


class Networks(nn.Module):
    """Each under the name that it has in `checkpoint.FILES`, with torch's initial weights.

    One alone is built from its own part of the sizes: `WarpingNetwork(OFFICIAL.warping)`.
    """

    def __init__(self, config: LivePortraitConfig) -> None:
        super().__init__()
        self.config = config
        self.appearance = AppearanceExtractor(config.appearance)  # F
        self.motion = MotionExtractor(config.motion)  # M
        self.warping = WarpingNetwork(config.warping)  # W
        self.generator = SpadeGenerator(config.generator)  # G
        self.stitching = Mlp(config.stitching)  # S
        self.eye = Mlp(config.eye)
        self.lip = Mlp(config.lip)
