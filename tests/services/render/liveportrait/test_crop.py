"""Where the networks look: squares computed by hand, and a face that is cut the same however its picture is turned."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError
from services.render.engines.liveportrait.crop import (
    DRIVING,
    SOURCE,
    FaceOutline,
    Square,
    cut,
    network_input,
    outline_of_106,
    outline_of_mesh,
    square_around,
    upright_square_around,
)
from services.render.portrait import Examined


def outline(*, x: float = 100.0, y: float = 140.0, size: float = 100.0) -> FaceOutline:
    """An upright face whose brows, sides and chin are the sides of a square around (x, y)."""
    corners = np.array([[x - size / 2, y - size / 2], [x + size / 2, y + size / 2]])
    return FaceOutline(corners, np.array([x, y - 20.0]), np.array([x, y + 20.0]))


def turned(face: FaceOutline, degrees: float) -> FaceOutline:
    """Clockwise around the picture's origin."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return FaceOutline(face.points @ turn, face.eyes @ turn, face.mouth @ turn)


def test_a_portrait_is_cut_with_an_edge_of_2_3_extents_and_an_eighth_of_it_up() -> None:
    square = square_around(outline(), SOURCE)
    assert (square.x, square.y, square.edge, square.angle) == pytest.approx((100.0, 140.0 - 0.125 * 230.0, 230.0, 0.0))


def test_a_driving_face_is_cut_with_an_edge_of_2_2_extents_and_a_tenth_of_it_up() -> None:
    square = square_around(outline(), DRIVING)
    assert (square.x, square.y, square.edge) == pytest.approx((100.0, 140.0 - 0.1 * 220.0, 220.0))


def test_the_larger_extent_counts() -> None:
    wide = FaceOutline(np.array([[0.0, 100.0], [300.0, 180.0]]), np.array([150.0, 120.0]), np.array([150.0, 160.0]))
    assert square_around(wide, SOURCE).edge == pytest.approx(2.3 * 300)


@pytest.mark.parametrize("degrees", [-170.0, -90.0, -20.0, 35.0, 90.0, 179.0])
def test_the_square_turns_with_the_face(degrees: float) -> None:
    upright, square = square_around(outline(), SOURCE), square_around(turned(outline(), degrees), SOURCE)
    assert math.degrees(square.angle) == pytest.approx(degrees)
    assert square.edge == pytest.approx(upright.edge)
    angle = math.radians(degrees)
    x = upright.x * math.cos(angle) - upright.y * math.sin(angle)
    y = upright.x * math.sin(angle) + upright.y * math.cos(angle)
    assert (square.x, square.y) == pytest.approx((x, y))


def test_a_video_has_one_upright_square_so_that_the_head_moves_in_it() -> None:
    square = upright_square_around([outline(x=90.0), outline(x=110.0), outline(x=100.0, size=160.0)], DRIVING)
    assert square.angle == 0.0
    assert square.edge == pytest.approx(2.2 * (100 + 100 + 160) / 3)
    assert square.x == pytest.approx(100.0)


def test_the_matrix_takes_the_middle_to_the_middle_and_the_face_upright() -> None:
    square = Square(50.0, 70.0, 256.0, math.radians(90.0))
    matrix = square.from_picture(512)
    assert matrix[:, :2] @ [50.0, 70.0] + matrix[:, 2] == pytest.approx([256.0, 256.0])
    # What is to the right in a face that lies on its side is down in the picture.
    assert matrix[:, :2] @ [50.0, 80.0] + matrix[:, 2] == pytest.approx([276.0, 256.0])


def test_what_lies_outside_of_the_picture_is_black() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    crop = cut(white, Square(0.0, 0.0, 100.0), 100)
    assert (crop[60:, 60:] == 255).all()
    assert not crop[:40].any()
    assert not crop[:, :40].any()


def test_pixels_keep_their_place_when_a_large_picture_is_cut() -> None:
    picture = np.zeros((2000, 2000, 3), np.uint8)
    picture[1000:, 1000:] = 255
    crop = cut(picture, Square(999.5, 999.5, 2000.0), 100)
    sharp = crop[..., 0].astype(int)
    assert sharp[60:, 60:].min() == 255
    assert sharp[:48].max() == 0
    assert sharp[80].tolist().index(255) in (50, 51)


