"""Draws the portrait of the avatar that ships: a face that belongs to nobody, made of shaded forms and strands.

A face's relief is summed from smooth bumps and lit like a studio portrait; eyes, lips and hair are painted over it.
`python tools/draw_default_portrait.py` writes services/render/portraits/default.jpg.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Colour = Sequence[float]

OUT = Path(__file__).resolve().parent.parent / "services/render/portraits/default.jpg"
EDGE = 720
# Everything is drawn larger and reduced at the end.
DRAWN = 2 * EDGE
# The drawing's unit is the face from hairline to chin; the picture shows this many of it, centred here.
SPAN, CENTRE = 2.16, (0.0, 0.10)
LIGHT = np.array([-0.42, -0.52, 0.74])
FILL = np.array([0.75, -0.1, 0.55])


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


def smooth(x: Array | float, low: float, high: float) -> Array:
    t = np.clip((np.asarray(x, np.float32) - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def path(text: str) -> list[tuple[float, float]]:
    """Points written like in SVG: "x,y x,y"."""
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split())]


def curve(points: Sequence[tuple[float, float]], count: int = 200, *, closed: bool = False) -> Array:
    """A smooth line (Catmull-Rom) through points. Returns: shape (count, 2)."""
    p = np.array(points, np.float32)
    p = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([p[:1], p, p[-1:]])
    spans = len(p) - 3
    t = np.linspace(0, spans - 1e-4, count)
    k, f = t.astype(int), (t % 1)[:, None]
    a, b, c, d = p[k], p[k + 1], p[k + 2], p[k + 3]
    spline = 0.5 * (2 * b + (c - a) * f + (2 * a - 5 * b + 4 * c - d) * f**2 + (3 * b - a - 3 * c + d) * f**3)
    return np.asarray(spline, np.float32)


class Canvas:
    """An RGB picture in [0, 1] with places in the drawing's unit."""

    def __init__(self) -> None:
        y, x = np.mgrid[0:DRAWN, 0:DRAWN].astype(np.float32)
        self.scale = DRAWN / SPAN
        self.x = (x - DRAWN / 2) / self.scale + CENTRE[0]
        self.y = (y - DRAWN / 2) / self.scale + CENTRE[1]
        self.image: Array = np.zeros((DRAWN, DRAWN, 3), np.float32)

    def px(self, points: Array) -> Array:
        return ((points - f32(*CENTRE)) * self.scale + DRAWN / 2).astype(np.float32)

    def blur(self, image: Array, sigma: float) -> Array:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma * self.scale), np.float32)

    def mask(self, outline: Array, soft: float = 0.0) -> Array:
        """1 inside of an outline. Args: soft: of its edge, in the drawing's unit."""
        filled = np.zeros((DRAWN, DRAWN), np.uint8)
        cv2.fillPoly(filled, [np.rint(self.px(outline) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        result = filled.astype(np.float32) / 255
        return self.blur(result, soft) if soft else result

    def stroke(self, points: Array, width: float) -> Array:
        """1 on a line. Args: width: in the drawing's unit."""
        drawn = np.zeros((DRAWN, DRAWN), np.uint8)
        at = np.rint(self.px(points) * 16).astype(np.int32)
        cv2.polylines(drawn, [at], isClosed=False, color=255, thickness=round(width * self.scale), lineType=16, shift=4)
        return drawn.astype(np.float32) / 255

    def bump(self, x: float, y: float, wide: float, high: float) -> Array:
        return np.asarray(np.exp(-(((self.x - x) / wide) ** 2) - ((self.y - y) / high) ** 2), np.float32)

    def pair(self, x: float, y: float, wide: float, high: float) -> Array:
        return self.bump(x, y, wide, high) + self.bump(-x, y, wide, high)

    def lay(self, colour: Colour | Array, opacity: Array) -> None:
        self.image += (np.asarray(colour, np.float32) - self.image) * opacity[..., None]

    def multiply(self, colour: Colour, opacity: Array) -> None:
        self.image *= 1 - (1 - np.asarray(colour, np.float32)) * opacity[..., None]

    def strands(self, lines: Sequence[tuple[Array, Colour, float]], opacity: float, clip: Array | None = None) -> None:
        """Fine lines. Args: lines: points, colour, width in the drawing's unit; clip: where they may be."""
        layer = np.rint(np.clip(self.image, 0, 1) * 255).astype(np.uint8)
        for points, colour, width in lines:
            shade = tuple(float(np.clip(c, 0, 1) * 255) for c in colour)
            at = np.rint(self.px(points) * 16).astype(np.int32)
            thickness = max(1, round(width * self.scale))
            cv2.polylines(layer, [at], isClosed=False, color=shade, thickness=thickness, lineType=16, shift=4)
        amount = np.full((DRAWN, DRAWN), opacity, np.float32) if clip is None else clip * opacity
        self.lay(layer.astype(np.float32) / 255, amount)


FACE = path(
    "0,-0.66 0.2,-0.62 0.325,-0.46 0.368,-0.25 0.366,-0.06 0.35,0.09 0.316,0.235 "
    "0.252,0.36 0.165,0.45 0.075,0.498 0,0.508"
)
EYE_X, EYE_Y, EYE_HALF = 0.168, -0.096, 0.089
IRIS = 0.0415


def mirrored(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [*points, *((-x, y) for x, y in reversed(points) if x != 0)]


def relief(c: Canvas, outline: Array) -> Array:
    """Height of the face towards the viewer."""
    inside = cv2.distanceTransform((c.mask(outline) > 0.5).astype(np.uint8), cv2.DIST_L2, 5) / c.scale
    t = np.clip(inside / 0.36, 0, 1)
    z = 0.33 * np.sqrt(1 - (1 - t) ** 2)
    z = c.blur(z.astype(np.float32), 0.030)
    z -= 0.10 * np.clip(-c.y - 0.22, 0, 1) ** 1.6
    # Nose: a bridge that rises to the tip, two wings, and the drop under them.
    rise = smooth(c.y, -0.20, 0.105) ** 1.25 * (1 - smooth(c.y, 0.100, 0.148))
    bridge = np.exp(-((c.x / (0.034 + 0.020 * smooth(c.y, -0.15, 0.1))) ** 2))
    z += 0.105 * rise * bridge + 0.030 * c.bump(0, 0.092, 0.040, 0.036)
    z += 0.034 * c.pair(0.051, 0.108, 0.024, 0.024)
    # Sockets, the balls in them, brows, cheeks, the mound of the mouth, lips, chin.
    z -= 0.040 * c.pair(EYE_X - 0.02, EYE_Y - 0.012, 0.098, 0.052)
    z += 0.020 * c.pair(EYE_X, EYE_Y, 0.062, 0.036)
    z += 0.012 * c.pair(0.17, -0.205, 0.12, 0.030)
    z += 0.036 * c.pair(0.225, 0.050, 0.100, 0.080)
    z += 0.028 * c.bump(0, 0.245, 0.120, 0.085)
    z -= 0.007 * c.bump(0, 0.178, 0.014, 0.032)
    z += 0.013 * c.bump(0, 0.226, 0.075, 0.013) + 0.020 * c.bump(0, 0.275, 0.062, 0.019)
    z -= 0.010 * c.bump(0, 0.250, 0.105, 0.008) + 0.012 * c.bump(0, 0.322, 0.070, 0.022)
    z -= 0.008 * c.pair(0.122, 0.250, 0.022, 0.028)
    z += 0.030 * c.bump(0, 0.410, 0.085, 0.062)
    return z


def lit(c: Canvas, z: Array, strength: float = 1.0) -> tuple[Array, Array]:
    """Diffuse light (0 to about 1) and gloss of a relief."""
    gy, gx = np.gradient(z * c.scale * strength)
    normal = np.dstack([-gx, -gy, np.ones_like(gx)])
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    key, fill = LIGHT / np.linalg.norm(LIGHT), FILL / np.linalg.norm(FILL)
    diffuse = 0.80 * np.clip((normal @ key + 0.30) / 1.30, 0, 1) + 0.22 * np.clip(normal @ fill, 0, 1)
    half = key + np.array([0, 0, 1])
    gloss = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1) ** 26
    return diffuse.astype(np.float32), gloss.astype(np.float32)


SKIN = np.array(
    [[0.30, 0.13, 0.10], [0.56, 0.29, 0.215], [0.80, 0.51, 0.405], [0.925, 0.695, 0.585], [0.985, 0.835, 0.745]],
    np.float32,
)


def skin_of(light: Array) -> Array:
    """Skin under a light: shadows are redder, not greyer."""
    at = np.clip(light, 0, 1) * (len(SKIN) - 1)
    k = np.clip(at.astype(int), 0, len(SKIN) - 2)
    f = (at - k)[..., None]
    return np.asarray(SKIN[k] * (1 - f) + SKIN[k + 1] * f)


def background(c: Canvas) -> None:
    c.image[:] = (0.44, 0.50, 0.52)
    c.lay((0.86, 0.80, 0.70), 0.80 * c.bump(-0.55, -0.55, 0.95, 0.85))
    c.lay((0.27, 0.35, 0.41), 0.75 * smooth(c.x + 0.5 * c.y, 0.2, 1.6))
    rng = np.random.default_rng(4)
    for _ in range(16):
        x, y, r = rng.uniform(-1.1, 1.1), rng.uniform(-1.0, 0.5), rng.uniform(0.05, 0.16)
        disc = 1 - smooth(np.hypot(c.x - x, c.y - y), r * 0.88, r)
        c.lay((0.93, 0.88, 0.78), disc * rng.uniform(0.02, 0.07))
    c.image = c.blur(c.image, 0.035)


HAIR_BASE: Colour = (0.150, 0.085, 0.062)


Guides = list[list[tuple[float, float]]]


def strand_family(
    guides: Guides, count: int, seed: int, *, sheen: float, tone: float, width: float = 0.0022
) -> list[tuple[Array, Colour, float]]:
    """Hairs between guide lines, each with its own tone, lighter where a lock bends to the light."""
    rng = np.random.default_rng(seed)
    lines = np.stack([curve(guide, 80) for guide in guides])
    found: list[tuple[Array, Colour, float]] = []
    clumps = rng.normal(0, 1, 40)
    for _ in range(count):
        at = rng.uniform(0, len(lines) - 1.001)
        k, f = int(at), at % 1
        wave = rng.normal(0, 0.006) + 0.004 * np.sin(np.linspace(0, rng.uniform(2, 5), 80) + rng.uniform(0, 6))
        path = lines[k] * (1 - f) + lines[k + 1] * f + np.column_stack([wave, wave * 0.4]).astype(np.float32)
        clump = clumps[int(at / (len(lines) - 1) * 39)]
        shade = tone * (0.98 + 0.15 * clump + rng.normal(0, 0.20))
        begin = rng.uniform(0, 0.25)
        pieces = np.linspace(begin, rng.uniform(0.8, 1.0), 9)
        for a, b in pairwise(pieces):
            s = (a + b) / 2
            shine = sheen * np.exp(-(((s - 0.30 - 0.03 * clump) / 0.13) ** 2)) + 0.4 * sheen * np.exp(
                -(((s - 0.72) / 0.12) ** 2)
            )
            light = max(0.25, shade * (0.9 + 1.9 * shine))
            colour = (0.205 * light, 0.112 * light * (1 - 0.04 * shine), 0.074 * light)
            found.append(
                (path[int(a * 79) : int(b * 79) + 2], colour, width * rng.uniform(0.6, 1.5) * (1.0 - 0.6 * s**3))
            )
    return found


def mirror(guides: Guides) -> Guides:
    return [[(-x, y) for x, y in guide] for guide in guides]


def hair_behind(c: Canvas) -> None:
    """The hair at the neck: dark, with a few strands that catch light."""
    half = path("0,-0.7 0.24,-0.68 0.4,-0.52 0.455,-0.28 0.465,0.02 0.475,0.3")
    half += path("0.455,0.52 0.36,0.66 0.22,0.64 0,0.5")
    c.lay((0.075, 0.042, 0.034), c.mask(curve(mirrored(half), 500, closed=True), 0.008))
    guides = [
        [(0.30 + 0.03 * k, -0.30), (0.32 + 0.035 * k, 0.05), (0.30 + 0.045 * k, 0.40), (0.20 + 0.07 * k, 0.66)]
        for k in range(5)
    ]
    for seed, family in enumerate((guides, mirror(guides))):
        c.strands(strand_family(family, 500, seed, sheen=0.05, tone=0.55), 0.8)


def body(c: Canvas) -> None:
    half = path("0,0.2 0.195,0.25 0.186,0.45 0.187,0.58 0.225,0.68 0.34,0.765 0.4,0.86 0.36,1.3 0,1.3")
    neck = curve(mirrored(half), 400, closed=True)
    mask = c.mask(neck, 0.003)
    light = 0.66 - 0.62 * smooth(c.x, -0.10, 0.28) * 0.5 + 0.12 * c.bump(-0.10, 0.62, 0.08, 0.25)
    light -= (
        0.44
        * np.exp(-((np.clip(c.y - 0.46 - 0.12 * np.cos(np.clip(c.x * 4, -1.5, 1.5)), 0, 9) / 0.11) ** 2))
        * smooth(c.x, -0.34, 0.02) ** 0.5
    )
    light -= 0.20 * np.exp(-(((c.y - 0.50) / 0.10) ** 2))
    # Muscles of the neck and collar bones.
    light += 0.05 * np.exp(-(((c.x + 0.11 - 0.12 * (c.y - 0.75)) / 0.03) ** 2)) - 0.04 * np.exp(
        -(((c.x - 0.07 + 0.14 * (c.y - 0.75)) / 0.035) ** 2)
    )
    light += (
        0.07 * c.pair(0.20, 0.775, 0.14, 0.018)
        - 0.07 * c.pair(0.19, 0.81, 0.15, 0.02)
        - 0.05 * c.bump(0, 0.80, 0.03, 0.03)
    )
    c.lay(skin_of(c.blur(light.astype(np.float32), 0.012)), mask)
    top = curve(
        path(
            "-1.3,1.4 -1.25,1.1 -0.95,0.93 -0.62,0.83 -0.375,0.745 -0.3,0.8 -0.17,0.905 0,0.945 "
            "0.17,0.905 0.3,0.8 0.375,0.745 0.62,0.83 0.95,0.93 1.25,1.1 1.3,1.4"
        ),
        500,
    )
    cloth = c.mask(top, 0.0025)
    # The garment's shadow on the skin, then the knitted cloth with its folds.
    c.multiply((0.62, 0.50, 0.48), c.mask(top - f32(0, 0.018), 0.016) * mask * 0.8)
    rng = np.random.default_rng(11)
    folds = c.blur(rng.normal(0, 1, (DRAWN, DRAWN)).astype(np.float32), 0.05)
    folds /= folds.std()
    shade = 0.80 - 0.30 * smooth(c.x, -0.5, 0.95) + 0.10 * c.bump(-0.55, 0.95, 0.3, 0.16) + 0.030 * folds
    rib = np.sin(np.hypot(c.x, c.y - 0.35) * 420) * 0.012
    weave = np.sin(c.x * 380) * np.sin(c.y * 400) * 0.018
    cloth_rgb = np.array([0.16, 0.40, 0.42], np.float32) * (shade + weave)[..., None] * 1.25
    c.lay(cloth_rgb, cloth)
    line = curve(path("-0.375,0.745 -0.3,0.8 -0.17,0.905 0,0.945 0.17,0.905 0.3,0.8 0.375,0.745"), 200)
    band = c.stroke(line + f32(0, 0.018), 0.036)
    band_mask = band * cloth
    c.lay(np.array([0.15, 0.38, 0.40], np.float32) * (shade + rib + 0.12)[..., None] * 1.25, band_mask * 0.9)
    c.multiply((0.55, 0.55, 0.55), np.clip(c.blur(band_mask, 0.008) * 1.2, 0, 1) * (1 - band_mask) * cloth * 0.5)


def face(c: Canvas) -> None:
    outline = curve(mirrored(FACE), 500, closed=True)
    mask = c.mask(outline, 0.0022)
    ears = c.mask(
        curve(mirrored(path("0.34,-0.13 0.395,-0.14 0.405,-0.06 0.385,0.03 0.35,0.07"))[:5], 100, closed=True),
        0.003,
    )
    ears = np.maximum(ears, ears[:, ::-1])
    c.lay(
        skin_of((0.50 - 0.25 * smooth(c.x, -0.3, 0.4) + 0.10 * c.pair(0.39, -0.08, 0.010, 0.05)).astype(np.float32)),
        ears,
    )
    z = relief(c, outline)
    light, gloss = lit(c, z)
    # Hollows are darker than their slope alone says.
    light = light * 0.93 + 0.07 + 2.6 * np.clip(z - c.blur(z, 0.035), -0.02, 0.012)
    light -= 0.10 * np.exp(-((np.clip(c.y + 0.50, 0, 9) / 0.10) ** 2))
    # Seen at the rim, skin turns towards the dark, on the far side more.
    colour = skin_of(c.blur(light.astype(np.float32), 0.004))
    for x in (-0.225, 0.225):
        warm = c.bump(x, 0.085, 0.105, 0.080) * 0.34
        colour = colour * (1 - warm[..., None]) + colour * f32(1.0, 0.80, 0.77) * warm[..., None]
    nose_warm = (c.bump(0, 0.095, 0.055, 0.045) * 0.30)[..., None]
    colour = colour * (1 - nose_warm) + colour * f32(1.0, 0.82, 0.78) * nose_warm
    colour = colour + f32(1.0, 0.95, 0.88) * (gloss * 0.085)[..., None]
    rng = np.random.default_rng(3)
    pores = c.blur(rng.normal(0, 1, (DRAWN, DRAWN)).astype(np.float32), 0.0022)
    mottle = c.blur(rng.normal(0, 1, (DRAWN, DRAWN)).astype(np.float32), 0.02)
    colour = colour * (1 + 0.006 * pores / pores.std() + 0.008 * mottle / mottle.std())[..., None]
    c.lay(colour, mask)
    # Nostrils and the shadows around the nose.
    for s in (-1, 1):
        c.multiply((0.40, 0.20, 0.17), np.clip(c.bump(s * 0.030, 0.128, 0.0155, 0.0075) * 1.15, 0, 1) * 0.90)
        c.multiply((0.72, 0.50, 0.45), c.bump(s * 0.078, 0.112, 0.008, 0.024) * 0.42)
        c.multiply((0.80, 0.62, 0.56), c.bump(s * 0.105, 0.165, 0.020, 0.055) * 0.20)
        c.multiply((0.72, 0.52, 0.47), c.bump(s * 0.052, 0.138, 0.030, 0.007) * 0.45)
    c.multiply((0.74, 0.54, 0.48), c.bump(0.0, 0.143, 0.035, 0.008) * 0.55)
    c.multiply((0.86, 0.70, 0.66), c.bump(0.012, 0.172, 0.016, 0.030) * 0.35)
    c.lay((1.0, 0.93, 0.86), c.bump(-0.010, 0.080, 0.011, 0.014) * 0.36 + c.bump(-0.008, -0.02, 0.008, 0.07) * 0.16)


def lips(c: Canvas) -> None:
    half_seam = path("0,0.2535 0.04,0.249 0.088,0.2445 0.138,0.2315")
    half_top = path("0,0.213 0.023,0.2055 0.044,0.207 0.09,0.2185 0.138,0.2305")
    half_low = path("0,0.3075 0.052,0.2995 0.098,0.2695 0.138,0.2325")
    seam = [*((-x, y) for x, y in reversed(half_seam[1:])), *half_seam]
    upper_edge = [*reversed(half_top), *((-x, y) for x, y in half_top[1:])]
    lower_edge = [*reversed(half_low), *((-x, y) for x, y in half_low[1:])]
    upper = c.mask(np.concatenate([curve(seam), curve(upper_edge)]), 0.0032)
    lower = c.mask(np.concatenate([curve(seam), curve(lower_edge)]), 0.0036)
    shade_u = 0.86 - 0.24 * smooth(c.x, -0.08, 0.12) - 0.22 * smooth(c.y, 0.222, 0.250)
    shade_l = (
        1.02
        - 0.20 * smooth(c.x, -0.05, 0.12)
        - 0.30 * (1 - smooth(c.y, 0.250, 0.266))
        - 0.16 * smooth(c.y, 0.280, 0.304)
    )
    c.lay(np.array([0.735, 0.335, 0.325], np.float32) * shade_u[..., None], upper * 0.82)
    c.lay(np.array([0.835, 0.415, 0.395], np.float32) * shade_l[..., None], lower * 0.80)
    wrinkles = 0.5 + 0.5 * np.sin(c.x * 520 + 9 * np.sin(c.x * 37))
    c.multiply((0.86, 0.80, 0.80), (upper + lower) * wrinkles.astype(np.float32) * 0.14)
    c.lay(
        (1.0, 0.86, 0.82),
        lower * np.clip(c.bump(-0.022, 0.275, 0.030, 0.0085) + 0.5 * c.bump(0.034, 0.276, 0.018, 0.007), 0, 1) * 0.42,
    )
    c.lay((1.0, 0.86, 0.80), c.bump(-0.03, 0.2045, 0.030, 0.004) * 0.20)
    line = c.stroke(curve(seam), 0.0062)
    c.multiply((0.40, 0.13, 0.13), c.blur(line, 0.0022) * 0.95)
    for s in (-1, 1):
        c.multiply((0.55, 0.33, 0.30), c.bump(s * 0.143, 0.229, 0.013, 0.010) * 0.40)
    c.multiply((0.78, 0.58, 0.53), c.bump(0.0, 0.319, 0.065, 0.012) * 0.60)


def eye(c: Canvas, side: int) -> None:
    """Args: side: -1: at the viewer's left."""

    def at(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(side * (EYE_X + x * EYE_HALF), EYE_Y + y * EYE_HALF) for x, y in points]

    # From the inner corner (x = -1) to the outer one, which stands a little higher.
    upper = at(path("-1.02,0.16 -0.7,-0.22 -0.25,-0.475 0.2,-0.5 0.62,-0.33 0.88,-0.1 1,0"))
    lower = at(path("1,0 0.72,0.215 0.3,0.335 -0.15,0.345 -0.6,0.25 -0.88,0.18 -1.02,0.16"))
    up, low = curve(upper), curve(lower)
    opening = c.mask(np.concatenate([up, low]), 0.0016)
    cx, cy = side * EYE_X, EYE_Y - 0.004
    ball = 0.93 - 0.30 * np.clip(np.hypot((c.x - cx) / 0.085, (c.y - cy) / 0.075), 0, 1.3) ** 2
    c.lay(np.array([0.955, 0.935, 0.915], np.float32) * ball[..., None], opening)
    c.lay((0.80, 0.47, 0.43), opening * c.bump(side * (EYE_X - 0.079), EYE_Y + 0.012, 0.012, 0.012) * 0.85)
    distance = np.hypot(c.x - cx, c.y - cy) / IRIS
    angle = np.arctan2(c.y - cy, c.x - cx)
    rays = 0.5 + 0.5 * np.sin(angle * 38 + 3 * np.sin(angle * 7 + side)) * np.sin(angle * 23 + 1.3)
    inner = np.array([0.46, 0.31, 0.13], np.float32)
    outer = np.array([0.17, 0.30, 0.265], np.float32)
    mix = smooth(distance, 0.38, 0.78)[..., None]
    iris = (inner * (1 - mix) + outer * mix) * (0.72 + 0.55 * rays * smooth(distance, 0.3, 0.6))[..., None]
    # Light that enters above comes out below.
    iris = iris * (1.0 + 0.95 * smooth(c.y - cy, -0.01, 0.034) * (1 - smooth(distance, 0.80, 0.98)))[..., None]
    iris = iris * (1 - 0.72 * smooth(distance, 0.80, 1.0))[..., None]
    c.lay(iris, opening * (1 - smooth(distance, 0.965, 1.035)))
    c.lay((0.025, 0.018, 0.018), opening * (1 - smooth(distance, 0.385, 0.44)))
    # The upper lid's shadow, then the light of the window, the same in both eyes.
    lid = c.mask(np.concatenate([up - f32(0, 0.05), up[::-1] + f32(0, 0.013)]), 0.006)
    c.multiply((0.42, 0.34, 0.34), opening * np.clip(lid * 1.2, 0, 1) * 0.72)
    c.lay((1.0, 0.99, 0.97), np.clip(1.35 * c.bump(cx - 0.0135, cy - 0.0145, 0.0082, 0.0088) ** 2, 0, 1) * 0.97)
    c.lay((0.95, 0.97, 1.0), c.bump(cx + 0.014, cy + 0.016, 0.006, 0.005) * 0.35)
    # Wet lower rim, crease, lashes.
    rim = c.stroke(low + f32(0, 0.0022), 0.0052)
    c.lay((0.86, 0.62, 0.55), c.blur(rim, 0.0012) * 0.75)
    c.multiply((0.70, 0.50, 0.46), c.blur(c.mask(np.concatenate([low, low[::-1] + f32(0, 0.010)]), 0.0), 0.005) * 0.5)
    crease = curve(at(path("-0.98,-0.12 -0.62,-0.52 -0.15,-0.76 0.32,-0.76 0.76,-0.54 1.08,-0.22")))
    fold = c.stroke(crease, 0.0050)
    c.multiply((0.52, 0.30, 0.26), c.blur(fold, 0.0034) * 0.85)
    c.lay(
        (0.97, 0.80, 0.70),
        c.mask(np.concatenate([crease + f32(0, 0.007), up[::-1] - f32(0, 0.012)]), 0.006) * 0.22,
    )
    ends = np.sin(np.linspace(0, np.pi, 200)) ** 0.45
    liner = np.concatenate(
        [
            up - np.column_stack([0 * ends, 0.0085 * ends * np.linspace(0.55, 1.15, 200)]),
            up[::-1] + f32(0, 0.0018),
        ]
    )
    c.lay((0.085, 0.045, 0.04), c.mask(liner.astype(np.float32), 0.0013) * 0.92)
    rng = np.random.default_rng(21)
    lashes: list[tuple[Array, Colour, float]] = []
    for t in np.linspace(0.20, 0.99, 60):
        root = up[int(t * 199)]
        lean = side * (t - 0.42) * 1.5 + rng.normal(0, 0.08)
        length = (0.012 + 0.017 * t) * rng.uniform(0.85, 1.12)
        tip = root + f32(lean * length, -length * (0.72 - 0.30 * t))
        bend = (root + tip) / 2 + f32(lean * 0.004, 0.0035)
        lashes.append((curve([tuple(root), tuple(bend), tuple(tip)], 12), (0.08, 0.045, 0.04), 0.0016))
    for t in np.linspace(0.10, 0.75, 26):
        root = low[int(t * 199)] + f32(0, 0.002)
        tip = root + f32(side * (0.006 - 0.010 * t) + rng.normal(0, 0.001), 0.0105 * rng.uniform(0.7, 1.1))
        lashes.append((np.stack([root, tip]), (0.30, 0.17, 0.14), 0.0010))
    c.strands(lashes, 0.62)


def brow(c: Canvas, side: int) -> None:
    """Args: side: -1: at the viewer's left."""
    spine = curve(
        [(side * x, y) for x, y in ((0.066, -0.196), (0.12, -0.217), (0.19, -0.231), (0.245, -0.219), (0.298, -0.180))]
    )
    t = np.linspace(0, 1, 200)
    half = (0.0165 * (1 - t**2.2 * 0.85) * smooth(t, -0.12, 0.22)).astype(np.float32)
    shape = np.concatenate(
        [spine - np.column_stack([0 * half, half]), (spine + np.column_stack([0 * half, half]))[::-1]]
    )
    c.lay((0.30, 0.175, 0.13), c.mask(shape.astype(np.float32), 0.0065) * 0.46)
    rng = np.random.default_rng(31)
    hairs: list[tuple[Array, Colour, float]] = []
    for _ in range(330):
        s = rng.uniform(0, 1) ** 0.9
        k = int(s * 199)
        root = spine[k] + f32(0, rng.uniform(-0.9, 0.9) * half[k])
        ahead = spine[min(k + 6, 199)] - spine[max(k - 6, 0)]
        ahead = ahead / max(float(np.hypot(*ahead)), 1e-6)
        lift = f32(side * 0.15, -1.0) * (0.85 - 0.85 * s)
        step = (ahead * (0.5 + s) + lift * 0.75) * rng.uniform(0.013, 0.024)
        tone = rng.uniform(0.75, 1.35)
        hairs.append(
            (
                np.stack([root, root + step * 0.55, root + step]).astype(np.float32),
                (0.185 * tone, 0.100 * tone, 0.072 * tone),
                0.0017,
            )
        )
    c.strands(hairs, 0.55)


def hair_in_front(c: Canvas) -> None:
    """Parted beside the middle, swept over the temples, past the cheeks and in again at the shoulders."""
    left = [
        path("0.062,-0.772 -0.08,-0.778 -0.31,-0.675 -0.465,-0.42 -0.505,-0.08 -0.53,0.25 -0.5,0.52 -0.39,0.69"),
        path("0.066,-0.715 -0.07,-0.735 -0.28,-0.645 -0.435,-0.4 -0.475,-0.06 -0.495,0.26 -0.455,0.52 -0.35,0.68"),
        path("0.071,-0.67 -0.05,-0.69 -0.24,-0.6 -0.405,-0.38 -0.445,-0.04 -0.46,0.26 -0.41,0.51 -0.31,0.655"),
        path("0.075,-0.628 -0.03,-0.635 -0.2,-0.545 -0.375,-0.36 -0.418,-0.02 -0.425,0.25 -0.37,0.48 -0.28,0.6"),
        path("0.08,-0.588 0,-0.58 -0.15,-0.48 -0.33,-0.33 -0.395,-0.02 -0.395,0.22 -0.34,0.43 -0.265,0.52"),
        path("0.084,-0.55 0.03,-0.535 -0.09,-0.43 -0.27,-0.315 -0.372,-0.06 -0.374,0.16 -0.335,0.36 -0.285,0.46"),
    ]
    right = [
        path("0.062,-0.772 0.2,-0.765 0.35,-0.655 0.475,-0.41 0.51,-0.08 0.53,0.25 0.5,0.52 0.39,0.69"),
        path("0.068,-0.704 0.18,-0.72 0.325,-0.62 0.44,-0.39 0.478,-0.06 0.495,0.26 0.455,0.52 0.35,0.68"),
        path("0.073,-0.649 0.165,-0.67 0.295,-0.57 0.41,-0.37 0.446,-0.04 0.46,0.26 0.41,0.51 0.31,0.655"),
        path("0.079,-0.598 0.15,-0.61 0.255,-0.51 0.375,-0.35 0.418,-0.02 0.425,0.25 0.37,0.48 0.28,0.6"),
        path("0.084,-0.55 0.125,-0.555 0.21,-0.455 0.325,-0.33 0.39,-0.04 0.39,0.2 0.34,0.42 0.275,0.52"),
    ]
    skin = c.mask(curve(mirrored(FACE), 500, closed=True), 0.004)
    for seed, (guides, sheen, tone) in enumerate(((left, 0.60, 1.0), (right, 0.34, 0.86))):
        first, last = curve(guides[0]), curve(guides[-1])
        lock = c.mask(np.concatenate([first, last[::-1]]), 0.004)
        # Its shadow falls on the face before it is laid over it.
        away = f32(0.022, 0.030) if seed == 0 else f32(-0.010, 0.030)
        shadow = c.mask(np.concatenate([first, last[::-1]]) + away, 0.022) * (1 - lock) * skin
        c.multiply((0.50, 0.30, 0.26), shadow * 0.60)
        # Locks end in points, not in a line.
        c.lay(tuple(tone * v for v in HAIR_BASE), lock * (1 - smooth(c.y, 0.40, 0.60)))
        c.strands(strand_family(guides, 3400, 50 + seed, sheen=sheen, tone=tone), 0.88)
        loose = [guides[0], [(x * 1.035, y * 1.012) for x, y in guides[0]]]
        c.strands(strand_family(loose, 60, 70 + seed, sheen=sheen, tone=tone, width=0.0011), 0.5)
        inner = [guides[-1], [(x * 0.93, y) for x, y in guides[-1]]]
        c.strands(strand_family(inner, 36, 90 + seed, sheen=sheen, tone=tone, width=0.0012), 0.6)


def draw() -> NDArray[np.uint8]:
    """The portrait, shape (EDGE, EDGE, 3), RGB."""
    c = Canvas()
    background(c)
    hair_behind(c)
    body(c)
    face(c)
    lips(c)
    for side in (-1, 1):
        eye(c, side)
        brow(c, side)
    hair_in_front(c)
    # One light over all of it: warm from the upper left, and a little darker to the corners.
    c.image *= (1 + 0.05 * c.bump(-0.4, -0.5, 1.0, 0.9) - 0.14 * smooth(np.hypot(c.x, c.y - 0.1), 0.65, 1.5))[..., None]
    c.image *= f32(1.012, 1.0, 0.985)
    rng = np.random.default_rng(9)
    c.image += rng.normal(0, 0.010, (DRAWN, DRAWN, 1)).astype(np.float32)
    small = cv2.resize(np.clip(c.image, 0, 1), (EDGE, EDGE), interpolation=cv2.INTER_AREA)
    return np.rint(small * 255).astype(np.uint8)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=OUT)
    out = parser.parse_args().out
    if not cv2.imwrite(str(out), draw()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90]):
        raise SystemExit(f"{out} could not be written")
