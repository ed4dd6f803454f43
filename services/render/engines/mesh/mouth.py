"""The inside of the mouth: teeth, tongue and depth, painted into the opening between the lips."""

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
from services.render.engines.mesh.geometry import Geometry, Pose

Float = NDArray[np.float32]

# Teeth from the middle outwards, (width, length) against the middle one: incisors, canine, two premolars.
_UPPER_TEETH = ((1.0, 1.0), (0.78, 0.94), (0.82, 0.97), (0.74, 0.91), (0.66, 0.86))
_LOWER_TEETH = ((0.60, 0.90), (0.66, 0.93), (0.76, 1.0), (0.76, 0.90), (0.70, 0.80))
# Sizes against the mouth's width. The arches are narrower than the mouth, so that its corners stay dark.
_UPPER_WIDTH, _UPPER_HEIGHT = 0.80, 0.19
_LOWER_WIDTH, _LOWER_HEIGHT = 0.66, 0.15
# How far behind its middle an arch is one mouth width to the side (it is a parabola).
_ARCH_DEPTH = 0.8
# How far the upper teeth reach below the place where the lips meet, and the lower ones below their jaw's place.
_UPPER_SHOWN = 0.09
_LOWER_TOP = 0.055


@dataclass(frozen=True, slots=True)
class Mouth:
    """What the mouth of a portrait hides.

    Attributes:
        upper, lower: shape (h, w, 4), RGBA, the rows of teeth, opacity from 0 to 1.
        cavity, tongue: shape (3,), colours.
        gap: distance of the lips in the portrait, in pixels: what is between them is shown as it is.
    """

    upper: Float
    lower: Float
    cavity: Float
    tongue: Float
    gap: float


def _row_of_teeth(teeth: tuple[tuple[float, float], ...], width_px: int, height_px: int, *, upper: bool) -> Float:
    """A row of teeth, drawn large and reduced, shape (height, width, 4): shade around 1 in RGB, and opacity.

    Teeth of one row differ little in tone; what is seen of them is mostly their edge, a soft shadow where two meet,
    and that the row bends away into the dark.
    """
    scale = 8
    w, h = width_px * scale, height_px * scale
    shade, opacity = np.ones((h, w, 3), np.float32), np.zeros((h, w), np.float32)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    # Teeth further back are seen from the side: their width shrinks with the arch's bend.
    widths = np.array([width for width, _ in teeth])
    widths = widths / widths.sum() * 0.5 * w * 0.98
    rng = np.random.default_rng(7)
    for sign in (-1, 1):
        at = 0.0
        for (_, length), width in zip(teeth, widths, strict=True):
            tone = 1.0 + rng.uniform(-0.018, 0.018)
            centre, half = w / 2 + sign * (at + width / 2), width / 2
            u = (x - centre) / half
            end = h * (length * 0.93 + rng.uniform(-0.012, 0.012))
            # A rounded edge: flat in the middle, falling away at the corners.
            edge = end - 0.06 * h * np.abs(u) ** 5
            down = y if upper else h - 1 - y
            covered = np.clip((edge - down) / (0.045 * h) + 0.5, 0, 1) * np.clip(
                (1.08 - np.abs(u)) * half / scale, 0, 1
            )
            v = np.clip(down / end, 0, 1)
            light = tone * (1.0 - 0.055 * np.clip(np.abs(u), 0, 1) ** 4 - 0.05 * v**3)
            # Warmer at the gum, a little grey and see-through at the edge.
            warm = np.stack(
                [light * (1 + 0.015 * (1 - v)), light * (1 - 0.01 * (1 - v)), light * (1 - 0.06 * (1 - v))], -1
            )
            shade = shade * (1 - covered[..., None]) + warm * covered[..., None]
            opacity = np.maximum(opacity, covered * (1 - 0.15 * v**6))
            at += width
    bend = np.abs(x / w - 0.5) * 2
    shade *= (1.0 - 0.45 * bend**2.2)[..., None]
    opacity *= 1.0 - smoothstep(bend, 0.68, 0.98)
    row = np.dstack([shade * opacity[..., None], opacity])
    row = np.asarray(cv2.resize(row, (width_px, height_px), interpolation=cv2.INTER_AREA), np.float32)
    row[..., :3] /= np.maximum(row[..., 3:], 1e-3)
    return np.asarray(row, np.float32)


