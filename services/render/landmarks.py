"""Finds faces, their landmarks and the person around them: four small models on LiteRT.

Source: BlazeFace, Face Mesh, Iris and Selfie Segmentation; anchors, regions of interest and the order of outputs are
those of the graphs of MediaPipe 0.10.21.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.models import model_path

Image = NDArray[np.uint8]
Points = NDArray[np.float32]

MESH_POINTS = 468
IRIS_POINTS = 5
_DETECTOR_EDGE = 128
_MESH_EDGE = 192
_IRIS_EDGE = 64
_MIN_SCORE = 0.5
_MAX_OVERLAP = 0.3
# Corners of the two eyes, the person's right eye (the viewer's left) first.
_EYE_CORNERS = ((33, 133), (362, 263))
# The landmarks that the iris model sees more exactly than the mesh model, in the order of its output.
_LID_POINTS = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
)


@dataclass(frozen=True, slots=True)
class Face:
    """A face that was found.

    Attributes:
        score: how sure the detector was, 0 to 1. It does not tell people from statues and dogs.
        points: shape (478, 3), x and y in pixels, z in the same unit, smaller is nearer: 468 of the mesh, then 5 of
            the person's right iris and 5 of the left one, the centre first.
    """

    score: float
    points: Points

    @property
    def width(self) -> float:
        """From the leftmost to the rightmost landmark, in pixels."""
        return float(np.ptp(self.points[:MESH_POINTS, 0]))


class _Model:
    """One LiteRT model, on one thread."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(str(path), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = {detail["name"]: detail["index"] for detail in self._interpreter.get_output_details()}

    def __call__(self, image: NDArray[np.float32], *names: str) -> list[NDArray[np.float32]]:
        """Args: image: shape (edge, edge, 3). Returns: the outputs of these names, without the batch axis."""
        self._interpreter.set_tensor(self._input, image[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(self._outputs[name])[0] for name in names]


def _anchors() -> NDArray[np.float32]:
    """Centres of BlazeFace's 896 anchors, shape (896, 2), in [0, 1]: 16x16 cells of 2, then 8x8 cells of 6."""
    centres = []
    for cells, per_cell in ((16, 2), (8, 6)):
        y, x = np.mgrid[0:cells, 0:cells]
        grid = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) / cells
        centres.append(np.repeat(grid, per_cell, axis=0))
    return np.concatenate(centres).astype(np.float32)


def _sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-np.clip(x, -80.0, 80.0)))


@dataclass(frozen=True, slots=True)
class _Region:
    """A turned square of a picture. Unit: pixels; angle in radians, clockwise as the viewer sees it."""

    x: float
    y: float
    edge: float
    angle: float = 0.0

    def to_picture(self, out_edge: int) -> NDArray[np.float32]:
        """Affine matrix, shape (2, 3), from a crop of `out_edge` pixels to the picture."""
        scale = self.edge / out_edge
        cos, sin = scale * np.cos(self.angle), scale * np.sin(self.angle)
        half = (out_edge - 1) / 2
        return np.array(
            [[cos, -sin, self.x - cos * half + sin * half], [sin, cos, self.y - sin * half - cos * half]], np.float32
        )

    def crop(self, image: Image, out_edge: int) -> Image:
        """The region as an upright square; what lies outside the picture is black."""
        matrix = self.to_picture(out_edge)
        if self.edge > 2 * out_edge:
            # Without this low-pass the crop of a large picture would be aliased.
            reach = self.edge * 0.75
            left, top = max(int(self.x - reach), 0), max(int(self.y - reach), 0)
            image = image[top : max(int(self.y + reach), top + 1), left : max(int(self.x + reach), left + 1)]
            matrix[:, 2] -= (left, top)
            width, height = (max(1, round(side * out_edge * 1.5 / self.edge)) for side in image.shape[1::-1])
            shrink = np.array([[width / image.shape[1]], [height / image.shape[0]]])
            image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            # Pixel centres, not corners, keep their place.
            matrix = matrix * shrink
            matrix[:, 2] += (shrink[:, 0] - 1) / 2
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(image, matrix, (out_edge, out_edge), flags=flags), np.uint8)


def _region_around(points: Points, first: int, second: int, scale: float) -> _Region:
    """The turned square around points, level with the line from one of them to another, enlarged by `scale`."""
    dx, dy = points[second, :2] - points[first, :2]
    angle = float(np.arctan2(dy, dx))
    axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    level = points[:, :2] @ axes.T
    low, high = level.min(0), level.max(0)
    x, y = axes.T @ ((low + high) / 2)
    return _Region(float(x), float(y), float((high - low).max()) * scale, angle)


