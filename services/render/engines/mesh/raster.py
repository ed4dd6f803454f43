"""Compiled loops: triangles to a map of source places."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

# cv2.remap's fixed-point maps: whole pixels, and a fraction in 1/32 of a pixel.
_STEPS = 32


def identity_maps(width: int, height: int, offset: int) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
    """Fixed-point maps for cv2.remap that show the source from (offset, offset) on.

    Returns: shape (height, width, 2), x and y; shape (height, width), fractions.
    """
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x + offset, y + offset], -1).astype(np.int16), np.zeros((height, width), np.uint16)


@njit(cache=True, fastmath=True, nogil=True)
def raster(triangles: Any, target: Any, source: Any, whole: Any, fraction: Any) -> None:
    """Write, for each pixel under a triangle, the source place that it shows; later triangles win.

    Args:
        triangles: shape (n, 3), the farthest first.
        target: shape (points, 2), where the points are in the frame.
        source: shape (points, 2), where they are in the source.
        whole, fraction: fixed-point maps of cv2.remap, changed in place.
    """
    height, width = fraction.shape
    for k in range(triangles.shape[0]):
        a, b, c = triangles[k, 0], triangles[k, 1], triangles[k, 2]
        x0, y0, x1, y1, x2, y2 = target[a, 0], target[a, 1], target[b, 0], target[b, 1], target[c, 0], target[c, 1]
        area = (y1 - y2) * (x0 - x2) + (x2 - x1) * (y0 - y2)
        if abs(area) < 1e-3:
            continue
        inverse = 1.0 / area
        left = max(0, math.ceil(min(x0, x1, x2) - 0.01))
        right = min(width - 1, math.floor(max(x0, x1, x2) + 0.01))
        top = max(0, math.ceil(min(y0, y1, y2) - 0.01))
        bottom = min(height - 1, math.floor(max(y0, y1, y2) + 0.01))
        if left > right or top > bottom:
            continue
        u0, v0, u1, v1, u2, v2 = source[a, 0], source[a, 1], source[b, 0], source[b, 1], source[c, 0], source[c, 1]
        # Barycentric weights and source places are linear along a row.
        da, db = (y1 - y2) * inverse, (y2 - y0) * inverse
        du = _STEPS * (da * (u0 - u2) + db * (u1 - u2))
        dv = _STEPS * (da * (v0 - v2) + db * (v1 - v2))
        for y in range(top, bottom + 1):
            wa = ((y1 - y2) * (left - x2) + (x2 - x1) * (y - y2)) * inverse
            wb = ((y2 - y0) * (left - x2) + (x0 - x2) * (y - y2)) * inverse
            # The part of the row where all three weights are at least 0 (with a hair's tolerance at the edges).
            first, last = 0.0, float(right - left)
            for weight, slope in ((wa, da), (wb, db), (1.0 - wa - wb, -da - db)):
                at = weight + 1e-3
                if slope > 1e-12:
                    first = max(first, -at / slope)
                elif slope < -1e-12:
                    last = min(last, -at / slope)
                elif at < 0.0:
                    last = -1.0
            if first > last:
                continue
            begin, end = math.ceil(first), math.floor(last)
            wc = 1.0 - wa - wb
            u = _STEPS * (wa * u0 + wb * u1 + wc * u2) + du * begin + 0.5
            v = _STEPS * (wa * v0 + wb * v1 + wc * v2) + dv * begin + 0.5
            for x in range(left + begin, left + end + 1):
                iu, iv = int(u), int(v)
                whole[y, x, 0] = iu >> 5
                whole[y, x, 1] = iv >> 5
                fraction[y, x] = ((iv & 31) << 5) | (iu & 31)
                u += du
                v += dv
