"""What both sides are asked: random portraits, and one frame driven by parameters beside one driven by a video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Probe:
    """Two portraits; the first is driven by parameters, the second relatively, by a picture against an earlier one.

    Attributes:
        portraits_rgb: shape (2, size, size, 3).
        landmarks: shape (2, 203, 2), of the portraits; the first one's lips and both one's eyes are open.
        exp: shape (1, 21, 3), added to the first portrait's expression.
        pitch, yaw, roll: degrees added to the first portrait's pose.
        scale: multiplies the first portrait's.
        eye_ratio, lip_ratio: wanted of the first portrait.
        driving_rgb: shape (2, size, size, 3), the first picture of a video and another one.
    """

    portraits_rgb: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    exp: NDArray[np.float32]
    pitch: float
    yaw: float
    roll: float
    scale: float
    eye_ratio: float
    lip_ratio: float
    driving_rgb: NDArray[np.uint8]


def make_probe(size: int, seed: int) -> Probe:
    """Args: size: edge of the images, a multiple of 8."""
    rng = np.random.default_rng(seed)
    # Areas of one colour with a texture on them.
    coarse = rng.random((4, 8, 8, 3)).repeat(size // 8, axis=1).repeat(size // 8, axis=2)
    images = (255.0 * (0.8 * coarse + 0.2 * rng.random((4, size, size, 3)))).astype(np.uint8)
    return Probe(
        portraits_rgb=images[:2],
        landmarks=rng.random((2, 203, 2)).astype(np.float32),
        exp=(0.03 * (2.0 * rng.random((1, 21, 3)) - 1.0)).astype(np.float32),
        pitch=6.0,
        yaw=-9.0,
        roll=4.0,
        scale=1.05,
        eye_ratio=0.1,
        lip_ratio=0.3,
        driving_rgb=images[2:],
    )
