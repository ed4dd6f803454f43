"""Fills the hidden parts of a picture from what is around them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def _relax(image: Any, known: Any, rounds: int) -> None:
    height, width, channels = image.shape
    for _ in range(rounds):
        for y in range(height):
            for x in range(width):
                if known[y, x]:
                    continue
                for c in range(channels):
                    total, count = 0.0, 0
                    if x > 0:
                        total += image[y, x - 1, c]
                        count += 1
                    if x < width - 1:
                        total += image[y, x + 1, c]
                        count += 1
                    if y > 0:
                        total += image[y - 1, x, c]
                        count += 1
                    if y < height - 1:
                        total += image[y + 1, x, c]
                        count += 1
                    # Over-relaxation: Gauss-Seidel alone would need some thousand rounds.
                    image[y, x, c] += 1.8 * (total / count - image[y, x, c])


def membrane(image: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The smoothest picture that keeps what is known: a solution of Laplace's equation, without seams.

    Args: image: shape (h, w, channels); known: shape (h, w), at least one pixel true.
    """
    filled = image.copy()
    weight = known.astype(np.float32)
    spread = max(image.shape[:2]) / 6
    total = cv2.GaussianBlur(weight, (0, 0), spread) + 1e-6
    start = cv2.GaussianBlur(image * weight[..., None], (0, 0), spread) / total[..., None]
    filled[~known] = start[~known]
    _relax(filled, known, 80)
    return filled
