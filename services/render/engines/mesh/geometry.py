"""Where every point of the mesh goes: blendshapes, then the head's turn."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.render.blendshapes import Weights
from services.render.engine import HeadPose
from services.render.engines.mesh import topology
from services.render.engines.mesh.deltas import blendshape_deltas, smoothstep
from services.render.landmarks import MESH_POINTS

Array = NDArray[np.float64]

# Rings of points around the face's oval carry the head's motion to hair, ears, neck and fade it out. As multiples
# of the oval's distance from the face's centre, with how much of the face's own deformation they take.
_RINGS = ((1.12, 0.62), (1.28, 0.32), (1.5, 0.10), (1.8, 0.0), (2.2, 0.0), (2.8, 0.0))
# MediaPipe's depth is exaggerated for the nose of a face seen from close by.
_DEPTH = 0.8


@dataclass(frozen=True, slots=True)
class Pose:
    """A head pose as a rotation about the neck, shape (3, 3), in the head's frame."""

    rotation: Array
    pivot: Array

    def apply(self, points: Array) -> Array:
        return (points - self.pivot) @ self.rotation.T + self.pivot


class Geometry:
    """The mesh of one portrait.

    Attributes:
        source: shape (n, 2), float32, the points in pixels of the portrait.
        triangles: for `raster`, only those that can move, the farthest first.
        mouth, mouth_width, height: of the face, in the head's frame.
    """

    def __init__(self, points: NDArray[np.float32], person: NDArray[np.uint8], connections: Path) -> None:
        """Args: points: shape (478, 3), landmarks in pixels; person: shape (edge, edge), 0 to 255."""
        p = points.astype(np.float64)
        across = p[263] - p[33]
        across /= np.linalg.norm(across)
        down = p[topology.CHIN] - p[topology.FOREHEAD]
        down -= across * (down @ across)
        down /= np.linalg.norm(down)
        # Rows: the head's axes in the picture.
        self._axes = np.stack([across, down, np.cross(across, down)])
        self._centre = p[[33, 133, 362, 263]].mean(0)
        level = (p - self._centre) @ self._axes.T
        self.level = level
        self.height = float(level[topology.CHIN, 1] - level[topology.FOREHEAD, 1])
        self.mouth = (level[13] + level[14]) / 2
        self.mouth_width = float(np.clip(level[291, 0] - level[61, 0], 0.24 * self.height, 0.42 * self.height))
        self._deltas = blendshape_deltas(level)
        # What a head that is turned already hides cannot be shown: it turns less.
        turned = float(np.degrees(np.arctan2(abs(self._axes[2, 0]), self._axes[2, 2])))
        self._turns = float(np.clip(1.0 - (turned - 8.0) / 40.0, 0.3, 1.0))
        self._pivot = np.array([0.0, 0.85 * self.height, 0.35 * self.height])

        oval = np.array(topology.OVAL)
        middle = (level[topology.FOREHEAD] + level[topology.CHIN]) / 2
        middle[2] = level[oval, 2].mean()
        rings = []
        for reach, _ in _RINGS:
            ring = middle + (level[oval] - middle) * np.array([reach, reach, 0.0])
            ring[:, 2] = level[oval, 2] * _DEPTH + 0.25 * self.height * min(1.0, (reach - 1.0) * 2.0)
            rings.append(ring)
        face = level[:MESH_POINTS] * np.array([1.0, 1.0, _DEPTH])
        self._points = np.concatenate([face, *rings])
        flat = self._points.copy()
        flat[:MESH_POINTS, 2] = level[:MESH_POINTS, 2]
        self.source = np.ascontiguousarray(self._in_picture(flat), np.float32)
        self.source[:MESH_POINTS] = points[:MESH_POINTS, :2]
        # What the pose does to a point whose depth is drawn flatter must be measured from where the point is.
        self._rest = self._in_picture(self._points)
        self._oval = oval
        self._follow = self._motion_weights(person)
        self._triangles(connections)

    def _in_picture(self, points: Array) -> Array:
        return np.asarray((points @ self._axes + self._centre)[:, :2])

    def _motion_weights(self, person: NDArray[np.uint8]) -> Array:
        """How far each point follows the head, 0 to 1: less down the neck, and not at all in the background."""
        import cv2

        edge = person.shape[0]
        soft = cv2.GaussianBlur(person, (0, 0), edge * 0.012).astype(np.float64) / 255.0
        rings = self._points[MESH_POINTS:]
        y = rings[:, 1]
        chin = self.level[topology.CHIN, 1]
        weights = 1.0 - smoothstep(y - chin, -0.15 * self.height, 0.55 * self.height)
        reach = np.repeat([reach for reach, _ in _RINGS], len(topology.OVAL))
        weights *= 1.0 - smoothstep(reach, 1.5, 2.8) * 0.6
        xy = self.source[MESH_POINTS:]
        column = np.clip(np.rint(xy[:, 0]).astype(int), 0, edge - 1)
        row = np.clip(np.rint(xy[:, 1]).astype(int), 0, edge - 1)
        near = reach < 1.2
        weights *= np.where(near, np.maximum(soft[row, column], 0.75), soft[row, column])
        weights[reach >= _RINGS[-1][0]] = 0.0
        return np.concatenate([np.ones(MESH_POINTS), weights])

    def _triangles(self, connections: Path) -> None:
        count = len(topology.OVAL)
        rows = [self._oval, *(MESH_POINTS + k * count + np.arange(count) for k in range(len(_RINGS)))]
        ring_triangles = []
        # The outermost first: what is nearer to the face is drawn over it.
        for inner, outer in reversed(list(itertools.pairwise(rows))):
            for i in range(count):
                j = (i + 1) % count
                ring_triangles += [(inner[i], inner[j], outer[i]), (inner[j], outer[j], outer[i])]
        skin = topology.skin_triangles(connections)
        depth = self._points[skin][:, :, 2].mean(1)
        # What lies in an opening is behind its rim.
        openings = np.array(topology.MOUTH_OPENING + topology.EYE_OPENINGS, np.int32)
        outside = np.array(ring_triangles, np.int32)
        moving = self._follow[outside].max(1) > 0.0
        triangles = np.concatenate([outside[moving], openings, skin[np.argsort(-depth)]])
        self.triangles = np.ascontiguousarray(triangles, np.int32)

    def pose(self, head: HeadPose) -> Pose:
        yaw, pitch, roll = np.radians([head.yaw * self._turns, head.pitch, head.roll])
        cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
        turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        return Pose(tilt @ nod @ turn, self._pivot)

    def place(self, weights: Weights, pose: Pose) -> NDArray[np.float32]:
        """Where the points are now, shape (n, 2), in pixels of the portrait."""
        delta = (weights @ self._deltas).reshape(MESH_POINTS, 3)
        points = self._points.copy()
        points[:MESH_POINTS] += delta
        count = len(topology.OVAL)
        for k, (_, share) in enumerate(_RINGS):
            if share:
                begin = MESH_POINTS + k * count
                points[begin : begin + count] += delta[self._oval] * share
        turned = pose.apply(points)
        points += (turned - points) * self._follow[:, None]
        return np.asarray(self._in_picture(points) - self._rest + self.source, np.float32)

    def on_skull(self, points: Array, pose: Pose) -> NDArray[np.float32]:
        """Points of the head's frame that follow the pose only, shape (n, 2), in pixels of the portrait."""
        return np.asarray(self._in_picture(pose.apply(points)), np.float32)
