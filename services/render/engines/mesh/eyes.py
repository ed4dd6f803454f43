"""Eyes that blink and turn: painted into the portrait before it is warped, so that they follow every motion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from services.render.blendshapes import INDEX, Weights
from services.render.engines.mesh import topology
from services.render.engines.mesh.deltas import smoothstep
from services.render.engines.mesh.fill import membrane

Float = NDArray[np.float32]

# An eyeball's radius is about twice its iris's: this is how far the iris moves at 30 and at 20 degrees.
_REACH_X, _REACH_Y = 1.0, 0.68
_SIDES = ("Right", "Left")


@dataclass(frozen=True, slots=True)
class Eye:
    """One eye, prepared.

    Attributes:
        left, top: where the patch lies in the portrait, in pixels.
        skin: shape (h, w, 3), the lid as it looks when it is shut.
        white: shape (h, w, 3), the eyeball without its iris.
        iris: shape (h, w, 4), the iris where it is in the portrait, and its opacity.
        below_lid: shape (h, w), how far a pixel lies below the upper lid's edge, in pixels.
        opening: shape (h, w), the distance of the lids in a pixel's column.
        fold: shape (h, w), 0 to 1: where the shut lid may cover what is above the open one.
        lash: shape (3,), the colour of the lashes.
        radius: of the iris, in pixels.
        softness: of the portrait's edges, in pixels.
    """

    left: int
    top: int
    skin: Float
    white: Float
    iris: Float
    below_lid: Float
    opening: Float
    fold: Float
    lash: Float
    radius: float
    softness: float


def prepare_eye(image: NDArray[np.uint8], points: NDArray[np.float32], side: int) -> Eye:
    """Args: image: shape (h, w, 3), RGB; points: shape (478, 3), in its pixels; side: 0: the person's right eye."""
    upper = points[list(topology.UPPER_LIDS[side]), :2].astype(np.float64)
    lower = points[list(topology.LOWER_LIDS[side]), :2].astype(np.float64)
    width = float(np.hypot(*(upper[0] - upper[-1])))
    gap = float(np.hypot(*(upper[2:-2] - lower[2:-2]).T).mean())
    brow = points[list(topology.BROWS[side][:5]), 1].min()
    margin_y = float(np.clip(upper[:, 1].min() - brow, 0.3 * width, 0.6 * width))
    x0, y0 = np.floor(np.minimum(upper.min(0), lower.min(0)) - [0.22 * width, margin_y]).astype(int)
    x1, y1 = np.ceil(np.maximum(upper.max(0), lower.max(0)) + np.array([0.22 * width, 0.35 * width])).astype(int)
    x0, y0 = max(x0, 0), max(y0, 0)
    x1, y1 = min(x1, image.shape[1] - 1), min(y1, image.shape[0] - 1)
    patch = image[y0 : y1 + 1, x0 : x1 + 1].astype(np.float32)
    grid_y, grid_x = np.mgrid[0 : patch.shape[0], 0 : patch.shape[1]].astype(np.float64)
    upper, lower = upper - [x0, y0], lower - [x0, y0]

    # Level with the eye: s runs from corner to corner, v across.
    start, end = (upper[0], upper[-1]) if upper[0, 0] < upper[-1, 0] else (upper[-1], upper[0])
    along = (end - start) / width
    across = np.array([-along[1], along[0]])
    s = (grid_x - start[0]) * along[0] + (grid_y - start[1]) * along[1]
    v = (grid_x - start[0]) * across[0] + (grid_y - start[1]) * across[1]
    lid_up, lid_low = (_curve((row - start) @ along, (row - start) @ across, s) for row in (upper, lower))
    opening = np.where((s > 0) & (s < width), np.maximum(lid_low - lid_up, 0.0), 0.0)
    below = v - lid_up

    inside = (below > 0) & (below < opening)
    # The lid's own skin: between its fold and the lower lashes everything is filled from around.
    fold_height = float(np.clip(0.55 * gap, 0.10 * width, 0.26 * width))
    taper = np.clip(opening / (0.6 * gap), 0.0, 1.0)
    ends = smoothstep(s / width, -0.12, 0.05) * (1 - smoothstep(s / width, 0.95, 1.12))
    lash_room = 0.09 * width
    hidden = (below > -fold_height * np.maximum(taper, 0.4)) & (below < opening + lash_room) & (ends > 0.02)
    skin = membrane(patch, ~hidden)
    height = np.clip(below / np.maximum(opening, 1.0), -0.5, 1.2)
    # A lid bulges over the eyeball: lighter on its middle, darker to the lashes and to the fold.
    shade = 1.0 + taper * (0.05 * np.exp(-(((height - 0.25) / 0.35) ** 2)) - 0.10 * smoothstep(height, 0.45, 1.1))
    grain = patch - cv2.GaussianBlur(patch, (0, 0), 1.6)
    known = ~hidden & (np.abs(grain).max(-1) < 24)
    strength = grain[known].std() if known.any() else 0.0
    noise = np.random.default_rng(side).normal(0.0, 1.0, patch.shape[:2]).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 0.8) * 2.2 * min(float(strength), 5.0)
    skin = np.clip(skin * shade[..., None] + noise[..., None], 0, 255)

    fold = smoothstep(below, -fold_height, -0.25 * fold_height) * np.sqrt(taper) * ends
    fold = np.where(below > 0, ends, fold)
    rim = patch[(np.abs(below) < 0.06 * width) & (opening > 0.4 * gap)]
    luma = rim.mean(-1)
    lash = rim[luma <= np.percentile(luma, 20)].mean(0) * 0.8 if len(rim) else skin.mean((0, 1)) * 0.3
    white, iris, radius = _eyeball(patch, points, side, (x0, y0), inside & (below > 1.0) & (opening - below > 1.0))
    return Eye(
        left=int(x0),
        top=int(y0),
        skin=_plane(skin),
        white=_plane(white),
        iris=_plane(iris),
        below_lid=_plane(below),
        opening=_plane(opening),
        fold=_plane(fold),
        lash=_plane(lash),
        radius=radius,
        softness=max(1.0, 0.035 * width),
    )


