"""From a picture to a portrait that can be drawn: one face is chosen, judged, measured and cropped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError
from services.render.engine import FRAME_EDGE, MARGIN, PORTRAIT_EDGE, Portrait
from services.render.landmarks import MESH_POINTS, FaceLandmarker, PersonSegmenter, Points
from services.render.likeness import likeness_of

MIN_FACE_PX = 80
# A face this wide fills its part of the frame without being enlarged.
_SHARP_FACE_PX = 180
_TURNED_DEGREES = 28.0
_TILTED_DEGREES = 20.0
_OPEN_MOUTH = 0.09
# The face's height in the frame, like in a video call.
_FACE_SHARE = 0.44
# Faces are looked for in a picture of this edge at most; their landmarks are then refined in the full one.
_SEARCH_EDGE = 1600


@dataclass(frozen=True, slots=True)
class Examined:
    """A picture that passed.

    Attributes:
        portrait: what is drawn.
        landmarks: shape (468, 2), in pixels of the picture.
        score: how sure the detector was, 0 to 1.
        warnings: what may look wrong, a sentence each.
        doubts: why it may not be a person's face, a sentence each; empty where there is no doubt.
    """

    portrait: Portrait
    landmarks: NDArray[np.float32]
    score: float
    warnings: tuple[str, ...]
    doubts: tuple[str, ...]


class PortraitExaminer:
    """Holds the models that look at portraits; not for use by two threads at once."""

    def __init__(self, data_dir: Path) -> None:
        """Raises: NotReadyError if a model file is missing."""
        self._landmarker = FaceLandmarker(data_dir)
        self._segmenter = PersonSegmenter(data_dir)

    def examine(self, image_rgb: NDArray[np.uint8]) -> Examined:
        """Choose the largest face and crop the picture around it.

        Args: image_rgb: shape (height, width, 3).
        Raises: InvalidRequestError if there is no face, or if it is less than MIN_FACE_PX wide.
        """
        scale = min(1.0, _SEARCH_EDGE / max(image_rgb.shape[:2]))
        small = image_rgb
        if scale < 1.0:
            small = np.asarray(cv2.resize(image_rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        faces = self._landmarker.find(small)
        if not faces:
            raise InvalidRequestError(
                "no face was found in the portrait; send a picture of one person who looks at the camera"
            )
        face = faces[0]
        width = face.width / scale
        if width < MIN_FACE_PX:
            raise InvalidRequestError(
                f"the face is {width:.0f} pixels wide; send a picture in which it has {MIN_FACE_PX} or more"
            )
        points = self._landmarker.refine(image_rgb, (face.points / np.float32(scale)).astype(np.float32))
        warnings = _warnings(points, image_rgb.shape, len(faces))
        crop, crop_points = _crop(image_rgb, points)
        portrait = Portrait(crop, crop_points, self._segmenter.person(crop))
        doubts = likeness_of(self._landmarker, image_rgb, points).doubts
        return Examined(portrait, points[:MESH_POINTS, :2].copy(), face.score, warnings, doubts)


def _warnings(points: Points, shape: tuple[int, ...], face_count: int) -> tuple[str, ...]:
    found = []
    if face_count > 1:
        found.append(f"The picture has {face_count} faces; the largest was taken.")
    width = float(np.ptp(points[:MESH_POINTS, 0]))
    if width < _SHARP_FACE_PX:
        found.append(f"The face is {width:.0f} pixels wide and will look soft; {_SHARP_FACE_PX} or more look better.")
    across = points[263] - points[33]
    down = points[152] - points[10]
    ahead = np.cross(across, down)
    yaw = float(np.degrees(np.arctan2(ahead[0], ahead[2])))
    roll = float(np.degrees(np.arctan2(across[1], across[0])))
    if abs(yaw) > _TURNED_DEGREES:
        found.append(f"The head is turned by about {abs(yaw):.0f} degrees; a face seen from the front moves better.")
    if abs(roll) > _TILTED_DEGREES:
        found.append(f"The head is tilted by about {abs(roll):.0f} degrees; an upright one moves better.")
    gap = float(np.hypot(*(points[13] - points[14])[:2]))
    if gap > _OPEN_MOUTH * float(np.hypot(*(points[291] - points[61])[:2])):
        found.append("The mouth is open; a closed one moves better.")
    lowest, highest = points[:MESH_POINTS, :2].min(0), points[:MESH_POINTS, :2].max(0)
    if (lowest < 0).any() or highest[0] >= shape[1] or highest[1] >= shape[0]:
        found.append("The face is cut off by the picture's edge.")
    return tuple(found)


def _crop(image: NDArray[np.uint8], points: Points) -> tuple[NDArray[np.uint8], Points]:
    """The part of a picture that is drawn, with its margin, and the landmarks in its pixels."""
    low, high = points[:MESH_POINTS, :2].min(0), points[:MESH_POINTS, :2].max(0)
    face_height = float(np.hypot(*(points[152] - points[10])[:2]))
    edge = max(face_height, float(high[0] - low[0]) * 0.9) / _FACE_SHARE
    height, width = image.shape[:2]
    # Rather a narrower view than one beyond the picture's edges, as far as the face leaves the choice.
    edge = max(min(edge, width, height), edge * 0.72)
    x, y = (low + high) / 2
    y += 0.02 * edge
    half = edge / 2
    x = float(np.clip(x, min(half, width / 2), max(width - half, width / 2)))
    y = float(np.clip(y, min(half, height / 2), max(height - half, height / 2)))
    scale = FRAME_EDGE / edge
    source = image
    if scale < 0.5:
        source = np.asarray(cv2.resize(image, None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA), np.uint8)
    ratio = source.shape[1] / width
    matrix = np.array(
        [[scale / ratio, 0, PORTRAIT_EDGE / 2 - x * scale], [0, scale / ratio, PORTRAIT_EDGE / 2 - y * scale]],
        np.float32,
    )
    crop = cv2.warpAffine(
        source,
        matrix,
        (PORTRAIT_EDGE, PORTRAIT_EDGE),
        flags=cv2.INTER_AREA if scale / ratio < 1 else cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    moved = points * np.float32(scale)
    moved[:, :2] += matrix[:, 2]
    assert MARGIN * 2 + FRAME_EDGE == PORTRAIT_EDGE
    return np.asarray(crop, np.uint8), moved
