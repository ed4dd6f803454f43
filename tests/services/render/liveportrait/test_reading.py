"""Which landmarks place the cut and measure the face: the official models where they are, else the embedded ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.errors import NotReadyError
from services.render.engines.liveportrait.crop import (
    SOURCE,
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
)
from services.render.engines.liveportrait.ratios import ratios_of_mesh
from services.render.engines.liveportrait.reading import FaceReader
from services.render.portrait import Examined
from tests.fakes.onnx_models import constant_model

Floats = NDArray[np.float32]


class Input:
    name = "input.1"


class FakeSession:
    """A model in Python. It sees what a real one would be fed."""

    def get_inputs(self) -> list[Input]:
        return [Input()]

    def run(self, output_names: None, input_feed: dict[str, Floats]) -> list[Floats]:
        (image,) = input_feed[Input.name]
        assert image.dtype == np.float32
        assert image.flags.c_contiguous
        return self.see(image)

    def see(self, image: Floats) -> list[Floats]:
        raise NotImplementedError


class RectangleDetector(FakeSession):
    """Takes pure red rectangles for faces: one box each at stride 8, and a worse one beside it that overlaps."""

    def see(self, image: Floats) -> list[Floats]:
        assert image.shape == (3, 512, 512)
        assert image.min() >= -127.5 / 128
        assert image.max() <= 127.5 / 128
        red = (image[0] > 0.9) & (image[1] < -0.9) & (image[2] < -0.9)
        cells = {stride: 512 // stride for stride in (8, 16, 32)}
        scores = [np.zeros((2 * count**2, 1), np.float32) for count in cells.values()]
        boxes = [np.zeros((2 * count**2, 4), np.float32) for count in cells.values()]
        points = [np.zeros((2 * count**2, 10), np.float32) for count in cells.values()]
        # Rectangles stand side by side, with a gap of black columns.
        columns = np.flatnonzero(red.any(axis=0))
        for part in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1) if len(columns) else []:
            rows = np.flatnonzero(red[:, part].any(axis=1))
            left, right, top, bottom = part[0], part[-1] + 1, rows[0], rows[-1] + 1
            x, y = (left + right) // 16, (top + bottom) // 16
            for cell, score, wider in ((y * 64 + x, 0.9, 0), (y * 64 + x + 1, 0.6, 1)):
                at_x = (cell % 64) * 8
                scores[0][2 * cell + 1] = score
                boxes[0][2 * cell + 1] = [
                    (at_x - left + wider) / 8,
                    (y * 8 - top) / 8,
                    (right - at_x + wider) / 8,
                    (bottom - y * 8) / 8,
                ]
        return [*scores, *boxes, *points]


class FixedPoints(FakeSession):
    """Answers the same points of its view, -1 to 1, to every picture; keeps what it saw."""

    def __init__(self, points: Floats) -> None:
        self._points = points
        self.seen: Floats | None = None

    def see(self, image: Floats) -> list[Floats]:
        assert image.shape == (3, 192, 192)
        self.seen = image
        return [self._points.reshape(1, -1)]


def scene(*rectangles: tuple[int, int, int, int], size: tuple[int, int] = (512, 512)) -> NDArray[np.uint8]:
    """Red rectangles (left, top, right, bottom) on black."""
    image = np.zeros((*size, 3), np.uint8)
    for left, top, right, bottom in rectangles:
        image[top:bottom, left:right] = (255, 0, 0)
    return image


GRID = np.stack(np.meshgrid(np.linspace(-1, 1, 53), [-0.5, 0.5]), axis=-1).reshape(106, 2).astype(np.float32)


def test_the_largest_face_is_taken_and_its_points_lie_in_its_view() -> None:
    points = FixedPoints(GRID)
    found = InsightFace(RectangleDetector(), points).find(scene((20, 100, 80, 180), (200, 100, 320, 260)))
    assert found is not None
    # The view is one and a half times the longer side, around the box: 240 pixels around (260, 180).
    np.testing.assert_allclose(found, GRID * 120 + [260, 180], atol=0.01)
    assert points.seen is not None
    assert points.seen[:, 96, 96].tolist() == [255, 0, 0]
    assert points.seen[:, 2, 2].tolist() == [0, 0, 0]


def test_a_box_is_found_where_it_is_in_a_picture_of_any_shape() -> None:
    for size, rectangle in (((1024, 512), (100, 300, 300, 500)), ((300, 600), (350, 60, 450, 200))):
        (left, top, right, bottom) = rectangle
        found = InsightFace(RectangleDetector(), FixedPoints(GRID)).find(scene(rectangle, size=size))
        assert found is not None
        middle = found.mean(axis=0)
        np.testing.assert_allclose(middle, [(left + right) / 2, (top + bottom) / 2], atol=2.5)


def test_overlapping_boxes_are_one_face() -> None:
    boxes = InsightFace(RectangleDetector(), FixedPoints(GRID))._detect(
        scene((200, 100, 320, 260), (400, 100, 460, 180))
    )
    np.testing.assert_allclose(boxes, [[200, 100, 320, 260], [400, 100, 460, 180]], atol=0.01)


def test_no_face_is_none() -> None:
    assert InsightFace(RectangleDetector(), FixedPoints(GRID)).find(scene()) is None


def markup(outline: Floats, left_eye: Floats, right_eye: Floats, corners: Floats) -> Floats:
    """106 points around these; shape (106, 2)."""
    points = np.resize(outline, (106, 2)).astype(np.float32)
    points[[35, 39, 40, 33]], points[[93, 89, 94, 87]], points[[52, 61]] = left_eye, right_eye, corners
    return points


EYES = np.array([[-0.3, -0.2], [-0.1, -0.2], [-0.2, -0.25], [-0.2, -0.15]], np.float32)
SQUARE_FACE = markup(
    np.array([[-0.5, -0.3], [0.5, -0.3], [0.5, 0.5], [-0.5, 0.5]], np.float32),
    EYES,
    EYES * np.array([-1, 1], np.float32),
    np.array([[-0.15, 0.2], [0.15, 0.2]], np.float32),
)


def test_insightface_places_the_cut_where_it_is_there(examined: Examined) -> None:
    image, mesh = scene((200, 100, 320, 260)), examined.portrait.points
    reader = FaceReader(InsightFace(RectangleDetector(), FixedPoints(SQUARE_FACE)))
    reading = reader.portrait(image, mesh)
    assert reader.route == "insightface+mesh"
    assert reading.square == square_around(outline_of_106((SQUARE_FACE * 120 + [260, 180]).astype(np.float32)), SOURCE)
    assert reading.ratios == ratios_of_mesh(mesh)


def test_the_mesh_places_it_where_insightface_sees_nothing(examined: Examined) -> None:
    mesh = examined.portrait.points
    reading = FaceReader(InsightFace(RectangleDetector(), FixedPoints(SQUARE_FACE))).portrait(scene(), mesh)
    assert reading.square == square_around(outline_of_mesh(mesh), SOURCE)


def test_without_official_models_the_mesh_does_everything(examined: Examined) -> None:
    reader, mesh = FaceReader(), examined.portrait.points
    reading = reader.portrait(examined.portrait.image_rgb, mesh)
    assert reader.route == "mesh+mesh"
    assert reading.square == square_around(outline_of_mesh(mesh), SOURCE)
    assert reading.ratios == ratios_of_mesh(mesh)


def points_203(*, eye: float, lips: float) -> Floats:
    """203 landmarks, 0 to 1 over their view, whose lids and lips are so far apart by the width."""
    points = np.full((203, 2), 0.5, np.float32)
    for (outer, upper, inner, lower), x in (((0, 6, 12, 18), 0.3), ((24, 30, 36, 42), 0.7)):
        points[outer], points[inner] = (x - 0.1, 0.4), (x + 0.1, 0.4)
        points[upper], points[lower] = (x, 0.4 - 0.1 * eye), (x, 0.4 + 0.1 * eye)
    points[48], points[66] = (0.35, 0.7), (0.65, 0.7)
    points[90], points[102] = (0.5, 0.7 - 0.15 * lips), (0.5, 0.7 + 0.15 * lips)
    return points


def test_liveportraits_own_landmarks_measure_the_face_where_they_are_there(examined: Examined, tmp_path: Path) -> None:
    """By a real model on ONNX Runtime, whose third output is read."""
    others = np.zeros((1, 4), np.float32)
    points = points_203(eye=0.35, lips=0.2)
    path = tmp_path / LANDMARKS_FILE
    path.parent.mkdir()
    path.write_bytes(constant_model((1, 3, 224, 224), {"a": others, "b": others, "points": points.reshape(1, 406)}))
    reader = FaceReader.of_folder(tmp_path)
    assert reader.route == "mesh+203"
    image, mesh = examined.portrait.image_rgb, examined.portrait.points
    reading = reader.portrait(image, mesh)
    assert (reading.ratios.eye_left, reading.ratios.eye_right) == pytest.approx((0.35, 0.35), abs=1e-4)
    assert reading.ratios.lips == pytest.approx(0.2, abs=1e-4)
    assert reading.square == square_around(outline_of_mesh(mesh), SOURCE)
    # A driving frame's extent is that of these points.
    outline = reader.outline(image, mesh)
    assert len(outline.points) == 203


def test_landmarks_lie_in_the_turned_square_that_the_model_saw() -> None:
    class Square224(FakeSession):
        def see(self, image: Floats) -> list[Any]:
            assert image.shape == (3, 224, 224)
            assert image.max() <= 1.0
            corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
            return [None, None, np.resize(corners, (203, 2))[None]]

    near = outline_of_106(SQUARE_FACE * np.float32(100) + np.float32(256))
    found = Landmarks203(Square224()).find(scene(), near)
    edge = 1.5 * 100 * 1.0
    np.testing.assert_allclose(np.ptp(found, axis=0), edge, rtol=1e-4)
    centre = (found.max(axis=0) + found.min(axis=0)) / 2
    np.testing.assert_allclose(centre, [256, 256 + 10 - 0.1 * edge], atol=0.01)
    assert outline_of_203(found).points.shape == (203, 2)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08" * 100])
def test_a_file_that_is_no_model_is_named_in_a_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / LANDMARKS_FILE
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(NotReadyError, match=r"landmark\.onnx is not a model that can be read; fetch the official file"):
        FaceReader.of_folder(tmp_path)


def test_a_detector_without_its_points_is_no_detector(tmp_path: Path) -> None:
    path = tmp_path / DETECTOR_FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(constant_model((1, 3, 512, 512), {"a": np.zeros((1, 1), np.float32)}))
    assert FaceReader.of_folder(tmp_path).route == "mesh+mesh"
    (tmp_path / POINTS_FILE).write_bytes(path.read_bytes())
    assert FaceReader.of_folder(tmp_path).route == "insightface+mesh"


def test_without_onnx_runtime_the_mesh_does_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / LANDMARKS_FILE
    path.parent.mkdir()
    path.write_bytes(b"nobody reads it")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert FaceReader.of_folder(tmp_path).route == "mesh+mesh"