def _plane(values: Any) -> Float:
    return np.ascontiguousarray(values, np.float32)


def _curve(x: Any, y: Any, at: Any) -> Any:
    """A smooth curve through the points of a lid, level outside of its ends."""
    order = np.argsort(x)
    x, y = x[order], y[order]
    fine = np.linspace(x[0], x[-1], 61)
    line = np.interp(fine, x, y)
    soft = np.convolve(np.pad(line, 4, mode="reflect", reflect_type="odd"), np.hanning(11)[1:-1] / 5.0, mode="valid")
    return np.interp(at, fine, soft)


def _eyeball(
    patch: Float, points: NDArray[np.float32], side: int, origin: tuple[int, int], visible: NDArray[np.bool_]
) -> tuple[Float, Float, float]:
    """The white without the iris, the iris (RGBA) and its radius."""
    ring = points[list(topology.IRISES[side]), :2].astype(np.float64) - origin
    centre = ring[0]
    radius = float(np.hypot(*(ring[1:] - centre).T).max())
    y, x = np.mgrid[0 : patch.shape[0], 0 : patch.shape[1]]
    pixels = np.hypot(x - centre[0], y - centre[1])
    radius = _limbus(patch.mean(-1), pixels, visible, radius)
    distance = pixels / radius
    known = visible & (distance > 1.18)
    if known.sum() >= 16:
        white = membrane(patch, known)
    else:
        white = np.broadcast_to(patch[visible].mean(0) if visible.any() else patch.mean((0, 1)), patch.shape)
    # What the lids hide of the iris is made from what is seen at the same distance from its centre.
    bins = np.clip(distance * 8, 0, 10).astype(int)
    seen = patch[visible & (distance < 1.0)]
    fallback = seen.mean(0) if len(seen) else patch.mean((0, 1))
    profile = np.array(
        [patch[visible & (bins == k)].mean(0) if (visible & (bins == k)).any() else fallback for k in range(11)]
    )
    trust = cv2.GaussianBlur(visible.astype(np.float32), (0, 0), 0.8)[..., None]
    trust = np.where(visible[..., None], trust, 0.0)
    colour = patch * trust + profile[bins] * (1.0 - trust)
    opacity = 1.0 - smoothstep(distance, 1.0, 1.16)
    return np.asarray(white, np.float32), np.dstack([colour, opacity]).astype(np.float32), radius


def _limbus(luma: Float, pixels: NDArray[np.float64], visible: NDArray[np.bool_], expected: float) -> float:
    """The radius at which the iris ends and the white begins: the steepest step near the one that was expected."""
    radii = np.linspace(0.75, 1.5, 16) * expected
    half = max(0.09 * expected, 0.7)
    rings = [luma[visible & (np.abs(pixels - radius) < half)] for radius in radii]
    if any(len(ring) < 4 for ring in rings):
        return expected
    steps = np.gradient([float(np.median(ring)) for ring in rings])
    best = int(steps.argmax())
    return float(radii[best]) if steps[best] > 3.0 else expected


