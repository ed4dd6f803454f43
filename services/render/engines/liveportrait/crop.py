"""Where the part of a picture that the networks see lies: a square around the face, placed as in the official code.

Source: the framing (sizes, shifts, axes) is that of the published code, which reads it off the 106 landmarks of
InsightFace or the 203 of its own. From the embedded 478 landmarks the same points are taken as far as they decide the
square: the upper row of the brows, the lower face oval, the lids' middles and corners, the corners of the mouth. Held
against the 106 points that InsightFace's documentation shows on the six faces of its example picture, the square's edge
is 0.94 to 1.04 of theirs (1.00 in the mean), and its centre lies within 0.05 of the extent (0.02 of the crop's edge).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError

# Edge of a face as it is cut.
CROP_EDGE = 512

Image = NDArray[np.uint8]
# Shape (2, 3): x' = m[:, :2] @ x + m[:, 2], whole numbers being the centres of pixels.
Matrix = NDArray[np.float64]

_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
# From the temple along the chin to the other temple.
_JAW = (
    *(356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127),
)
# Corners and middles of the lids, of either eye.
_LIDS = ((33, 133, 159, 145), (263, 362, 386, 374))
_MOUTH_CORNERS = (61, 291)
# The same in InsightFace's markup of 106 points.
_LIDS_106 = ((35, 39, 40, 33), (93, 89, 94, 87))
_MOUTH_CORNERS_106 = (52, 61)
# And in LivePortrait's own of 203.
_LIDS_203 = ((0, 6, 12, 18), (24, 30, 36, 42))
_MOUTH_CORNERS_203 = (48, 66)


@dataclass(frozen=True, slots=True)
class FaceOutline:
    """What decides where the square lies, in pixels.

    Attributes:
        points: shape (n, 2), brows, sides of the face and chin: the extent counts.
        eyes: shape (2,), the middle between the eyes.
        mouth: shape (2,), the middle between the corners of the mouth.
    """

    points: NDArray[np.float64]
    eyes: NDArray[np.float64]
    mouth: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Framing:
    """How much of a picture is taken: the edge by the face's extent, and how far up its middle lies, by that edge."""

    scale: float
    up: float


SOURCE = Framing(2.3, 0.125)
DRIVING = Framing(2.2, 0.1)


@dataclass(frozen=True, slots=True)
class Square:
    """A turned square of a picture. Unit: pixels; angle in radians, clockwise as the viewer sees it."""

    x: float
    y: float
    edge: float
    angle: float = 0.0

    def from_picture(self, out_edge: int) -> Matrix:
        """The way from the picture's pixels to those of the square, cut out with `out_edge` pixels."""
        scale = out_edge / self.edge
        cos, sin = scale * math.cos(self.angle), scale * math.sin(self.angle)
        half = out_edge / 2
        return np.array(
            [[cos, sin, half - cos * self.x - sin * self.y], [-sin, cos, half + sin * self.x - cos * self.y]]
        )


def outline_of_mesh(points: NDArray[np.float32]) -> FaceOutline:
    """Args: points: shape (478, 2 or more), the embedded landmarks in pixels."""
    return _outline(points, [*_BROWS, *_JAW], _LIDS, _MOUTH_CORNERS)


def outline_of_106(points: NDArray[np.float32]) -> FaceOutline:
    """Args: points: shape (106, 2), InsightFace's landmarks in pixels."""
    return _outline(points, list(range(106)), _LIDS_106, _MOUTH_CORNERS_106)


def outline_of_203(points: NDArray[np.float32]) -> FaceOutline:
    """Args: points: shape (203, 2), LivePortrait's landmarks in pixels."""
    return _outline(points, list(range(203)), _LIDS_203, _MOUTH_CORNERS_203)


def _outline(
    points: NDArray[np.float32], extent: list[int], lids: tuple[tuple[int, ...], ...], corners: tuple[int, ...]
) -> FaceOutline:
    exact = points[:, :2].astype(np.float64)
    eyes = np.mean([exact[list(lid)].mean(axis=0) for lid in lids], axis=0)
    return FaceOutline(exact[extent], eyes, exact[list(corners)].mean(axis=0))


def square_around(outline: FaceOutline, framing: Framing) -> Square:
    """The square of a portrait: level with the face, whose own axis runs from the eyes to the mouth.

    Raises: InvalidRequestError if the landmarks are no face: without extent, or not finite.
    """
    down = outline.mouth - outline.eyes
    length = float(np.hypot(*down))
    if not np.isfinite(outline.points).all() or not length > 1e-3:
        raise InvalidRequestError("the landmarks of the face have no extent; use a picture with a whole face")
    down = down / length
    axes = np.array([[down[1], -down[0]], down])  # to the right, down; as the face has them
    level = outline.points @ axes.T
    low, high = level.min(axis=0), level.max(axis=0)
    edge = framing.scale * float((high - low).max())
    x, y = axes.T @ ((low + high) / 2) - framing.up * edge * down
    return Square(float(x), float(y), edge, math.atan2(axes[0, 1], axes[0, 0]))


def upright_square_around(outlines: Sequence[FaceOutline], framing: Framing) -> Square:
    """One square for all frames of a video: the mean of theirs, upright, so that the head moves and turns in it.

    Raises: InvalidRequestError as of `square_around`.
    """
    squares = [square_around(outline, framing) for outline in outlines]
    x, y, edge = np.mean([(square.x, square.y, square.edge) for square in squares], axis=0)
    return Square(float(x), float(y), float(edge))


def cut(image_rgb: Image, square: Square, out_edge: int = CROP_EDGE) -> Image:
    """A square of a picture, shape (out_edge, out_edge, 3); what lies outside of the picture is black.

    Args: image_rgb: shape (height, width, 3).
    """
    matrix = square.from_picture(out_edge)
    shrink = 2 * out_edge / square.edge
    if shrink < 1.0:
        # Without this low-pass the cut of a large picture would be aliased.
        height, width = image_rgb.shape[:2]
        size = (max(round(width * shrink), 1), max(round(height * shrink), 1))
        image_rgb = np.asarray(cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        grown = np.array([width / size[0], height / size[1]])
        # Pixel centres, not corners, keep their place.
        matrix[:, 2] += matrix[:, :2] @ ((grown - 1) / 2)
        matrix[:, :2] *= grown
    return np.asarray(cv2.warpAffine(image_rgb, matrix, (out_edge, out_edge), flags=cv2.INTER_LINEAR), np.uint8)


def network_input(crop_rgb: Image, image_size: int) -> Image:
    """What F and M read of a cut face, shape (image_size, image_size, 3).

    Args:
        crop_rgb: shape (CROP_EDGE, CROP_EDGE, 3).
        image_size: of the networks' config; 256 officially.
    """
    return np.asarray(cv2.resize(crop_rgb, (image_size, image_size), interpolation=cv2.INTER_AREA), np.uint8)
