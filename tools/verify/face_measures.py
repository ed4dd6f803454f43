"""A drawn face in figures, from its 478 landmarks: independent of the engine that drew it.

Points are those of MediaPipe's face mesh. Distances are shares of the distance between the outer corners of the eyes,
so that the size of the picture does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.render.engines.liveportrait.ratios import ratios_of_mesh

# The outer eye corners as the viewer sees them, left first; then what is measured against them.
_EYE_CORNERS = (33, 263)
_MOUTH_CORNERS, _LIPS = (61, 291), (13, 14)
_BROWS, _LIDS = (105, 334), (159, 386)
_IRISES = ((468, (33, 133)), (473, (362, 263)))
_NOSE, _CHEEKS, _BROW_MIDDLE, _CHIN = 1, (234, 454), 10, 152


@dataclass(frozen=True, slots=True)
class FaceMeasures:
    """Of one picture. Left and right are the viewer's.

    Attributes:
        lips, eye_left, eye_right: how open they are, as `Ratios`.
        mouth_width: between its corners.
        mouth_corners: how far above the middle of the lips they are; negative where they hang.
        brows: how far above the upper lids they are.
        gaze_x, gaze_y: place of the irises between the corners of their eyes, to the right and up, in eye widths.
        turned: how far the nose is right of the middle of the cheeks; tilted: how far down between brow and chin it is.
        rolled: degrees, clockwise.
    """

    lips: float
    eye_left: float
    eye_right: float
    mouth_width: float
    mouth_corners: float
    brows: float
    gaze_x: float
    gaze_y: float
    turned: float
    tilted: float
    rolled: float


def measures_of(points: NDArray[np.float32]) -> FaceMeasures:
    """Args: points: shape (478, 3), in pixels."""
    flat = points[:, :2].astype(np.float64)
    across = flat[_EYE_CORNERS[1]] - flat[_EYE_CORNERS[0]]
    unit = float(np.hypot(*across))
    right = across / unit
    up = np.array([right[1], -right[0]])

    def middle(pair: tuple[int, int]) -> NDArray[np.float64]:
        return np.asarray((flat[pair[0]] + flat[pair[1]]) / 2)

    def along(direction: NDArray[np.float64], begin: NDArray[np.float64], end: NDArray[np.float64]) -> float:
        return float((end - begin) @ direction)

    gaze = np.zeros(2)
    for iris, (first, second) in _IRISES:
        width = float(np.hypot(*(flat[second] - flat[first])))
        offset = flat[iris] - middle((first, second))
        gaze += np.array([offset @ right, offset @ up]) / width / 2
    ratios = ratios_of_mesh(points)
    height = along(-up, flat[_BROW_MIDDLE], flat[_CHIN])
    return FaceMeasures(
        *(ratios.lips, ratios.eye_left, ratios.eye_right),
        mouth_width=along(right, flat[_MOUTH_CORNERS[0]], flat[_MOUTH_CORNERS[1]]) / unit,
        mouth_corners=along(up, middle(_LIPS), middle(_MOUTH_CORNERS)) / unit,
        brows=along(up, middle(_LIDS), middle(_BROWS)) / unit,
        gaze_x=float(gaze[0]),
        gaze_y=float(gaze[1]),
        turned=along(right, middle(_CHEEKS), flat[_NOSE]) / unit,
        tilted=along(-up, flat[_BROW_MIDDLE], flat[_NOSE]) / height,
        rolled=float(np.degrees(np.arctan2(across[1], across[0]))),
    )
