"""The maths of keypoints against cases that were computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from services.render.engines.liveportrait.keypoints import (
    EYE_KEYPOINTS,
    LIP_KEYPOINTS,
    Face,
    Motion,
    absolute,
    amplified,
    degrees_of_bins,
    edited,
    expression_friendly,
    eye_ratios,
    hull_volume,
    lip_ratio,
    place,
    relative,
    relative_to_neutral,
    rotation_matrix,
)

X, Y, Z = torch.eye(3)
STILL = torch.tensor([0.0])


def close(answer: Tensor, expected: object) -> None:
    torch.testing.assert_close(answer, torch.as_tensor(expected, dtype=torch.float32), atol=1e-6, rtol=1e-6)


def turned(vector: Tensor, *, pitch: float = 0.0, yaw: float = 0.0, roll: float = 0.0) -> Tensor:
    return vector @ rotation_matrix(*(torch.tensor([angle]) for angle in (pitch, yaw, roll)))[0]


def motion(*, yaw: float = 0.0, exp: float = 0.0, scale: float = 1.0, t: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Motion:
    rotation = rotation_matrix(STILL, torch.tensor([yaw]), STILL)
    return Motion(rotation, torch.full((1, 21, 3), exp), torch.tensor([[scale]]), torch.tensor([t]))


def face(*, pitch: float = 0.0, yaw: float = 0.0, roll: float = 0.0) -> Face:
    return Face(
        kp=torch.zeros(1, 21, 3),
        pitch=torch.tensor([pitch]),
        yaw=torch.tensor([yaw]),
        roll=torch.tensor([roll]),
        exp=torch.full((1, 21, 3), 0.5),
        scale=torch.tensor([[2.0]]),
        t=torch.ones(1, 3),
    )


@pytest.mark.parametrize(("the_bin", "degrees"), [(0, -97.5), (32, -1.5), (33, 1.5), (65, 97.5)])
def test_a_bin_is_three_degrees_wide(the_bin: int, degrees: float) -> None:
    logits = torch.full((1, 66), -100.0)
    logits[0, the_bin] = 100.0
    close(degrees_of_bins(logits), [degrees])


def test_an_angle_lies_between_its_bins_by_their_probability() -> None:
    logits = torch.full((2, 66), -100.0)
    logits[0, 40], logits[0, 41] = 0.0, math.log(3.0)  # a quarter and three quarters
    logits[1] = 0.0
    close(degrees_of_bins(logits), [40.75 * 3 - 97.5, 0.0])


def test_angles_are_float32_whatever_the_network_computes_in() -> None:
    assert degrees_of_bins(torch.zeros(1, 66, dtype=torch.float16)).dtype == torch.float32


def test_each_axis_turns_by_the_right_hand() -> None:
    close(turned(Y, pitch=90), Z)
    close(turned(Z, pitch=90), -Y)
    close(turned(Z, yaw=90), X)
    close(turned(X, yaw=90), -Z)
    close(turned(X, roll=90), Y)
    close(turned(Y, roll=90), -X)


def test_pitch_comes_first_then_yaw_then_roll() -> None:
    close(turned(Y, pitch=90, yaw=90), X)  # y, z, x
    close(turned(Y, pitch=90, yaw=90, roll=90), Y)  # y, z, x, y
    close(turned(X, yaw=90, roll=90), -Z)  # x, -z, and roll leaves z


def test_a_rotation_is_one_for_any_angles() -> None:
    angles = torch.tensor([[31.0, -170.0], [77.0, 12.0], [-5.0, 99.0]])
    rotation = rotation_matrix(*angles)
    close(rotation @ rotation.mT, torch.eye(3).expand(2, 3, 3))
    close(torch.linalg.det(rotation), [1.0, 1.0])


def test_expression_is_added_after_the_rotation_and_grows_with_the_scale() -> None:
    kp, exp = torch.zeros(1, 21, 3), torch.zeros(1, 21, 3)
    kp[0, 4], exp[0, 4] = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.01, 0.0, 0.0])
    # A yaw of 90 degrees takes (x, y, z) to (z, y, -x).
    where = Motion(motion(yaw=90.0).rotation, exp, torch.tensor([[2.0]]), torch.tensor([[1.0, -1.0, 5.0]]))
    close(place(kp, where)[0, 4], [2 * (0.3 + 0.01) + 1.0, 2 * 0.2 - 1.0, 2 * -0.1])


def test_translation_in_depth_is_dropped() -> None:
    close(place(torch.zeros(1, 21, 3), motion(t=(0.0, 0.0, 7.0))), torch.zeros(1, 21, 3))


def test_placing_changes_neither_keypoints_nor_motion() -> None:
    kp, where = torch.ones(1, 21, 3), motion(exp=0.5, t=(1.0, 2.0, 3.0))
    place(kp, where)
    close(kp, torch.ones(1, 21, 3))
    close(where.t, [[1.0, 2.0, 3.0]])


def test_an_edited_face_adds_degrees_to_its_own_before_they_become_a_rotation() -> None:
    changed = edited(face(pitch=10.0, yaw=-20.0, roll=5.0), pitch=1.0, yaw=2.0, roll=torch.tensor([3.0]))
    close(changed.rotation, rotation_matrix(torch.tensor([11.0]), torch.tensor([-18.0]), torch.tensor([8.0])))


def test_an_edited_face_keeps_what_is_not_named() -> None:
    own, kept = face(yaw=12.0).motion, edited(face(yaw=12.0))
    for name in ("rotation", "exp", "scale", "t"):
        close(getattr(kept, name), getattr(own, name))


def test_one_face_is_edited_into_a_batch() -> None:
    exp = torch.zeros(3, 21, 3)
    exp[2, 19, 1] = 0.1
    changed = edited(face(), exp=exp, scale=torch.tensor([[1.0], [1.5], [1.0]]))
    assert changed.rotation.shape == (3, 3, 3)
    assert changed.t.shape == (3, 3)
    close(changed.scale, [[2.0], [3.0], [2.0]])
    close(changed.exp[:, 19, 1], [0.5, 0.5, 0.6])


def test_relative_motion_adds_what_changed_since_the_first_picture() -> None:
    source = motion(yaw=10.0, exp=0.1, scale=2.0, t=(0.1, 0.2, 0.0))
    first = motion(yaw=5.0, exp=0.3, scale=1.5, t=(0.5, 0.5, 0.0))
    now = motion(yaw=25.0, exp=0.35, scale=3.0, t=(0.6, 0.4, 0.0))
    driven = relative(source, now, first)
    close(driven.rotation, motion(yaw=30.0).rotation)
    close(driven.exp, torch.full((1, 21, 3), 0.15))
    close(driven.scale, [[4.0]])
    close(driven.t, [[0.2, 0.1, 0.0]])


def test_relative_motion_turns_before_the_portraits_own_pose() -> None:
    quarter = torch.tensor([90.0])
    source = Motion(rotation_matrix(STILL, STILL, quarter), *_rest())
    now = Motion(rotation_matrix(quarter, STILL, STILL), *_rest())
    driven = relative(source, now, motion())
    # Row vectors: the driven pitch takes y to z, which the portrait's roll then leaves.
    close(Y @ driven.rotation[0], Z)


def _rest() -> tuple[Tensor, Tensor, Tensor]:
    still = motion()
    return still.exp, still.scale, still.t


def test_the_first_picture_of_a_video_leaves_the_portrait_as_it_is() -> None:
    source, first = motion(yaw=10.0, exp=0.1, scale=2.0, t=(0.1, 0.2, 0.3)), motion(yaw=-33.0, exp=0.7, scale=1.1)
    driven = relative(source, first, first)
    for name in ("rotation", "exp", "scale", "t"):
        close(getattr(driven, name), getattr(source, name))


def test_a_single_picture_lends_its_expression_and_nothing_else() -> None:
    source = motion(yaw=10.0, exp=0.1, scale=2.0, t=(0.1, 0.2, 0.0))
    driven = relative_to_neutral(source, motion(yaw=50.0, exp=0.3, scale=9.0), torch.full((1, 21, 3), 0.05))
    close(driven.exp, torch.full((1, 21, 3), 0.35))
    for name in ("rotation", "scale", "t"):
        close(getattr(driven, name), getattr(source, name))


def test_absolute_motion_leaves_the_portrait_its_scale_and_the_shape_of_its_head() -> None:
    source, driving = motion(exp=0.1, scale=2.0), motion(yaw=30.0, exp=0.4, scale=9.0, t=(0.3, 0.2, 0.0))
    driven = absolute(source, driving)
    close(driven.rotation, driving.rotation)
    close(driven.t, driving.t)
    close(driven.scale, source.scale)
    taken = {
        (keypoint, axis)
        for keypoint in range(21)
        for axis in range(3)
        if driven.exp[0, keypoint, axis] == driving.exp[0, keypoint, axis]
    }
    whole = {(keypoint, axis) for keypoint in (1, 2, 6, *range(11, 21)) for axis in range(3)}
    assert taken == whole | {(3, 1), (4, 1), (5, 2), (8, 2), (9, 1), (9, 2)}
    assert {*LIP_KEYPOINTS, *EYE_KEYPOINTS} <= {keypoint for keypoint, axis in whole}
    close(source.exp, torch.full((1, 21, 3), 0.1))


def test_a_multiplier_carries_keypoints_beyond_where_they_are_driven() -> None:
    x_s, x_d = torch.full((1, 21, 3), 1.0), torch.full((1, 21, 3), 1.5)
    close(amplified(x_s, x_d, 2.0), torch.full((1, 21, 3), 2.0))
    close(amplified(x_s, x_d, 1.0), x_d)


def test_volumes_of_hulls() -> None:
    corner = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    assert hull_volume(corner) == pytest.approx(1 / 6, abs=1e-5)
    cube = np.array([[x, y, z] for x in (0, 2) for y in (0, 3) for z in (0, 4)], np.float32)
    assert hull_volume(cube) == pytest.approx(24.0, abs=1e-4)
    inside = np.random.default_rng(0).uniform(0.1, 1.9, (13, 3)).astype(np.float32)
    assert hull_volume(np.concatenate([cube, inside])) == pytest.approx(24.0, abs=1e-4)
    flat = cube * np.array([1, 1, 0], np.float32)
    assert hull_volume(flat) == pytest.approx(0.0, abs=1e-4)


def test_expression_friendly_motion_has_the_portraits_place_and_size() -> None:
    points = torch.rand(1, 21, 3, generator=torch.Generator().manual_seed(0))
    moved = points.clone()
    moved[0, 3, 1] += 0.1
    # The portrait is twice as large in each direction: its hull holds 8 times as much.
    driven = expression_friendly(2 * points, moved, points)
    expected = 2 * points
    expected[0, 3, 1] += 0.1 * math.sqrt(8.0)
    torch.testing.assert_close(driven, expected, atol=1e-5, rtol=1e-5)


def test_ratios_are_heights_over_widths() -> None:
    landmarks = torch.zeros(1, 203, 2)
    # Left eye 4 wide and 1 high, right eye 5 and 2, mouth 10 and 3, at an angle.
    for (top, bottom, left, right), (height, width) in {
        (6, 18, 0, 12): (1.0, 4.0),
        (30, 42, 24, 36): (2.0, 5.0),
        (90, 102, 48, 66): (3.0, 10.0),
    }.items():
        landmarks[0, bottom] = height * torch.tensor([-0.6, 0.8])
        landmarks[0, right] = width * torch.tensor([0.8, 0.6])
        assert not landmarks[0, [top, left]].any()
    close(eye_ratios(landmarks), [[0.25, 0.4]])
    close(lip_ratio(landmarks), [[0.3]])


def test_ratios_of_a_face_without_width_are_numbers() -> None:
    assert torch.isfinite(eye_ratios(torch.zeros(1, 203, 2))).all()
    assert torch.isfinite(lip_ratio(torch.zeros(1, 203, 2))).all()
