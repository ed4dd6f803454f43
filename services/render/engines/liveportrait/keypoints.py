"""The maths of implicit keypoints: head pose, expression, driving, ratios. Pure functions on float32 tensors.

A keypoint is a row vector (x to the right, y down, z into the picture), the picture being [-1, 1] wide; every tensor
has the batch as its first axis, and each row of a batch is independent of the others. k is the number of keypoints.

Source: "LivePortrait", equations 2 to 9; where the published code differs from the paper, as the code does.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Which keypoints move a region of the face, by the official code.
LIP_KEYPOINTS = (6, 12, 14, 17, 19, 20)
EYE_KEYPOINTS = (11, 13, 15, 16, 18)
# What absolute driving takes from the driving face: these wholly, and these axes (x, y, z as 0, 1, 2) of others.
_ABSOLUTE_KEYPOINTS = (1, 2, 6, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)
_ABSOLUTE_AXES = ((3, 1), (4, 1), (5, 2), (8, 2), (9, 1), (9, 2))


@dataclass(frozen=True, slots=True)
class Face:
    """What M reads off a picture.

    Attributes:
        kp: shape (b, k, 3), the canonical keypoints: of this person, without pose and expression.
        pitch, yaw, roll: shape (b,), degrees.
        exp: shape (b, k, 3), what the expression adds to each keypoint after the rotation.
        scale: shape (b, 1).
        t: shape (b, 3), translation; its z is read by nothing.
    """

    kp: Tensor
    pitch: Tensor
    yaw: Tensor
    roll: Tensor
    exp: Tensor
    scale: Tensor
    t: Tensor

    @property
    def motion(self) -> Motion:
        return Motion(rotation_matrix(self.pitch, self.yaw, self.roll), self.exp, self.scale, self.t)


@dataclass(frozen=True, slots=True)
class Motion:
    """Where a face's keypoints are, whosever they are: what an official motion template holds for a frame.

    Attributes:
        rotation: shape (b, 3, 3), for row vectors: `kp @ rotation`.
        exp: shape (b, k, 3).
        scale: shape (b, 1).
        t: shape (b, 3).
    """

    rotation: Tensor
    exp: Tensor
    scale: Tensor
    t: Tensor


def degrees_of_bins(logits: Tensor) -> Tensor:
    """The expected angle of a distribution over 66 bins, 3 degrees each, from -97.5 on.

    Args:
        logits: shape (b, 66).
    Returns: shape (b,).
    """
    probability = logits.float().softmax(dim=1)
    bins = torch.arange(logits.shape[1], device=logits.device, dtype=torch.float32)
    return (probability @ bins) * 3.0 - 97.5


def rotation_matrix(pitch: Tensor, yaw: Tensor, roll: Tensor) -> Tensor:
    """The rotation of a head, for row vectors: the transpose of Rz(roll) Ry(yaw) Rx(pitch), all right-handed.

    Args:
        pitch, yaw, roll: shape (b,), degrees.
    Returns: shape (b, 3, 3).
    """
    x, y, z = (torch.deg2rad(angle) for angle in (pitch, yaw, roll))
    (sx, cx), (sy, cy), (sz, cz) = ((angle.sin(), angle.cos()) for angle in (x, y, z))
    # A row here is a column of the product.
    rows = (
        (cz * cy, sz * cy, -sy),
        (cz * sy * sx - sz * cx, sz * sy * sx + cz * cx, cy * sx),
        (cz * sy * cx + sz * sx, sz * sy * cx - cz * sx, cy * cx),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def place(kp: Tensor, motion: Motion) -> Tensor:
    """Canonical keypoints, moved: scale * (kp @ rotation + exp), then shifted in x and y; t's z is dropped.

    Args:
        kp: shape (b, k, 3), or (1, k, 3) for all of a batch.
    Returns: shape (b, k, 3).
    """
    moved: Tensor = motion.scale[:, :, None] * (kp @ motion.rotation + motion.exp)
    shift = torch.cat([motion.t[:, :2], torch.zeros_like(motion.t[:, 2:])], dim=1)
    return moved + shift[:, None]


def edited(
    face: Face,
    *,
    exp: Tensor | None = None,
    pitch: Tensor | float = 0.0,
    yaw: Tensor | float = 0.0,
    roll: Tensor | float = 0.0,
    scale: Tensor | float = 1.0,
) -> Motion:
    """Driving by parameters: a source's own face, changed, as the official app's sliders do.

    Args:
        face: of the source; of one portrait (b = 1) it goes with any batch of parameters.
        exp: shape (b, k, 3), added to the expression.
        pitch, yaw, roll: shape (b,), degrees added to the head's own before the rotation is made.
        scale: shape (b, 1), multiplies.
    """
    changed = face.exp if exp is None else face.exp + exp
    angles = (face.pitch + pitch, face.yaw + yaw, face.roll + roll)
    grown = face.scale * scale
    b = max(map(len, (changed, *angles, grown)))
    rotation = rotation_matrix(*(angle.expand(b) for angle in angles))
    return Motion(rotation, changed.expand(b, -1, -1), grown.expand(b, -1), face.t.expand(b, -1))


def relative(source: Motion, driving: Motion, first: Motion) -> Motion:
    """A video that drives: what changed since its first frame, on top of the source's own motion.

    Args:
        source: of the portrait.
        driving: of the driving frames.
        first: of the first of them.
    """
    rotation = driving.rotation @ first.rotation.mT @ source.rotation
    exp = source.exp + (driving.exp - first.exp)
    scale = source.scale * (driving.scale / first.scale)
    t = source.t + (driving.t - first.t)
    return Motion(rotation, exp, scale, t)


def relative_to_neutral(source: Motion, driving: Motion, neutral_exp: Tensor) -> Motion:
    """A single picture that drives: how its expression differs from a neutral one; the head stays the source's.

    Args:
        neutral_exp: shape (1, k, 3), with closed lips.
    """
    b = len(driving.exp)
    exp = source.exp + (driving.exp - neutral_exp)
    return Motion(source.rotation.expand(b, -1, -1), exp, source.scale.expand(b, -1), source.t.expand(b, -1))


def absolute(source: Motion, driving: Motion) -> Motion:
    """The driving face's own pose, place and expression; of the source stay its scale and the shape of its head."""
    b = len(driving.exp)
    exp = source.exp.expand(b, -1, -1).clone()
    whole = list(_ABSOLUTE_KEYPOINTS)
    exp[:, whole] = driving.exp[:, whole]
    for keypoint, axis in _ABSOLUTE_AXES:
        exp[:, keypoint, axis] = driving.exp[:, keypoint, axis]
    return Motion(driving.rotation, exp, source.scale.expand(b, -1), driving.t)