def prepare_mouth(image: NDArray[np.uint8], points: NDArray[np.float32], geometry: Geometry) -> Mouth:
    """Args: image: shape (h, w, 3), RGB; points: shape (478, 3), in its pixels."""
    m = geometry.mouth_width
    places = np.rint(points[[50, 280, 205, 425, 4, 18, 200], :2]).astype(int)
    skin = np.median(image[places[:, 1].clip(0, image.shape[0] - 1), places[:, 0].clip(0, image.shape[1] - 1)], axis=0)
    lips = np.rint(points[[17, 84, 314, 15], :2]).astype(int)
    lip = np.median(image[lips[:, 1].clip(0, image.shape[0] - 1), lips[:, 0].clip(0, image.shape[1] - 1)], axis=0)
    skin, lip = skin.astype(np.float32), lip.astype(np.float32)
    light = float(skin @ [0.299, 0.587, 0.114])
    # Teeth take the picture's light: ivory under a white one, and no more than a little lighter than the skin.
    tint = skin / max(light, 1.0)
    enamel = np.array([240, 230, 212], np.float32) * (0.68 + 0.32 * tint) * float(np.clip(light / 165, 0.5, 0.95))
    grey = float(np.ptp(image.reshape(-1, 3).astype(np.int16), axis=1).mean()) < 6
    cavity = (np.array([62, 24, 22], np.float32) * 0.7 + lip * 0.12) * float(np.clip(light / 150, 0.4, 1.1))
    tongue = (np.array([176, 88, 86], np.float32) * 0.6 + lip * 0.4) * float(np.clip(light / 170, 0.45, 1.0))
    rows = []
    for teeth, width, height, upper in (
        (_UPPER_TEETH, _UPPER_WIDTH, _UPPER_HEIGHT, True),
        (_LOWER_TEETH, _LOWER_WIDTH, _LOWER_HEIGHT, False),
    ):
        row = _row_of_teeth(teeth, max(8, round(width * m)), max(4, round(height * m)), upper=upper)
        row[..., :3] *= enamel * (1.0 if upper else 0.86)
        rows.append(np.ascontiguousarray(np.pad(row, ((1, 1), (1, 1), (0, 0)))))
    if grey:
        cavity[:], tongue[:] = cavity.mean(), tongue.mean()
        for row in rows:
            row[..., :3] = row[..., :3].mean(-1, keepdims=True)
    inner = [points[list(index), :2] for index in (topology.UPPER_INNER, topology.LOWER_INNER)]
    gap = float(np.hypot(*(inner[0] - inner[1]).T).max())
    return Mouth(rows[0], rows[1], cavity, tongue, gap)


@njit(cache=True, fastmath=True, nogil=True)
def _lip_line(row: Any, left: int, out: Any) -> None:
    """Heights of a smooth curve (Catmull-Rom over x) through a row of points, for each column from `left` on."""
    count = row.shape[0]
    k = 0
    for i in range(out.shape[0]):
        x = left + i
        while k < count - 2 and row[k + 1, 0] < x:
            k += 1
        x0, y0, x1, y1 = row[k, 0], row[k, 1], row[k + 1, 0], row[k + 1, 1]
        span = max(x1 - x0, 1e-3)
        t = min(1.0, max(0.0, (x - x0) / span))
        before, after = max(k - 1, 0), min(k + 2, count - 1)
        m0 = (y1 - row[before, 1]) / max(x1 - row[before, 0], 1e-3) * span
        m1 = (row[after, 1] - y0) / max(row[after, 0] - x0, 1e-3) * span
        t2, t3 = t * t, t * t * t
        out[i] = (2 * t3 - 3 * t2 + 1) * y0 + (t3 - 2 * t2 + t) * m0 + (3 * t2 - 2 * t3) * y1 + (t3 - t2) * m1


