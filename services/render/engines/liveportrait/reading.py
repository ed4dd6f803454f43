"""Reads faces as the networks need them: where to cut, and how open eyes and lips are."""

from __future__ import annotations

import importlib.util
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from services.common.log import get_logger
from services.render.engines.liveportrait import keypoints
from services.render.engines.liveportrait.crop import (
    SOURCE,
    FaceOutline,
    Image,
    Square,
    outline_of_106,
    outline_of_203,
    outline_of_mesh,
    square_around,
)
from services.render.engines.liveportrait.official_landmarks import (
    DETECTOR_FILE,
    LANDMARKS_FILE,
    POINTS_FILE,
    InsightFace,
    Landmarks203,
    open_session,
)
from services.render.engines.liveportrait.ratios import Ratios, ratios_of_mesh

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FaceReading:
    """Args: square: what to cut; ratios: how open the eyes and lips are."""

    square: Square
    ratios: Ratios


class FaceReader:
    """Uses the official models as far as they are there, and the embedded landmarks for the rest.

    Threads take turns with the models, each for a picture.
    """

    def __init__(self, insightface: InsightFace | None = None, landmarks: Landmarks203 | None = None) -> None:
        self._insightface = insightface
        self._landmarks = landmarks
        self._turn = threading.Lock()

    @staticmethod
    def of_folder(weights: Path) -> FaceReader:
        """Without ONNX Runtime, as without the models.

        Args: weights: the official `pretrained_weights`.
        Raises: NotReadyError if a model in it cannot be loaded.
        """
        detector, points, landmarks = (weights / file for file in (DETECTOR_FILE, POINTS_FILE, LANDMARKS_FILE))
        if importlib.util.find_spec("onnxruntime") is None:
            log.info("landmark_models_not_used", reason="onnxruntime is not installed", instead="mesh")
            return FaceReader()
        has_insightface = detector.is_file() and points.is_file()
        return FaceReader(
            InsightFace(open_session(detector), open_session(points)) if has_insightface else None,
            Landmarks203(open_session(landmarks)) if landmarks.is_file() else None,
        )

    @property
    def route(self) -> str:
        """What places the cut and what measures eyes and lips, in a word."""
        return f"{'insightface' if self._insightface else 'mesh'}+{'203' if self._landmarks else 'mesh'}"

    def portrait(self, image_rgb: Image, mesh: NDArray[np.float32]) -> FaceReading:
        """Of a portrait.

        Args: mesh: shape (478, 3), the embedded landmarks in pixels.
        Raises: InvalidRequestError if they are no face.
        """
        outline = outline_of_mesh(mesh)
        with self._turn:
            if self._insightface is not None:
                points = self._insightface.find(image_rgb)
                if points is None:
                    log.info("insightface_found_nothing", instead="mesh")
                else:
                    outline = outline_of_106(points)
            if self._landmarks is None:
                return FaceReading(square_around(outline, SOURCE), ratios_of_mesh(mesh))
            points = self._landmarks.find(image_rgb, outline)
        return FaceReading(square_around(outline, SOURCE), _ratios_of_203(points))

    def outline(self, image_rgb: Image, mesh: NDArray[np.float32]) -> FaceOutline:
        """Of a driving frame, whose extent the official code takes from the 203 landmarks."""
        outline = outline_of_mesh(mesh)
        if self._landmarks is None:
            return outline
        with self._turn:
            return outline_of_203(self._landmarks.find(image_rgb, outline))


def _ratios_of_203(points: NDArray[np.float32]) -> Ratios:
    landmarks = torch.from_numpy(points)[None]
    left, right = keypoints.eye_ratios(landmarks)[0].tolist()
    return Ratios(left, right, float(keypoints.lip_ratio(landmarks)))
