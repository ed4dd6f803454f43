"""Faces are found where they are, and portraits are judged in words."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from services.common.errors import InvalidRequestError
from services.render.engine import FRAME_EDGE, MARGIN, PORTRAIT_EDGE
from services.render.image_file import decode
from services.render.landmarks import FaceLandmarker, Image
from services.render.portrait import Examined, PortraitExaminer

# What the program that draws the default portrait puts there, in the picture's 720 pixels.
DRAWN = {
    1: (360, 358),
    152: (360, 496),
    468: (304, 293),
    473: (416, 293),
    13: (360, 405),
    61: (314, 404),
    291: (406, 404),
}


def ava(default_file: bytes) -> Image:
    return decode(default_file)


def test_landmarks_lie_on_the_drawn_face(landmarker: FaceLandmarker, default_file: bytes) -> None:
    (face,) = landmarker.find(ava(default_file))
    assert face.score > 0.8
    assert face.points.shape == (478, 3)
    for index, (x, y) in DRAWN.items():
        assert np.hypot(face.points[index, 0] - x, face.points[index, 1] - y) < 14, index


@pytest.mark.parametrize("degrees", [-30, 0, 30])
@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5])
def test_a_face_is_found_turned_and_at_any_size(
    landmarker: FaceLandmarker, default_file: bytes, degrees: float, scale: float
) -> None:
    image = ava(default_file)
    edge = int(720 * scale)
    turn = cv2.getRotationMatrix2D((360, 360), degrees, scale) + np.array(
        [[0, 0, edge / 2 - 360], [0, 0, edge / 2 - 360]]
    )
    turned = np.asarray(cv2.warpAffine(image, turn, (edge, edge), flags=cv2.INTER_AREA), np.uint8)
    (face,) = landmarker.find(turned)
    for index, place in DRAWN.items():
        x, y = turn @ np.array([*place, 1.0])
        assert np.hypot(face.points[index, 0] - x, face.points[index, 1] - y) < 20 * scale, index


def test_a_small_face_in_a_large_picture_is_found(landmarker: FaceLandmarker, default_file: bytes) -> None:
    small = cv2.resize(ava(default_file), (300, 300), interpolation=cv2.INTER_AREA)
    scene = np.full((1200, 1600, 3), 120, np.uint8)
    scene[700:1000, 1100:1400] = small
    (face,) = landmarker.find(scene)
    assert np.hypot(*(face.points[1, :2] - (1250, 849))) < 10


def test_no_face_is_seen_in_noise(landmarker: FaceLandmarker) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    assert landmarker.find(noise) == []


def test_the_default_portrait_is_without_reproach(examined: Examined) -> None:
    assert examined.warnings == ()
    assert examined.portrait.image_rgb.shape == (PORTRAIT_EDGE, PORTRAIT_EDGE, 3)
    nose = examined.portrait.points[1, :2] - MARGIN
    assert np.abs(nose - FRAME_EDGE / 2).max() < 60
    person = examined.portrait.person
    assert person[PORTRAIT_EDGE // 2, PORTRAIT_EDGE // 2] > 230
    assert person[40, 40] < 30


def test_several_faces_the_largest_is_taken_and_said(examiner: PortraitExaminer, default_file: bytes) -> None:
    image = ava(default_file)
    scene = np.concatenate([image, np.pad(cv2.resize(image, (400, 400)), ((160, 160), (0, 0), (0, 0)))], axis=1)
    examined = examiner.examine(np.asarray(scene, np.uint8))
    assert any("2 faces" in warning for warning in examined.warnings)
    assert examined.landmarks[1, 0] == pytest.approx(360, abs=14)


def test_a_face_that_is_too_small_is_refused_with_its_size(examiner: PortraitExaminer, default_file: bytes) -> None:
    small = np.asarray(cv2.resize(ava(default_file), (200, 200), interpolation=cv2.INTER_AREA), np.uint8)
    with pytest.raises(InvalidRequestError, match=r"6\d pixels wide; .* 80 or more"):
        examiner.examine(small)


def test_a_picture_without_a_face_is_refused(examiner: PortraitExaminer) -> None:
    with pytest.raises(InvalidRequestError, match="no face was found"):
        examiner.examine(np.full((300, 400, 3), 90, np.uint8))


def test_a_tilted_head_is_said(examiner: PortraitExaminer, default_file: bytes) -> None:
    turn = cv2.getRotationMatrix2D((360, 360), 30, 0.8)
    tilted = np.asarray(cv2.warpAffine(ava(default_file), turn, (720, 720)), np.uint8)
    assert any("tilted by about 30" in warning for warning in examiner.examine(tilted).warnings)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "turned"),
    [
        ("mona-lisa.jpg", False),
        ("girl-with-a-pearl-earring.jpg", True),
        ("donna-velata.jpg", False),
        ("sargent-lady-seated.jpg", False),
    ],
)
def test_painted_people_are_found_and_those_turned_far_are_said(
    examiner: PortraitExaminer, test_data: Path, name: str, turned: bool
) -> None:
    examined = examiner.examine(decode((test_data / "portraits" / name).read_bytes()))
    assert examined.score > 0.7
    assert any("turned" in warning for warning in examined.warnings) is turned


def test_a_face_is_followed_from_picture_to_picture_until_it_is_gone(
    landmarker: FaceLandmarker, default_file: bytes
) -> None:
    picture = ava(default_file)
    (face,) = landmarker.find(picture)
    moved = np.roll(picture, 20, axis=1)
    followed = landmarker.follow(moved, face.points)
    assert followed is not None
    assert np.abs(followed[:, 0] - face.points[:, 0] - 20).max() < 8
    assert landmarker.follow(np.full_like(picture, 128), face.points) is None