def amplified(x_s: Tensor, x_d: Tensor, multiplier: Tensor | float) -> Tensor:
    """Driven keypoints, farther from the source's or nearer. Returns: shape (b, k, 3); multiplier 1 changes nothing."""
    return torch.lerp(x_s, x_d, multiplier)


def expression_friendly(x_s: Tensor, x_d: Tensor, x_d_first: Tensor) -> Tensor:
    """The official option of that name: the driving video's motion from the source's place, in the source's size.

    Args:
        x_s: shape (1, k, 3), of the source.
        x_d: shape (b, k, 3), driven relatively.
        x_d_first: shape (1, k, 3), `x_d` of the video's first frame.
    """
    size: float = (hull_volume(x_s[0].cpu().numpy()) / hull_volume(x_d_first[0].cpu().numpy())) ** 0.5
    return torch.add(x_s, x_d - x_d_first, alpha=size)


def hull_volume(points: NDArray[np.floating]) -> float:
    """The volume of the convex hull of a few points in space, by trying every plane through three of them.

    Args:
        points: shape (n, 3), n up to about 30 (the effort grows with its fourth power).
    Returns: the volume to about a millionth of the cube around the points.
    """
    exact = np.asarray(points, np.float64)
    extent = float(np.ptp(exact, axis=0).max())
    # No four points in a plane: then each facet is one triangle. It moves a volume by about a millionth.
    general = exact + 1e-7 * extent * np.random.default_rng(0).uniform(-1.0, 1.0, exact.shape)
    a, b, c = (general[list(corner)] for corner in zip(*combinations(range(len(general)), 3), strict=True))
    normals = np.cross(b - a, c - a)
    # (triangles, n): on which side of each plane each point lies; the three on it are neither.
    sides = normals @ general.T - np.sum(normals * a, axis=1, keepdims=True)
    margin = 1e-13 * extent**3
    facets = np.all(sides < margin, axis=1) | np.all(sides > -margin, axis=1)
    centre = general.mean(axis=0)
    heights = np.abs(np.sum(normals[facets] * (a[facets] - centre), axis=1))
    return float(heights.sum() / 6.0)


def eye_ratios(landmarks: Tensor) -> Tensor:
    """How open the eyes are, height over width: 0.25 to 0.45 when open, under 0.05 when shut.

    Args:
        landmarks: shape (b, 203, 2), the official landmarks, in any unit.
    Returns: shape (b, 2), left and right.
    """
    return torch.cat([_ratio(landmarks, 6, 18, 0, 12), _ratio(landmarks, 30, 42, 24, 36)], dim=1)


def lip_ratio(landmarks: Tensor) -> Tensor:
    """How open the lips are, height over width: under 0.01 when closed, about 0.67 when wide open.

    Args:
        landmarks: shape (b, 203, 2), the official landmarks, in any unit.
    Returns: shape (b, 1).
    """
    return _ratio(landmarks, 90, 102, 48, 66)


def _ratio(landmarks: Tensor, top: int, bottom: int, left: int, right: int) -> Tensor:
    height = torch.linalg.vector_norm(landmarks[:, top] - landmarks[:, bottom], dim=1, keepdim=True)
    width = torch.linalg.vector_norm(landmarks[:, left] - landmarks[:, right], dim=1, keepdim=True)
    return torch.div(height, width + 1e-6)
