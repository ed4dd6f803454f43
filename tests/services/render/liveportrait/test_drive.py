"""The seam of motion: nothing is nothing, relative and absolute driving, and how two motions share a face."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from services.render.engines.liveportrait.batching import batched, moved
from services.render.engines.liveportrait.drive import LIPS, DriveFrame
from services.render.engines.liveportrait.keypoints import LIP_KEYPOINTS, Face, Motion, absolute, place, relative


def face(seed: int = 0, *, yaw: float = 4.0) -> Face:
    rng = np.random.default_rng(seed)

    def tensor(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.normal(0, 0.1, shape).astype(np.float32))

    angles = (torch.tensor([2.0]), torch.tensor([yaw]), torch.tensor([-3.0]))
    return Face(tensor(1, 21, 3), *angles, tensor(1, 21, 3), torch.tensor([[1.3]]), tensor(1, 3))


def about_z(degrees: float) -> NDArray[np.float32]:
    """Clockwise for the viewer, of row vectors."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32)


def some_exp(seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.01, (21, 3)).astype(np.float32)


def assert_same(one: Motion, other: Motion) -> None:
    for name in ("rotation", "exp", "scale", "t"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), msg=name)


def test_nothing_drives_nothing_at_all() -> None:
    own, driven = face().motion, moved(face(), [DriveFrame()])
    for name in ("rotation", "exp", "scale", "t"):
        assert torch.equal(getattr(driven, name), getattr(own, name)), name


def test_expression_scale_and_translation_are_added_to_the_faces_own() -> None:
    drive = DriveFrame(exp=some_exp(), scale=1.1, t=np.array([0.1, -0.2, 0.0], np.float32))
    driven, own = moved(face(), [drive]), face().motion
    torch.testing.assert_close(driven.exp, own.exp + torch.from_numpy(some_exp()))
    torch.testing.assert_close(driven.scale, own.scale * 1.1)
    torch.testing.assert_close(driven.t, own.t + torch.tensor([0.1, -0.2, 0.0]))


def test_degrees_are_added_before_the_head_is_turned() -> None:
    driven = moved(face(yaw=4.0), [DriveFrame(yaw=6.0)])
    torch.testing.assert_close(driven.rotation, face(yaw=10.0).motion.rotation)


def test_a_relative_drive_is_the_official_formula() -> None:
    source, first, later = face(0).motion, face(1).motion, face(2, yaw=20.0).motion
    drive = DriveFrame(
        exp=(later.exp - first.exp)[0].numpy(),
        rotation=(later.rotation @ first.rotation.mT)[0].numpy(),
        scale=float(later.scale / first.scale),
        t=(later.t - first.t)[0].numpy(),
    )
    assert_same(moved(face(0), [drive]), relative(source, later, first))


def test_an_absolute_drive_is_the_official_formula() -> None:
    source, driving = face(0).motion, face(2, yaw=20.0).motion
    drive = DriveFrame(
        exp=driving.exp[0].numpy(), rotation=driving.rotation[0].numpy(), t=driving.t[0].numpy(), is_absolute=True
    )
    assert_same(moved(face(0), [drive]), absolute(source, driving))


def test_rows_of_a_batch_do_not_meet() -> None:
    absolute_one = DriveFrame(exp=some_exp(3), rotation=about_z(8.0), is_absolute=True)
    drives = [DriveFrame(yaw=5.0, exp=some_exp()), DriveFrame(), absolute_one]
    together = moved(face(), drives)
    for row, drive in enumerate(drives):
        alone = moved(face(), [drive])
        for name in ("rotation", "exp", "scale", "t"):
            torch.testing.assert_close(getattr(together, name)[row : row + 1], getattr(alone, name))
    torch.testing.assert_close(together.exp[1:2], face().exp)


def test_each_row_has_a_face_of_its_own() -> None:
    one, other = face(0), face(1)
    both = Face(**{name: torch.cat([getattr(one, name), getattr(other, name)]) for name in Face.__slots__})
    driven = place(both.kp, moved(both, [DriveFrame(roll=3.0), DriveFrame(pitch=2.0)]))
    torch.testing.assert_close(driven[:1], place(one.kp, moved(one, [DriveFrame(roll=3.0)])))
    torch.testing.assert_close(driven[1:], place(other.kp, moved(other, [DriveFrame(pitch=2.0)])))


def test_half_of_a_drive_turns_half_as_far() -> None:
    whole = DriveFrame(some_exp(), 2.0, 4.0, 6.0, about_z(30.0), 1.21, np.ones(3, np.float32))
    half = whole.eased(0.5)
    np.testing.assert_allclose(half.rotation, about_z(15.0), atol=1e-6)
    np.testing.assert_allclose(half.exp, some_exp() / 2)
    assert (half.pitch, half.yaw, half.roll) == (1.0, 2.0, 3.0)
    assert half.scale == pytest.approx(1.1)
    assert half.t.tolist() == [0.5, 0.5, 0.5]


def test_none_of_a_drive_is_nothing_and_all_of_it_is_itself() -> None:
    whole = DriveFrame(some_exp(), 2.0, 4.0, 6.0, about_z(30.0), 1.21, np.ones(3, np.float32))
    assert_same(moved(face(), [whole.eased(0.0)]), face().motion)
    assert_same(moved(face(), [whole.eased(1.0)]), moved(face(), [whole]))


def test_two_drives_add_up() -> None:
    one = DriveFrame(some_exp(1), yaw=3.0, rotation=about_z(10.0), scale=1.1, eye_ratio=0.1, lip_ratio=0.3)
    other = DriveFrame(some_exp(2), yaw=4.0, rotation=about_z(20.0), scale=2.0, eye_ratio=0.2)
    both = one.and_also(other)
    np.testing.assert_allclose(both.exp, some_exp(1) + some_exp(2))
    np.testing.assert_allclose(both.rotation, about_z(30.0), atol=1e-6)
    assert (both.yaw, both.scale) == (7.0, 2.2)
    assert (both.eye_ratio, both.lip_ratio) == (0.2, 0.3)


def test_lips_are_left_to_somebody_else_and_everything_else_stays() -> None:
    drive = DriveFrame(some_exp(), yaw=3.0, lip_ratio=0.2)
    left = drive.without_lips(1.0)
    assert LIPS == LIP_KEYPOINTS
    lips = list(LIPS)
    others = [k for k in range(21) if k not in lips]
    assert not left.exp[lips].any()
    np.testing.assert_array_equal(left.exp[others], drive.exp[others])
    assert (left.lip_ratio, left.yaw) == (None, 3.0)
    np.testing.assert_allclose(drive.without_lips(0.25).exp[lips], 0.75 * drive.exp[lips])
    assert drive.exp[lips].any(), "it was changed in place"


def test_apertures_are_asked_for_in_the_rows_that_want_them() -> None:
    drive = batched(face(), [DriveFrame(), DriveFrame(eye_ratio=0.25), DriveFrame(yaw=2.0)])
    assert drive.lip_ratio is None
    assert drive.eye_ratio is not None
    assert drive.eye_ratio.isnan()[:, 0].tolist() == [True, False, True]
    assert float(drive.eye_ratio[1, 0]) == 0.25
    assert_same(drive.motion, moved(face(), [DriveFrame(), DriveFrame(), DriveFrame(yaw=2.0)]))
