"""What any engine that draws a face offers: a protocol and its plain value types."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.render.blendshapes import Weights, rest

# Shape (edge, edge, 3), RGB.
FrameRgb = NDArray[np.uint8]

MIN_SIZE = 64
MAX_SIZE = 512


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Degrees from the portrait's own pose: yaw to the viewer's right, pitch up, roll clockwise for the viewer."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0


@dataclass(frozen=True, slots=True)
class FaceState:
    """Everything that changes from frame to frame; the gaze is in the eyeLook weights, 1 being the farthest look."""

    weights: Weights = field(default_factory=rest)
    pose: HeadPose = HeadPose()


@dataclass(frozen=True, slots=True)
class Portrait:
    """A portrait that passed the checks, cropped to the frame with a margin around it.

    Attributes:
        image_rgb: shape (PORTRAIT_EDGE, PORTRAIT_EDGE, 3); the frame is its middle FRAME_EDGE pixels.
        points: shape (478, 3), the landmarks in pixels of `image_rgb`.
        person: shape (PORTRAIT_EDGE, PORTRAIT_EDGE), 0 to 255: how much of a pixel belongs to the person.
    """

    image_rgb: NDArray[np.uint8]
    points: NDArray[np.float32]
    person: NDArray[np.uint8]


FRAME_EDGE = 512
# The head moves: what comes in at the frame's edge is taken from this margin.
MARGIN = 24
PORTRAIT_EDGE = FRAME_EDGE + 2 * MARGIN


class PreparedAvatar(Protocol):
    """What an engine keeps of a portrait to draw it fast; made by `prepare`, opaque to everyone else."""


class RenderEngine(Protocol):
    """Draws faces. Synchronous, called from one thread at a time."""

    @property
    def name(self) -> str:
        """As in the settings."""

    def prepare(self, portrait: Portrait) -> PreparedAvatar:
        """Do once per portrait what every frame needs. Raises: EngineError if the portrait cannot be drawn."""

    def draw(self, prepared: PreparedAvatar, state: FaceState, size: int) -> FrameRgb:
        """One frame, shape (size, size, 3).

        Args:
            prepared: from this engine's `prepare`.
            size: MIN_SIZE to MAX_SIZE, even.
        Returns: a frame that the caller owns.
        """
