"""The landmark models that LivePortrait was published with, on ONNX Runtime: where its crops and ratios come from.

`landmark.onnx` (203 points) is LivePortrait's own. InsightFace's detector and 106 points may be used for research that
is not commercial only: `avatar models` asks before it fetches them, and everything works without.

Source: SCRFD (Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", 2021) and InsightFace's
coordinate regression; inputs, anchors and thresholds are those of the published code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.errors import NotReadyError
from services.render.engines.liveportrait.crop import FaceOutline, Framing, Image, Square, cut, square_around

# Below the folder of the official weights.
LANDMARKS_FILE = "liveportrait/landmark.onnx"
DETECTOR_FILE = "insightface/models/buffalo_l/det_10g.onnx"
POINTS_FILE = "insightface/models/buffalo_l/2d106det.onnx"

_DETECTOR_EDGE = 512
_MIN_SCORE, _MAX_OVERLAP = 0.1, 0.4
_STRIDES, _ANCHORS_PER_CELL = (8, 16, 32), 2
# How much larger than the detector's box the 106 points' view is.
_POINTS_EDGE, _POINTS_SCALE = 192, 1.5
_LANDMARKS_EDGE, _LANDMARKS_FRAMING = 224, Framing(1.5, 0.1)
# Its outputs before this one are of other uses.
_LANDMARKS_OUTPUT = 2

Points = NDArray[np.float32]


class Session(Protocol):
    """A model of ONNX Runtime."""

    def run(self, output_names: None, input_feed: dict[str, NDArray[np.float32]]) -> list[Any]:
        """All outputs."""

    def get_inputs(self) -> list[Any]:
        """What it reads; each has a `name`."""


def open_session(path: Path) -> Session:
    """A model on one thread of the CPU. Raises: NotReadyError if it cannot be loaded."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    # Its errors have no base of their own.
    failures = tuple(kind for kind in vars(runtime).values() if isinstance(kind, type) and issubclass(kind, Exception))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # What it would print is in the error too.
    options.log_severity_level = 4
    try:
        session: Session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except failures as bad:
        raise NotReadyError(f"{path} is not a model that can be read; fetch the official file again") from bad
    return session


def _run(session: Session, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Args: image: shape (height, width, 3), RGB."""
    feed = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
    return [np.asarray(output, np.float32) for output in session.run(None, {session.get_inputs()[0].name: feed})]


def _to_picture(points: NDArray[np.float32], square: Square, edge: int) -> Points:
    """From pixels of what was cut to those of the picture. Args: points: shape (n, 2)."""
    matrix = square.from_picture(edge)
    return np.asarray(np.linalg.solve(matrix[:, :2], (points - matrix[:, 2]).T).T, np.float32)


class InsightFace:
    """Finds a face and its 106 landmarks. Not for use by two threads at once."""

    def __init__(self, detector: Session, points: Session) -> None:
        self._detector = detector
        self._points = points

    def find(self, image_rgb: Image) -> Points | None:
        """The landmarks of the largest face, shape (106, 2) in pixels; None if there is none."""
        boxes = self._detect(image_rgb)
        if not len(boxes):
            return None
        sides = boxes[:, 2:] - boxes[:, :2]
        left, top, right, bottom = boxes[int(sides.prod(axis=1).argmax())].tolist()
        edge = _POINTS_SCALE * max(right - left, bottom - top)
        square = Square((left + right) / 2, (top + bottom) / 2, edge)
        (flat,) = _run(self._points, cut(image_rgb, square, _POINTS_EDGE).astype(np.float32))
        # From -1 to 1 over the view.
        return _to_picture((flat.reshape(-1, 2)[-106:] + 1.0) * (_POINTS_EDGE // 2), square, _POINTS_EDGE)

    def _detect(self, image_rgb: Image) -> NDArray[np.float32]:
        """Boxes of faces, shape (n, 4): left, top, right, bottom in pixels; the surest first."""
        height, width = image_rgb.shape[:2]
        scale = _DETECTOR_EDGE / max(height, width)
        size = (int(width * scale), int(height * scale))
        view = np.zeros((_DETECTOR_EDGE, _DETECTOR_EDGE, 3), np.float32)
        view[: size[1], : size[0]] = cv2.resize(image_rgb, size)
        outputs = _run(self._detector, (view - np.float32(127.5)) / np.float32(128.0))
        found: list[NDArray[np.float32]] = []
        for level, stride in enumerate(_STRIDES):
            scores = outputs[level].reshape(-1)
            sides = outputs[len(_STRIDES) + level].reshape(-1, 4) * stride
            cells = np.arange(0, _DETECTOR_EDGE, stride, dtype=np.float32)
            centres = np.stack(np.meshgrid(cells, cells), axis=-1).reshape(-1, 2).repeat(_ANCHORS_PER_CELL, axis=0)
            boxes = np.concatenate([centres - sides[:, :2], centres + sides[:, 2:], scores[:, None]], axis=1)
            found.append(boxes[scores >= _MIN_SCORE])
        candidates = np.concatenate(found)
        # As far as whole pixels of the view allow.
        shown = np.float32(size[1] / height)
        return _distinct(candidates[candidates[:, 4].argsort()[::-1], :4] / shown)


def _distinct(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of boxes that overlap, the first: non-maximum suppression. Args: boxes: shape (n, 4), the surest first."""
    kept: list[NDArray[np.float32]] = []
    while len(boxes):
        best, boxes = boxes[0], boxes[1:]
        kept.append(best)
        common = np.minimum(best[2:], boxes[:, 2:]) - np.maximum(best[:2], boxes[:, :2]) + 1
        shared = np.maximum(common, 0).prod(axis=1)
        area, areas = (best[2:] - best[:2] + 1).prod(), (boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1)
        boxes = boxes[shared <= _MAX_OVERLAP * (area + areas - shared)]
    return np.array(kept, np.float32).reshape(-1, 4)


class Landmarks203:
    """LivePortrait's own landmarks of a face that was found. Not for use by two threads at once."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, image_rgb: Image, near: FaceOutline) -> Points:
        """Shape (203, 2), in pixels. Args: near: where the face is, by whatever landmarks."""
        square = square_around(near, _LANDMARKS_FRAMING)
        outputs = _run(self._session, cut(image_rgb, square, _LANDMARKS_EDGE).astype(np.float32) / np.float32(255.0))
        return _to_picture(outputs[_LANDMARKS_OUTPUT].reshape(203, 2) * _LANDMARKS_EDGE, square, _LANDMARKS_EDGE)