@njit(cache=True, fastmath=True, nogil=True)
def _paint(
    out: Any, source: Any, skin: Any, white: Any, iris: Any, below_lid: Any, opening: Any, fold: Any, lash: Any,
    shift_x: float, shift_y: float, shut: float, raised: float, soft: float,
) -> None:  # fmt: skip
    height, width = below_lid.shape
    begun = min(1.0, shut * 5.0)
    for y in range(height):
        for x in range(width):
            gap = opening[y, x]
            below = below_lid[y, x]
            for c in range(3):
                out[y, x, c] = source[y, x, c]
            inside = min(1.0, max(0.0, below + 0.5)) * min(1.0, max(0.0, gap - below + 0.5))
            edge = gap * shut
            if inside > 0.0 and (shut > 0.0 or shift_x != 0.0 or shift_y != 0.0):
                at_x = min(max(x - shift_x, 0.0), width - 1.001)
                at_y = min(max(y - shift_y, 0.0), height - 1.001)
                ix, iy = int(at_x), int(at_y)
                fx, fy = at_x - ix, at_y - iy
                a = (iris[iy, ix, 3] * (1 - fx) + iris[iy, ix + 1, 3] * fx) * (1 - fy)
                a += (iris[iy + 1, ix, 3] * (1 - fx) + iris[iy + 1, ix + 1, 3] * fx) * fy
                # The lid throws a shadow on the ball under it.
                shadow = 1.0 - 0.30 * begun * math.exp(-max(0.0, below - edge) / (0.10 * gap + 1.0))
                for c in range(3):
                    value = white[y, x, c]
                    if a > 0.0:
                        top = iris[iy, ix, c] * (1 - fx) + iris[iy, ix + 1, c] * fx
                        low = iris[iy + 1, ix, c] * (1 - fx) + iris[iy + 1, ix + 1, c] * fx
                        value += (top * (1 - fy) + low * fy - value) * a
                    value *= shadow
                    out[y, x, c] = int(out[y, x, c] + (value - out[y, x, c]) * inside + 0.5)
            if shut > 0.0:
                cover = min(1.0, max(0.0, (edge - below) / soft + 0.5)) * fold[y, x]
                if below < 0.0:
                    cover *= begun
                # Lashes: a dark line on the lid's edge that gets thin at the corners.
                thick = soft * (0.55 + 0.65 * min(1.0, gap / (6.0 * soft)))
                off = (below - edge - 0.3 * thick) / thick
                line = 0.0
                if gap > 0.0 or abs(below) < 2.0 * thick:
                    line = 0.72 * begun * math.exp(-off * off) * min(1.0, gap / (2.5 * soft))
                for c in range(3):
                    value = out[y, x, c] + (skin[y, x, c] - out[y, x, c]) * cover
                    out[y, x, c] = int(value + (lash[c] - value) * line + 0.5)
            if raised > 0.0 and gap > 0.0:
                cover = min(1.0, max(0.0, (below - gap * (1.0 - raised)) / soft + 0.5))
                cover *= min(1.0, max(0.0, gap - below + 1.5)) * fold[y, x]
                for c in range(3):
                    out[y, x, c] = int(out[y, x, c] + (skin[y, x, c] - out[y, x, c]) * cover + 0.5)


def paint_eye(eye: Eye, side: int, weights: Weights, source: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Paint one eye as the weights ask.

    Args:
        side: 0: the person's right eye.
        source: the portrait, shape (edge, edge, 3).
        out: a copy of it that is changed where the eye is.
    """

    def weight(name: str) -> float:
        return float(weights[INDEX[name + _SIDES[side]]])

    # For the person's right eye, at the viewer's left, outwards is to the viewer's left.
    outwards = -1.0 if side == 0 else 1.0
    right = outwards * (weight("eyeLookOut") - weight("eyeLookIn"))
    down = weight("eyeLookDown") - weight("eyeLookUp")
    shut = weight("eyeBlink")
    # Lids follow the eyes down, and half shut eyes are not seen when they blink.
    shut = min(1.0, shut + (1.0 - shut) * (0.30 * max(down, 0.0) + 0.10 * weight("eyeSquint")))
    raised = min(0.3 * weight("eyeSquint") + 0.10 * weight("cheekSquint"), 0.35) * (1.0 - shut)
    height, width = eye.below_lid.shape
    area = (slice(eye.top, eye.top + height), slice(eye.left, eye.left + width))
    _paint(
        out[area], source[area], eye.skin, eye.white, eye.iris, eye.below_lid, eye.opening, eye.fold, eye.lash,
        right * _REACH_X * eye.radius, down * _REACH_Y * eye.radius, shut, raised, eye.softness,
    )  # fmt: skip
