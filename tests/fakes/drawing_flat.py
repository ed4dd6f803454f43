"""An engine that draws one colour: as bright as the jaw is open, on the portrait's mean colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.render.blendshapes import INDEX
from services.render.engine import FaceState, FrameRgb, Portrait, PreparedAvatar


@dataclass(frozen=True)
class FlatAvatar:
    colour: tuple[int, int, int]


class FlatEngine:
    """Fast, and honest about the state that it was given."""

    name = "flat"

    def prepare(self, portrait: Portrait) -> FlatAvatar:
        red, green, blue = portrait.image_rgb.reshape(-1, 3).mean(0).astype(int) // 4
        return FlatAvatar((red, green, blue))

    def draw(self, prepared: PreparedAvatar, state: FaceState, size: int) -> FrameRgb:
        assert isinstance(prepared, FlatAvatar)
        jaw = float(state.weights[INDEX["jawOpen"]])
        frame = np.empty((size, size, 3), np.uint8)
        frame[:] = np.array(prepared.colour) + int(jaw * 180)
        return frame