@njit(cache=True, fastmath=True, nogil=True)
def _blend_row(colour: Any, row: Any, a: float, b: float, dim: float) -> None:
    """Lay a row of teeth over `colour`. Args: a, b: place in the row's texture, 0 to 1."""
    height, width = row.shape[0], row.shape[1]
    if a < 0.0 or a > 1.0 or b < 0.0 or b > 1.0:
        return
    x, y = a * (width - 1.001), b * (height - 1.001)
    ix, iy = int(x), int(y)
    fx, fy = x - ix, y - iy
    w00, w01, w10, w11 = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
    p00, p01 = w00 * row[iy, ix, 3], w01 * row[iy, ix + 1, 3]
    p10, p11 = w10 * row[iy + 1, ix, 3], w11 * row[iy + 1, ix + 1, 3]
    opacity = p00 + p01 + p10 + p11
    if opacity <= 0.003:
        return
    for c in range(3):
        value = (
            p00 * row[iy, ix, c] + p01 * row[iy, ix + 1, c] + p10 * row[iy + 1, ix, c] + p11 * row[iy + 1, ix + 1, c]
        )
        colour[c] = colour[c] * (1 - opacity) + value * dim


@njit(cache=True, fastmath=True, nogil=True)
def _paint(
    frame: Any, upper_lip: Any, lower_lip: Any, to_mouth: Any, upper: Any, lower: Any, cavity: Any, tongue: Any,
    jaw: float, tongue_up: float, covered: float, bow: float, unit: float, native_gap: float, soft: float,
) -> None:  # fmt: skip
    height, width = frame.shape[0], frame.shape[1]
    left = max(0, math.ceil(upper_lip[0, 0]))
    right = min(width - 1, math.floor(upper_lip[-1, 0]))
    if right <= left:
        return
    top_line, low_line = np.empty(right - left + 1, np.float32), np.empty(right - left + 1, np.float32)
    _lip_line(upper_lip, left, top_line)
    _lip_line(lower_lip, left, low_line)
    widest = 0.0
    for i in range(top_line.shape[0]):
        widest = max(widest, low_line[i] - top_line[i])
    # What the portrait itself shows between the lips stays until they open clearly wider.
    begin, end = 1.15 * native_gap + 0.4, 1.9 * native_gap + 2.0
    share = min(1.0, max(0.0, (widest - begin) / (end - begin)))
    if share <= 0.0:
        return
    colour = np.empty(3, np.float32)
    for i in range(top_line.shape[0]):
        x = left + i
        up, low = top_line[i], low_line[i]
        gap = low - up
        if gap < 0.2:
            continue
        for y in range(max(0, int(up - soft)), min(height - 1, int(low + soft) + 1) + 1):
            cover = min(1.0, max(0.0, (y - up) / soft + 0.5)) * min(1.0, max(0.0, (low - y) / soft + 0.5))
            cover *= min(1.0, gap / (1.5 * soft))
            if cover <= 0.0:
                continue
            # Mouth coordinates in mouth widths: a to the viewer's right, b down from where the lips meet.
            flat = to_mouth[0, 0] * x + to_mouth[0, 1] * y + to_mouth[0, 2]
            # Teeth stand in an arch: a head seen from the side shows more of its near half. flat = a + bow * a * a
            a = flat * 2.0 / (1.0 + math.sqrt(max(0.05, 1.0 + 4.0 * bow * flat)))
            b = to_mouth[1, 0] * x + to_mouth[1, 1] * y + to_mouth[1, 2]
            deep = min(1.0, max(0.0, (b + 0.02) / (jaw + 0.12)))
            for c in range(3):
                colour[c] = cavity[c] * (0.75 + 0.55 * deep)
            # The tongue: a soft mound behind the lower teeth, lit on its back.
            rise = jaw * (0.42 - 0.36 * tongue_up) + 0.075 - 0.05 * tongue_up
            ta, tb = a / 0.30, (b - rise) / (0.16 + 0.10 * jaw)
            mound = tb + 0.55 * ta * ta
            if mound > -0.25 and abs(ta) < 1.25:
                k = min(1.0, (mound + 0.25) / 0.45) * min(1.0, (1.25 - abs(ta)) / 0.35)
                lit = 0.66 + 0.34 * math.exp(-((mound - 0.55) ** 2) / 0.3) - 0.10 * math.exp(-((a / 0.035) ** 2))
                for c in range(3):
                    colour[c] += (tongue[c] * lit - colour[c]) * k
            _blend_row(
                colour, lower, a / _LOWER_WIDTH + 0.5, (b - jaw - _LOWER_TOP - 0.6 * covered) / _LOWER_HEIGHT, 0.80
            )
            _blend_row(colour, upper, a / _UPPER_WIDTH + 0.5, (b - _UPPER_SHOWN + covered) / _UPPER_HEIGHT + 1.0, 1.0)
            # Lips shade what is behind them, most at the corners where they come together.
            near_top, near_low = (y - up) / unit, (low - y) / unit
            light = (1.0 - 0.42 * math.exp(-near_top / 0.035)) * (1.0 - 0.30 * math.exp(-near_low / 0.035))
            light *= 1.0 - 0.25 * math.exp(-gap / (0.07 * unit))
            light *= 1.0 - 0.45 * min(1.0, abs(a) / 0.46) ** 3
            mix = cover * share
            for c in range(3):
                frame[y, x, c] = int(frame[y, x, c] + (colour[c] * light - frame[y, x, c]) * mix + 0.5)