def _looks_at(points: Points) -> Iterator[_Region]:
    """Regions around a face, each a little larger, smaller or turned."""
    start = _region_around(points[:MESH_POINTS], 33, 263, 1.5)
    for zoom in (0.92, 1.0, 1.1):
        for turn in (-0.12, 0.0, 0.12):
            yield _Region(start.x, start.y, start.edge * zoom, start.angle + turn)


class FaceLandmarker:
    """Finds the faces of a picture. Not for use by two threads at once."""

    def __init__(self, data_dir: Path) -> None:
        """Raises: NotReadyError if a model file is missing."""
        self._detector = _Model(model_path(data_dir, "face_detection_short_range.tflite"))
        self._mesh = _Model(model_path(data_dir, "face_landmark.tflite"))
        self._iris = _Model(model_path(data_dir, "iris_landmark.tflite"))
        self._anchors = _anchors()

    def find(self, image_rgb: Image) -> list[Face]:
        """Every face, the largest first. Args: image_rgb: shape (height, width, 3)."""
        faces = []
        for score, region in self._detect_at_scales(image_rgb):
            found = self._landmarks(image_rgb, region)
            if found is not None:
                faces.append(Face(score, found))
        return sorted(_distinct(faces), key=lambda face: face.width, reverse=True)

    def follow(self, image_rgb: Image, last: Points) -> Points | None:
        """The landmarks of a face in a video's next picture; None if it is no longer there. Args: last: before."""
        return self._landmarks(image_rgb, _region_around(last[:MESH_POINTS], 33, 263, 1.5), looks=1)

    def refine(self, image_rgb: Image, near: Points) -> Points:
        """The landmarks of the face at `near`, more exactly: the mean of several looks, each a little off."""
        looks = [near]
        for region in _looks_at(near):
            found = self._landmarks(image_rgb, region, looks=1)
            if found is not None:
                looks.append(found)
        return np.asarray(np.mean(looks, axis=0), np.float32)

    def presence(self, image_rgb: Image, points: Points) -> float:
        """How sure the mesh model is of a person's face at `points`, as a logit: the mean of several looks."""
        logits = []
        for region in _looks_at(points):
            crop = region.crop(image_rgb, _MESH_EDGE).astype(np.float32) / 255.0
            (logit,) = self._mesh(crop, "conv2d_31")
            logits.append(float(logit.ravel()[0]))
        return float(np.mean(logits))

    def surroundings(self, image_rgb: Image, points: Points) -> float:
        """How sure the detector is of the face at `points`, 0 to 1, when it sees what is around it as well."""
        low, high = points[:MESH_POINTS, :2].min(0), points[:MESH_POINTS, :2].max(0)
        (x, y), edge = (low + high) / 2, float((high - low).max())
        scores = []
        for zoom in (3.0, 4.0):
            found = self._detect(image_rgb, _Region(float(x), float(y), zoom * edge))
            here = [score for score, region in found if max(abs(region.x - x), abs(region.y - y)) < edge / 2]
            scores.append(max(here, default=0.0))
        return float(np.mean(scores))

    def _detect_at_scales(self, image: Image) -> list[tuple[float, _Region]]:
        """The detector sees faces of a sixth of the picture or more: look at parts of a large picture too."""
        height, width = image.shape[:2]
        whole = max(height, width)
        found = self._detect(image, _Region((width - 1) / 2, (height - 1) / 2, whole))
        for parts in (2, 4):
            edge = whole / parts
            if edge < _DETECTOR_EDGE or (parts == 4 and found):
                break
            for y in np.arange(edge / 2, max(height - edge / 2, edge / 2) + 1, edge / 2):
                for x in np.arange(edge / 2, max(width - edge / 2, edge / 2) + 1, edge / 2):
                    found += self._detect(image, _Region(float(x), float(y), edge))
        kept: list[tuple[float, _Region]] = []
        for score, region in sorted(found, key=lambda item: item[0], reverse=True):
            if all(_overlap(region, other) < _MAX_OVERLAP for _, other in kept):
                kept.append((score, region))
        return kept

    def _detect(self, image: Image, region: _Region) -> list[tuple[float, _Region]]:
        crop = region.crop(image, _DETECTOR_EDGE).astype(np.float32) / 127.5 - 1.0
        boxes, logits = self._detector(crop, "regressors", "classificators")
        scores = _sigmoid(logits[:, 0])
        to_picture = region.to_picture(_DETECTOR_EDGE)
        found = []
        for index in np.flatnonzero(scores >= _MIN_SCORE):
            # (x, y, width, height), then six points of which the eyes come first
            values = boxes[index].reshape(8, 2).copy()
            values[[0, *range(2, 8)]] += self._anchors[index] * _DETECTOR_EDGE
            points = values @ to_picture[:, :2].T + to_picture[:, 2]
            (dx, dy) = points[3] - points[2]
            edge = float(values[1].max()) * region.edge / _DETECTOR_EDGE * 1.5
            x, y = points[0]
            found.append((float(scores[index]), _Region(float(x), float(y), edge, float(np.arctan2(dy, dx)))))
        return found

    def _landmarks(self, image: Image, region: _Region, looks: int = 2) -> Points | None:
        points = None
        # The second look starts from the first one's landmarks, which sit better than the detector's box.
        for _ in range(looks):
            crop = region.crop(image, _MESH_EDGE).astype(np.float32) / 255.0
            flat, presence = self._mesh(crop, "conv2d_21", "conv2d_31")
            if float(_sigmoid(presence.ravel()[0])) < _MIN_SCORE:
                return None
            points = _to_picture(flat.reshape(MESH_POINTS, 3), region, _MESH_EDGE)
            region = _region_around(points, 33, 263, 1.5)
        assert points is not None
        return np.concatenate([points, *(self._iris_of(image, points, side) for side in (0, 1))])

    def _iris_of(self, image: Image, points: Points, side: int) -> Points:
        """The five points of an iris, shape (5, 3); moves the points of the lids to where this model sees them."""
        corners = points[list(_EYE_CORNERS[side])]
        region = _region_around(corners, 0, 1, 2.3)
        crop = region.crop(image, _IRIS_EDGE)
        if side == 1:
            # The model knows the person's right eye only.
            crop = crop[:, ::-1]
        contour, iris = self._iris(crop.astype(np.float32) / 255.0, "output_eyes_contours_and_brows", "output_iris")
        seen = np.concatenate([contour.reshape(-1, 3)[: len(_LID_POINTS[0])], iris.reshape(IRIS_POINTS, 3)])
        if side == 1:
            seen[:, 0] = _IRIS_EDGE - 1 - seen[:, 0]
        placed = _to_picture(seen, region, _IRIS_EDGE)
        points[list(_LID_POINTS[side]), :2] = placed[: len(_LID_POINTS[0]), :2]
        iris_points = placed[len(_LID_POINTS[0]) :]
        iris_points[:, 2] = corners[:, 2].mean()
        return iris_points


