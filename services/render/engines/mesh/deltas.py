"""How far each blendshape moves each landmark: made by hand, in a frame that is level with the head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.render.blendshapes import COUNT, INDEX
from services.render.engines.mesh import topology
from services.render.landmarks import MESH_POINTS

Array = NDArray[np.float64]


def smoothstep(x: Array | float, low: float, high: float) -> Array:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((np.asarray(x, np.float64) - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


class _Face:
    """Measures of one face and the smooth fields that the shapes are made of."""

    def __init__(self, level: Array) -> None:
        """Args: level: shape (478, 3), landmarks in the head's frame: x right for the viewer, y down, z away."""
        points = level[:MESH_POINTS]
        self.all = level
        self.points = points
        self.x_head, self.y_head = points[:, 0], points[:, 1]
        self.height = float(points[topology.CHIN, 1] - points[topology.FOREHEAD, 1])
        self.half_width = float(points[454, 0] - points[234, 0]) / 2
        self.mouth = (points[13] + points[14]) / 2
        # A mouth seen from the side looks narrower than it is: faces are about three mouths high.
        self.mouth_width = float(np.clip(points[291, 0] - points[61, 0], 0.24 * self.height, 0.42 * self.height))
        self.x, self.y = points[:, 0] - self.mouth[0], points[:, 1] - self.mouth[1]
        self.side = self.x / (self.mouth_width / 2)
        self.chin = float(points[topology.CHIN, 1] - self.mouth[1])
        self.is_upper, self.is_lower, self.is_corner = (
            np.isin(np.arange(MESH_POINTS), rows) for rows in (topology.UPPER_LIP, topology.LOWER_LIP, topology.CORNERS)
        )
        self.is_lip = self.is_upper | self.is_lower | self.is_corner
        self.centre_lip = 1.0 - 0.8 * np.minimum(np.abs(self.side), 1.0) ** 2

    def zero(self) -> Array:
        return np.zeros((MESH_POINTS, 3))

    def around_mouth(self, reach: float) -> Array:
        """1 on the lips, fading outside over about `reach` mouth widths."""
        distance = np.hypot(self.x / (0.6 * self.mouth_width), self.y / (0.42 * self.mouth_width))
        return np.asarray(np.exp(-np.maximum(0.0, distance - 0.9) * 0.6 / reach))

    def spot(self, x: float, y: float, wide: float, high: float) -> Array:
        """A bell around a place given in mouth widths from the mouth's centre."""
        m = self.mouth_width
        return np.asarray(np.exp(-(((self.x / m - x) / wide) ** 2) - ((self.y / m - y) / high) ** 2))

    def half(self, sign: int) -> Array:
        """1 on one side of the face, 0 on the other, blended across the middle. Args: sign: -1: the viewer's left."""
        return smoothstep(sign * self.x / self.mouth_width, -0.22, 0.22)


def _jaw(face: _Face) -> Array:
    """The jaw's weight: 1 on the lower lip's middle and the chin, 0 above the mouth and at the ears."""
    side = np.abs(face.side)
    beside = np.where(side < 1.0, 1.0 - 0.62 * np.minimum(side, 1.0) ** 2.2, 0.38 * (1.0 - smoothstep(side, 1.0, 2.1)))
    below = beside + (1.0 - beside) * smoothstep(face.y, 0.0, 0.6 * face.chin)
    edge = smoothstep(np.abs(face.x_head) / face.half_width, 0.4, 1.02)
    below = below * (1.0 - edge * (1.0 - 0.5 * smoothstep(face.y, 0.4 * face.chin, face.chin)))
    above = beside * np.exp(np.minimum(face.y, 0.0) / (0.3 * face.mouth_width)) * smoothstep(side, 0.75, 1.1)
    weight = np.where(face.y > 0.0, below, above)
    # The lips part like a lens: towards the corners the upper one comes down with the jaw, the lower one stays up.
    across = np.minimum(side, 1.0)
    weight[face.is_upper] = 0.36 * across[face.is_upper] ** 3
    weight[face.is_lower] = 1.0 - 0.64 * across[face.is_lower] ** 2
    weight[face.is_corner] = 0.36
    return weight


