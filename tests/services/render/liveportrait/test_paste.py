"""Faces that are put back: nothing changes around them, and a face that was only cut out leaves no trace."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from services.render.engine import FRAME_EDGE, MARGIN, PORTRAIT_EDGE, Portrait
from services.render.engines.liveportrait.crop import SOURCE, Square, cut, outline_of_mesh, square_around
from services.render.engines.liveportrait.paste import Setting, bytes_of
from services.render.portrait import Examined

STRAIGHT = Square(280.0, 270.0, 400.0)
TURNED = Square(300.0, 280.0, 330.0, math.radians(25.0))


def portrait(seed: int = 0) -> Portrait:
    """Soft stripes of every colour."""
    y, x = np.mgrid[:PORTRAIT_EDGE, :PORTRAIT_EDGE]
    waves = [np.sin(x / (30 + 7 * seed)), np.cos(y / 45), np.sin((x + 2 * y) / 60)]
    image = np.stack([127.5 + 120 * wave for wave in waves], axis=-1).astype(np.uint8)
    return Portrait(image, np.zeros((478, 3), np.float32), np.zeros((PORTRAIT_EDGE, PORTRAIT_EDGE), np.uint8))


def inner(of: Portrait) -> NDArray[np.uint8]:
    return of.image_rgb[MARGIN : MARGIN + FRAME_EDGE, MARGIN : MARGIN + FRAME_EDGE]


def face_of(of: Portrait, square: Square) -> torch.Tensor:
    """What was cut, as the networks would draw it if they changed nothing."""
    return torch.from_numpy(cut(of.image_rgb, square))[None]


def plain(value: int) -> torch.Tensor:
    """A face of one grey."""
    return torch.full((1, 512, 512, 3), value, dtype=torch.uint8)


def corners_of(square: Square, share: float = 1.0) -> NDArray[np.float64]:
    """Of the square, made smaller by a share, in pixels of the frame; shape (4, 2)."""
    matrix = square.from_picture(512)
    half = share * 256
    corners = np.array([[-half, -half], [half, -half], [half, half], [-half, half]]) + 256 - 0.5
    return np.asarray(np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T).T - MARGIN, np.float64)


@pytest.mark.parametrize("square", [STRAIGHT, TURNED])
def test_nothing_changes_outside_of_the_cut(square: Square) -> None:
    frames = Setting.of(portrait(), square).with_faces(plain(0))
    changed = (bytes_of(frames, FRAME_EDGE)[0].numpy() != inner(portrait())).any(axis=-1)
    y, x = np.nonzero(changed)
    matrix = square.from_picture(512)
    at = np.stack([x + MARGIN, y + MARGIN], axis=-1) @ matrix[:, :2].T + matrix[:, 2]
    assert 0 < at.min() < 40
    assert 472 < at.max() < 512


@pytest.mark.parametrize("square", [STRAIGHT, TURNED])
def test_a_face_that_was_only_cut_out_leaves_no_trace(square: Square) -> None:
    frames = Setting.of(portrait(), square).with_faces(face_of(portrait(), square))
    difference = bytes_of(frames, FRAME_EDGE)[0].numpy().astype(int) - inner(portrait())
    assert np.abs(difference).max() <= 3


@pytest.mark.parametrize("square", [STRAIGHT, TURNED])
def test_the_middle_is_the_faces_alone(square: Square) -> None:
    white = Setting.of(portrait(), square).with_faces(plain(255))
    mask = Setting.of(portrait(), square).mask[0, 0].numpy()
    whole = bytes_of(white, FRAME_EDGE)[0].numpy()[mask == 1.0]
    assert (whole == 255).all()
    # The whole part is the square without a rim of 7 % of its edge.
    assert len(whole) == pytest.approx((0.86 * square.edge) ** 2, rel=0.01)


def test_the_mask_fades_to_nothing_before_the_edge_and_has_no_step() -> None:
    mask = Setting.of(portrait(), STRAIGHT).mask[0, 0].numpy()
    assert np.abs(np.diff(mask, axis=0)).max() < 0.08
    assert np.abs(np.diff(mask, axis=1)).max() < 0.08
    for x, y in corners_of(STRAIGHT, 0.98):
        assert mask[round(y), round(x)] == pytest.approx(0.0, abs=1e-3)


def test_a_turned_face_stands_upright_in_its_cut_and_turned_in_its_frame() -> None:
    face = plain(0)
    face[:, :, 256:] = 255
    frame = Setting.of(portrait(), TURNED).with_faces(face)[0, 0]
    angle, (x, y) = math.radians(25.0), (TURNED.x - MARGIN, TURNED.y - MARGIN)
    for distance in (20, 80):
        right = frame[round(y + distance * math.sin(angle)), round(x + distance * math.cos(angle))]
        left = frame[round(y - distance * math.sin(angle)), round(x - distance * math.cos(angle))]
        assert (float(right), float(left)) == (255.0, 0.0)


def test_a_cut_that_leaves_the_frame_is_put_back_as_far_as_it_is_in_it() -> None:
    wide = Square(280.0, 40.0, 540.0)
    frames = Setting.of(portrait(), wide).with_faces(plain(255))
    shown = bytes_of(frames, FRAME_EDGE)[0].numpy()
    assert (shown[:200, 100:400] == 255).all()
    assert (shown[320:] == inner(portrait())[320:]).all()


def test_faces_of_any_resolution_are_put_to_the_same_place() -> None:
    small = face_of(portrait(), STRAIGHT)[:, 4::8, 4::8]
    frames = Setting.of(portrait(), STRAIGHT).with_faces(small)
    difference = bytes_of(frames, FRAME_EDGE)[0].numpy().astype(int) - inner(portrait())
    assert np.abs(difference).mean() < 2


def test_rows_of_a_batch_do_not_meet() -> None:
    settings = [Setting.of(portrait(0), STRAIGHT), Setting.of(portrait(1), TURNED), Setting.of(portrait(0), STRAIGHT)]
    faces = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    together = Setting.stacked(settings).with_faces(faces)
    for row, setting in enumerate(settings):
        assert torch.equal(together[row : row + 1], setting.with_faces(faces[row : row + 1]))


def test_smaller_frames_are_the_mean_of_what_they_show() -> None:
    lines = torch.zeros(1, 3, 512, 512)
    lines[..., ::2] = 255.0
    small = bytes_of(lines, 256)
    assert small.shape == (1, 256, 256, 3)
    assert int((small[:, 8:-8, 8:-8].int() - 127).abs().max()) < 40
    even = bytes_of(torch.full((1, 3, 512, 512), 255.0), 130)
    assert even.shape == (1, 130, 130, 3)
    assert bool((even == 255).all())


def test_its_memory_is_stated() -> None:
    assert Setting.of(portrait(), STRAIGHT).byte_count == 512 * 512 * (2 * 4 + 4 + 3)


def test_the_default_face_is_put_back_where_it_was(examined: Examined) -> None:
    square = square_around(outline_of_mesh(examined.portrait.points), SOURCE)
    frames = Setting.of(examined.portrait, square).with_faces(face_of(examined.portrait, square))
    difference = bytes_of(frames, FRAME_EDGE)[0].numpy().astype(float) - inner(examined.portrait)
    assert 10 * np.log10(255**2 / np.square(difference).mean()) > 36