class PersonSegmenter:
    """Tells a person from the background. Not for use by two threads at once."""

    _EDGE = 256

    def __init__(self, data_dir: Path) -> None:
        """Raises: NotReadyError if the model file is missing."""
        self._model = _Model(model_path(data_dir, "selfie_segmentation.tflite"))

    def person(self, image_rgb: Image) -> NDArray[np.uint8]:
        """Shape (height, width), 0 to 255: how much of a pixel belongs to a person."""
        small = cv2.resize(image_rgb, (self._EDGE, self._EDGE), interpolation=cv2.INTER_AREA)
        (mask,) = self._model(small.astype(np.float32) / 255.0, "activation_10")
        size = (image_rgb.shape[1], image_rgb.shape[0])
        return np.asarray(np.rint(cv2.resize(mask[..., 0], size) * 255.0), np.uint8)


def _to_picture(points: NDArray[np.float32], region: _Region, edge: int) -> Points:
    matrix = region.to_picture(edge)
    xy = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([xy, points[:, 2:] * (region.edge / edge)], axis=1).astype(np.float32)


def _overlap(a: _Region, b: _Region) -> float:
    """How much of the smaller upright square lies in the other one, 0 to 1."""
    width = min(a.x + a.edge / 2, b.x + b.edge / 2) - max(a.x - a.edge / 2, b.x - b.edge / 2)
    height = min(a.y + a.edge / 2, b.y + b.edge / 2) - max(a.y - a.edge / 2, b.y - b.edge / 2)
    return max(width, 0.0) * max(height, 0.0) / min(a.edge, b.edge) ** 2


def _distinct(faces: list[Face]) -> list[Face]:
    """Two detections may lead to the same landmarks: keep the surer one."""
    kept: list[Face] = []
    for face in faces:
        centre = face.points[:MESH_POINTS, :2].mean(0)
        if all(np.hypot(*(centre - other.points[:MESH_POINTS, :2].mean(0))) > other.width / 3 for other in kept):
            kept.append(face)
    return kept