def _mouth_shapes(face: _Face) -> dict[str, Array]:
    m, f = face.mouth_width, face.height
    shapes: dict[str, Array] = {}
    near, far = face.around_mouth(0.35), face.around_mouth(0.45)
    lip = face.is_lip.astype(np.float64)
    upper, lower = face.is_upper.astype(np.float64), face.is_lower.astype(np.float64)

    jaw = face.zero()
    weight = _jaw(face)
    jaw[:, 1] = 0.155 * f * weight
    jaw[:, 2] = 0.03 * f * weight
    jaw[:, 0] = -0.035 * m * np.clip(face.side, -1, 1) * near
    shapes["jawOpen"] = jaw
    for name, sign in (("jawLeft", 1.0), ("jawRight", -1.0)):
        shapes[name] = face.zero()
        shapes[name][:, 0] = sign * 0.03 * f * weight
    shapes["jawForward"] = face.zero()
    shapes["jawForward"][:, 1] = -0.012 * f * weight
    shapes["jawForward"][:, 2] = -0.03 * f * weight

    # Lips as they are drawn in keep their thickness: what a narrower mouth loses in width it gains in height.
    pucker = face.zero()
    pucker[:, 0] = -0.40 * face.x * far
    pucker[:, 1] = 0.24 * face.y * lip * face.centre_lip + 0.06 * face.y * near
    pucker[:, 2] = -0.05 * m * near
    shapes["mouthPucker"] = pucker
    funnel = face.zero()
    funnel[:, 0] = -0.20 * face.x * far
    funnel[:, 1] = (0.075 * m * lower - 0.075 * m * upper) * face.centre_lip
    funnel[:, 1] += 0.10 * m * near * (1 - lip) * np.tanh(face.y / (0.25 * m))
    funnel[:, 2] = -0.05 * m * near
    shapes["mouthFunnel"] = funnel

    # The seam is where the lips meet: half way between the inner rows.
    close, press = face.zero(), face.zero()
    seam = face.zero()[:, 1]
    for above, under in zip(topology.UPPER_INNER, topology.LOWER_INNER, strict=True):
        middle = (face.points[above, 1] + face.points[under, 1]) / 2
        seam[above], seam[under] = middle - face.points[above, 1], middle - face.points[under, 1]
    inner_x = face.points[list(topology.UPPER_INNER), 0]
    for row, inner in ((face.is_upper, topology.UPPER_INNER), (face.is_lower, topology.LOWER_INNER)):
        shift = np.interp(face.points[:, 0], inner_x, seam[list(inner)])
        # Outside of the inner row the lip follows less and the skin not at all.
        span = np.interp(face.points[:, 0], inner_x, face.points[list(inner), 1])
        fade = 1.0 - smoothstep(np.abs(face.points[:, 1] - span) / m, 0.0, 0.35)
        close[:, 1] += shift * fade * (row | (~face.is_lip & (np.sign(face.y) == (1 if row is face.is_lower else -1))))
    shapes["mouthClose"] = close
    press[:, 1] = -0.22 * face.y * lip * np.exp(-((face.x / (0.6 * m)) ** 2)) - 0.05 * face.y * near * (1 - lip)
    roll_lower, roll_upper = face.zero(), face.zero()
    below = face.spot(0.0, 0.42, 0.5, 0.22) * (1 - lip)
    roll_lower[:, 1] = -0.035 * m * (lower * face.centre_lip + 0.9 * below)
    outer_low = np.isin(np.arange(MESH_POINTS), topology.LOWER_OUTER) & face.is_lower
    roll_lower[outer_low, 1] *= 1.9
    shapes["mouthRollLower"] = roll_lower
    above_lip = face.spot(0.0, -0.28, 0.45, 0.15) * (1 - lip)
    roll_upper[:, 1] = 0.04 * m * (upper * face.centre_lip + 0.4 * above_lip)
    shapes["mouthRollUpper"] = roll_upper
    shrug = face.zero()
    shrug[:, 1] = -0.07 * m * (lower + 0.35 * upper + 0.8 * face.spot(0, 0.5, 0.4, 0.3) * (1 - lip)) * face.centre_lip
    shapes["mouthShrugLower"] = shrug
    shrug = face.zero()
    shrug[:, 1] = -0.05 * m * (upper * face.centre_lip + above_lip)
    shapes["mouthShrugUpper"] = shrug
    for name, sign in (("mouthLeft", 1.0), ("mouthRight", -1.0)):
        shapes[name] = face.zero()
        shapes[name][:, 0] = sign * 0.12 * m * far

    for side, sign in (("Right", -1), ("Left", 1)):
        half = face.half(sign)
        corner = face.spot(sign * 0.5, 0.0, 0.3, 0.28)
        cheek = face.spot(sign * 0.78, -0.62, 0.42, 0.42)
        smile = face.zero()
        smile[:, 0] = 0.115 * m * sign * corner + 0.03 * m * sign * cheek
        smile[:, 1] = -0.135 * m * corner - 0.065 * m * cheek + 0.012 * m * lip * half * face.centre_lip
        smile[:, 2] = 0.04 * m * corner
        shapes["mouthSmile" + side] = smile
        frown = face.zero()
        frown[:, 1] = 0.12 * m * face.spot(sign * 0.5, 0.03, 0.24, 0.26) - 0.015 * m * lip * half * face.centre_lip
        frown[:, 0] = -0.02 * m * sign * corner
        shapes["mouthFrown" + side] = frown
        stretch = face.zero()
        stretch[:, 0] = 0.13 * m * sign * face.spot(sign * 0.5, 0.05, 0.36, 0.36)
        stretch[:, 1] = -0.09 * face.y * lip * half + 0.02 * m * corner
        shapes["mouthStretch" + side] = stretch
        dimple = face.zero()
        dimple[:, 0] = 0.06 * m * sign * corner
        dimple[:, 2] = 0.05 * m * corner
        shapes["mouthDimple" + side] = dimple
        up = face.zero()
        up[:, 1] = -0.085 * m * half * (upper * face.centre_lip + 0.5 * above_lip)
        shapes["mouthUpperUp" + side] = up
        down = face.zero()
        down[:, 1] = 0.085 * m * half * (lower * face.centre_lip + 0.45 * below)
        shapes["mouthLowerDown" + side] = down
        shapes["mouthPress" + side] = press * half[:, None]
        sneer = face.zero()
        nose = face.spot(sign * 0.3, -0.55, 0.22, 0.28)
        sneer[:, 1] = -0.09 * m * nose - 0.075 * m * half * (upper * face.centre_lip + 0.6 * above_lip)
        sneer[:, 0] = 0.02 * m * sign * nose
        shapes["noseSneer" + side] = sneer
        squint = face.zero()
        squint[:, 1] = -0.075 * m * cheek
        shapes["cheekSquint" + side] = squint
    # Lips slide over the teeth's arch: what moves to the middle comes forward. Seen from the side it matters.
    corners = face.points[[61, 291]] - face.mouth
    arch = 2.0 * float(corners[:, 2].mean()) / float((corners[:, 0] ** 2).mean())
    slope = np.clip(arch, 0.0, 2.5 / m) * np.clip(face.x, -0.75 * m, 0.75 * m)
    # The outline moves with the jaw only: elsewhere the background behind it would be dragged along.
    within = 1.0 - smoothstep(np.abs(face.x_head) / face.half_width, 0.72, 0.98)
    for name, shape in shapes.items():
        shape[:, 2] += slope * shape[:, 0]
        if not name.startswith("jaw"):
            shape *= within[:, None]
    puff = face.zero()
    for sign in (-1, 1):
        puff[:, 0] += sign * 0.07 * m * face.spot(sign * 0.85, 0.0, 0.4, 0.45)
    shapes["cheekPuff"] = puff
    return shapes