def test_a_large_picture_is_not_aliased() -> None:
    lines = np.zeros((1024, 1024, 3), np.uint8)
    lines[:, ::2] = 255
    crop = cut(lines, Square(512.0, 512.0, 1000.0), 100)
    # A pixel is the mean of ten columns; cut without a low-pass they come out black here and white there.
    assert np.abs(crop[10:-10, 10:-10].astype(int) - 128).max() < 24


def test_networks_read_the_mean_of_each_block_of_pixels() -> None:
    crop = np.zeros((512, 512, 3), np.uint8)
    crop[0, 0] = (255, 0, 0)
    image = network_input(crop, 256)
    assert image.shape == (256, 256, 3)
    assert image[0, 0].tolist() == [64, 0, 0]
    assert image.sum() == 64


def test_a_real_face_is_cut_the_same_when_its_picture_is_turned(examined: Examined) -> None:
    image, points = examined.portrait.image_rgb, examined.portrait.points
    straight = square_around(outline_of_mesh(points), SOURCE)
    matrix = cv2.getRotationMatrix2D((280.0, 280.0), 20.0, 0.7)
    picture = np.asarray(cv2.warpAffine(image, matrix, (560, 560)), np.uint8)
    moved = (points[:, :2] @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    square = square_around(outline_of_mesh(moved), SOURCE)
    assert math.degrees(square.angle - straight.angle) == pytest.approx(-20.0, abs=1e-3)
    assert square.edge == pytest.approx(0.7 * straight.edge, rel=1e-5)
    before, after = (cut(*at).astype(float)[128:384, 128:384] for at in ((image, straight), (picture, square)))
    assert np.abs(before - after).mean() < 4.0


def test_the_default_face_has_the_place_that_the_networks_expect(examined: Examined) -> None:
    """Eyes, mouth and the edge in the cut, as in the official crops: the face is nearly half of it."""
    points = examined.portrait.points
    face = outline_of_mesh(points)
    matrix = square_around(face, SOURCE).from_picture(512)
    eyes, mouth, chin = (at @ matrix[:, :2].T + matrix[:, 2] for at in (face.eyes, face.mouth, points[152, :2]))
    assert eyes[0] == pytest.approx(256, abs=8)
    assert mouth[0] == pytest.approx(eyes[0], abs=1e-6)
    assert 240 < eyes[1] < mouth[1] < chin[1] < 440


def markup_106() -> NDArray[np.float32]:
    """106 points whose eyes, mouth and extent are told apart by hand; the others lie between."""
    points = np.full((106, 2), (100.0, 100.0), np.float32)
    points[[35, 39, 40, 33]] = [(70, 80), (90, 80), (80, 76), (80, 84)]
    points[[93, 89, 94, 87]] = [(130, 80), (110, 80), (120, 76), (120, 84)]
    points[[52, 61]] = [(85, 130), (115, 130)]
    points[0], points[1], points[17], points[49] = (100, 170), (40, 75), (160, 75), (80, 60)
    return points


def test_insightfaces_points_are_read_by_its_own_markup() -> None:
    face = outline_of_106(markup_106())
    assert face.eyes == pytest.approx([100.0, 80.0])
    assert face.mouth == pytest.approx([100.0, 130.0])
    square = square_around(face, SOURCE)
    assert square.edge == pytest.approx(2.3 * 120)
    assert (square.x, square.y) == pytest.approx((100.0, 115.0 - 0.125 * 2.3 * 120))


@pytest.mark.parametrize("broken", [np.zeros((478, 3), np.float32), np.full((478, 3), np.nan, np.float32)])
def test_landmarks_without_extent_are_refused_in_words(broken: NDArray[np.float32]) -> None:
    with pytest.raises(InvalidRequestError, match="have no extent"):
        square_around(outline_of_mesh(broken), SOURCE)