def paint_mouth(
    mouth: Mouth, geometry: Geometry, weights: Weights, placed: Float, pose: Pose, frame: NDArray[np.uint8], offset: int
) -> None:
    """Fill the opening of the mouth.

    Args:
        placed: shape (n, 2), the points of the mesh in pixels of the frame.
        frame: shape (h, w, 3), changed in place; its pixel (0, 0) is the portrait's (offset, offset).
    """
    m = geometry.mouth_width
    # Behind the lips: a plane that follows the skull only.
    origin = geometry.mouth + np.array([0.0, 0.0, 0.10 * m])
    corners = origin + m * np.array([[0.0, 0, 0], [1.0, 0, 0], [0.0, 1.0, 0], [0.0, 0.0, _ARCH_DEPTH]])
    at = geometry.on_skull(corners, pose) - np.float32(offset)
    to_frame = np.column_stack([at[1] - at[0], at[2] - at[0], at[0]])
    to_mouth = np.asarray(cv2.invertAffineTransform(to_frame), np.float64)
    bow = float(to_mouth[0, :2] @ (at[3] - at[0]))
    jaw = 0.155 * geometry.height * float(weights[INDEX["jawOpen"]]) / m
    upper = np.ascontiguousarray(placed[list(topology.UPPER_INNER)])
    lower = np.ascontiguousarray(placed[list(topology.LOWER_INNER)])
    tongue_up = float(weights[INDEX["tongueOut"]])
    # Lips that are drawn forward hide the teeth.
    covered = 0.07 * float(weights[INDEX["mouthPucker"]])
    _paint(
        frame, upper, lower, to_mouth, mouth.upper, mouth.lower, mouth.cavity, mouth.tongue,
        jaw, tongue_up, covered, bow, m, mouth.gap, max(1.2, 0.026 * m),
    )  # fmt: skip