def _eye_shapes(face: _Face) -> dict[str, Array]:
    f = face.height
    shapes: dict[str, Array] = {}
    inner_up = face.zero()
    for index, (side, sign) in enumerate((("Right", -1), ("Left", 1))):
        upper, lower = list(topology.UPPER_LIDS[index]), list(topology.LOWER_LIDS[index])
        outer, inner = face.points[upper[0]], face.points[upper[-1]]
        width = float(np.hypot(*(outer - inner)[:2]))
        x = (face.x_head - (outer[0] + inner[0]) / 2) / width
        lid_y = float(face.points[upper, 1].mean())
        opening = float((face.points[lower[2:-2], 1] - face.points[upper[2:-2], 1]).mean())
        brow = face.points[list(topology.BROWS[index])]
        brow_y = float(brow[:, 1].mean())
        # The forehead follows a brow less and less, the lid's skin below it stretches.
        rise = np.where(
            face.y_head < brow_y,
            1.0 - smoothstep(brow_y - face.y_head, 0.02 * f, 0.22 * f),
            1.0 - smoothstep(face.y_head - brow_y, 0.0, max(0.9 * (lid_y - brow_y), 0.02 * f)),
        )
        band = np.exp(-((np.maximum(0.0, np.abs(x) - 0.55) / 0.28) ** 2)) * rise
        inwards = smoothstep(-sign * x, -0.35, 0.55)
        down = face.zero()
        down[:, 1] = f * band * (0.012 + 0.034 * inwards)
        down[:, 0] = -sign * 0.014 * f * band * inwards
        shapes["browDown" + side] = down
        outer_up = face.zero()
        outer_up[:, 1] = -f * band * (0.012 + 0.036 * (1 - inwards))
        shapes["browOuterUp" + side] = outer_up
        inner_up[:, 1] -= f * band * (0.004 + 0.042 * inwards)
        inner_up[:, 0] -= sign * 0.006 * f * band * inwards

        along = np.exp(-((np.maximum(0.0, np.abs(x) - 0.42) / 0.14) ** 2))
        lid = along * np.exp(-(((face.y_head - lid_y) / (0.9 * opening + 0.02 * f)) ** 2))
        over = (face.y_head <= np.interp(face.x_head, *_sorted(face.points[upper])) + 0.5).astype(np.float64)
        wide = face.zero()
        wide[:, 1] = -0.20 * opening * lid * over
        shapes["eyeWide" + side] = wide
        below = along * np.exp(-((np.maximum(0.0, face.y_head - lid_y - opening) / (0.05 * f)) ** 2)) * (1 - over)
        squint = face.zero()
        squint[:, 1] = -0.10 * opening * below
        shapes["eyeSquint" + side] = squint
        blink = face.zero()
        blink[:, 1] = 0.004 * f * band - 0.05 * opening * below
        shapes["eyeBlink" + side] = blink
    shapes["browInnerUp"] = inner_up
    return shapes


def _sorted(points: Array) -> tuple[Array, Array]:
    order = np.argsort(points[:, 0])
    return points[order, 0], points[order, 1]


def blendshape_deltas(level: Array) -> NDArray[np.float32]:
    """How far weight 1 of each blendshape moves each landmark.

    Lids that close and eyes that turn are painted, not moved, and so is the tongue: their rows are small or 0.

    Args: level: shape (478, 3), in the head's frame.
    Returns: shape (52, 468 * 3), in the unit of `level`.
    """
    face = _Face(level)
    deltas = np.zeros((COUNT, MESH_POINTS * 3), np.float32)
    for name, delta in (_mouth_shapes(face) | _eye_shapes(face)).items():
        deltas[INDEX[name]] = delta.ravel()
    return deltas
