"""How open eyes and lips are, measured on the embedded landmarks in the unit that the retargeting networks read.

The official unit is height over width on 203 landmarks of a model of its own: `keypoints.eye_ratios` and `lip_ratio`.
Here the same heights and widths are taken from the 478 landmarks, whose lids never quite meet, and corrected by a line.
Fitted to the ratios that five official motion templates hold for each of the 633 frames of the videos that they were
made of: eyes agree to 0.04 (root mean square, both eyes, 0 to 0.57), lips to 0.03 (0 to 0.67). On puckered lips, which
the mesh follows badly, the lip ratio comes out up to 0.25 too high; portraits rarely have them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Of each eye: pairs of upper and lower lid, then the corners. First the eye on the picture's left, as officially.
_EYES = (
    (((159, 145), (158, 153), (160, 144)), (33, 133)),
    (((386, 374), (385, 380), (387, 373)), (263, 362)),
)
_EYE_SLOPE, _EYE_SHUT = 1.5, 0.17
_LIPS, _MOUTH_CORNERS = (13, 14), (61, 291)
_LIPS_CLOSED = 0.02


@dataclass(frozen=True, slots=True)
class Ratios:
    """Of one face; 0 is shut. Eyes that look at the camera have 0.25 to 0.45, a wide mouth about 0.67.

    Attributes:
        eye_left, eye_right: as the viewer sees them.
    """

    eye_left: float
    eye_right: float
    lips: float


def ratios_of_mesh(points: NDArray[np.float32]) -> Ratios:
    """Args: points: shape (478, 2 or more), in any unit."""

    def distance(pair: tuple[int, int]) -> float:
        return float(np.hypot(*(points[pair[0], :2] - points[pair[1], :2])))

    def eye(lids: tuple[tuple[int, int], ...], corners: tuple[int, int]) -> float:
        height = sum(map(distance, lids)) / len(lids)
        return max(_EYE_SLOPE * height / (distance(corners) + 1e-6) - _EYE_SHUT, 0.0)

    left, right = (eye(*side) for side in _EYES)
    return Ratios(left, right, max(distance(_LIPS) / (distance(_MOUTH_CORNERS) + 1e-6) - _LIPS_CLOSED, 0.0))
