"""Whether a face that was found is a person's: what the detector's score alone does not tell.

The thresholds lie between what was measured on 250 portraits, photographs and paintings of people of many kinds, and
on 60 pictures of animals and a statue, also darkened, blurred, in grey and tilted. The colour of a skin plays no part.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from services.render.landmarks import IRIS_POINTS, MESH_POINTS, FaceLandmarker, Image, Points

# People reach 17 and more, half as much again in a good picture; animals stay below 12.
_MIN_PRESENCE = 13.0
# Statues fall short of both; people, also with their eyes shut, of one at most.
_MIN_SURROUNDINGS, _MIN_IRIS_CONTRAST = 0.84, 0.0
# The lids, as indices into the mesh, the person's right eye first.
_LIDS = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)
# Width of an eye, in pixels, at which its parts are told apart.
_EYE_EDGE = 60
_MIN_PIXELS = 5


@dataclass(frozen=True, slots=True)
class Likeness:
    """How much a face is like a person's.

    Attributes:
        presence: how sure the landmark model is of its points, as a logit: the mean of several looks.
        surroundings: how sure the detector is of a face when it also sees the head and shoulders around it, 0 to 1.
        iris_contrast: how much darker the irises are than what is beside them, -1 to 1; 0 where nothing can be told.
    """

    presence: float
    surroundings: float
    iris_contrast: float

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why it may not be a person's face, a sentence each."""
        if self.presence < _MIN_PRESENCE:
            return ("Its features do not sit as a person's do; it may be an animal's face.",)
        if self.surroundings < _MIN_SURROUNDINGS and self.iris_contrast < _MIN_IRIS_CONTRAST:
            return ("Its eyes show no iris and its head is unlike a person's; it may be a statue's face.",)
        return ()


def likeness_of(landmarker: FaceLandmarker, image_rgb: Image, points: Points) -> Likeness:
    """Args: points: shape (478, 3), the landmarks of the face in pixels of the picture."""
    return Likeness(
        landmarker.presence(image_rgb, points), landmarker.surroundings(image_rgb, points), _contrast(image_rgb, points)
    )


def _contrast(image_rgb: Image, points: Points) -> float:
    """The mean of both eyes."""
    grey = np.asarray(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    irises = points[MESH_POINTS:, :2].reshape(2, IRIS_POINTS, 2)
    found = [_contrast_of(grey, points[list(lids), :2], iris) for lids, iris in zip(_LIDS, irises, strict=True)]
    told = [contrast for contrast in found if contrast is not None]
    return float(np.mean(told)) if told else 0.0


def _contrast_of(grey: Image, lids: NDArray[np.float32], iris: NDArray[np.float32]) -> float | None:
    """Args: lids: shape (16, 2), their outline; iris: shape (5, 2), its centre first."""
    low = np.maximum(np.floor(lids.min(0) - 3), 0).astype(int)
    high = np.minimum(np.ceil(lids.max(0) + 3).astype(int), grey.shape[::-1])
    if (high <= low).any():
        return None
    eye = grey[low[1] : high[1], low[0] : high[0]]
    scale = max(1.0, _EYE_EDGE / eye.shape[1])
    eye = np.asarray(cv2.resize(eye, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8)
    open_part = np.zeros(eye.shape, np.uint8)
    cv2.fillPoly(open_part, [((lids - low) * scale).astype(np.int32)], (1,))
    y, x = np.mgrid[: eye.shape[0], : eye.shape[1]]
    centre = (iris[0] - low) * scale
    radius = float(np.hypot(*(iris[1:] - iris[0]).T).mean()) * scale
    distance = np.hypot(x - centre[0], y - centre[1])
    inside, beside = (open_part > 0) & (distance < 0.85 * radius), (open_part > 0) & (distance > 1.15 * radius)
    if min(np.count_nonzero(inside), np.count_nonzero(beside)) < _MIN_PIXELS:
        return None
    dark, light = float(np.median(eye[inside])), float(np.median(eye[beside]))
    return (light - dark) / (light + dark + 1.0)
