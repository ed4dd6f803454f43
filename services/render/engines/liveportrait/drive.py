"""The seam between motion and networks: what drives a portrait at one moment, whatever it comes from.

A face's own state (`expression.py`), a driving video and a motion template (`clip.py`) all end as a `Drive`, and so
will a network that makes motion of sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.render.engines.liveportrait import keypoints
from services.render.engines.liveportrait.keypoints import LIP_KEYPOINTS, Face, Motion

KEYPOINTS = 21
# Shape (21, 3), float32: x to the right, y down, z into the picture.
Expression = NDArray[np.float32]


def no_expression() -> Expression:
    return np.zeros((KEYPOINTS, 3), np.float32)


def no_rotation() -> NDArray[np.float32]:
    return np.eye(3, dtype=np.float32)


def no_shift() -> NDArray[np.float32]:
    return np.zeros(3, np.float32)


@dataclass(frozen=True, slots=True)
class Retarget:
    """Eyes or lips, brought to an aperture by their retargeting network.

    Attributes:
        ratio: the wanted one, as in `ratios.py`: 0 is shut, 0.8 the widest that the networks know.
        share: 0 to 1, how much of the network's shift is added. At 0 it does nothing, exactly.
    """

    ratio: float = 0.0
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Drive:
    """What drives a portrait at one moment. The default leaves it as it is, exactly.

    Attributes:
        exp: shape (21, 3), added to the portrait's expression.
        pitch, yaw, roll: degrees added to the head's own: down, to the viewer's left, clockwise for the viewer.
        rotation: shape (3, 3), of row vectors, before the portrait's own.
        scale: multiplies the portrait's.
        t: shape (3,), added to the portrait's translation; z is read by nothing.
        eyes, lips: brought to an aperture besides.
        is_absolute: `exp`, `rotation` and `t` are the driving face's own and take the place of the portrait's; the rest
            is unused.
    """

    exp: Expression = field(default_factory=no_expression)
    pitch: float = 0.0
    yaw: float = 0.0
    roll: float = 0.0
    rotation: NDArray[np.float32] = field(default_factory=no_rotation)
    scale: float = 1.0
    t: NDArray[np.float32] = field(default_factory=no_shift)
    eyes: Retarget = Retarget()
    lips: Retarget = Retarget()
    is_absolute: bool = False

    def eased(self, share: float) -> Drive:
        """A part of it. Args: share: 0 is nothing, 1 all. An absolute one cannot be eased."""
        assert not self.is_absolute
        turn, _ = cv2.Rodrigues(self.rotation.astype(np.float64))
        return Drive(
            exp=self.exp * np.float32(share),
            pitch=self.pitch * share,
            yaw=self.yaw * share,
            roll=self.roll * share,
            rotation=np.asarray(cv2.Rodrigues(turn * share)[0], np.float32),
            scale=self.scale**share,
            t=self.t * np.float32(share),
            eyes=replace(self.eyes, share=self.eyes.share * share),
            lips=replace(self.lips, share=self.lips.share * share),
        )

    def and_also(self, other: Drive) -> Drive:
        """Both at once. Of two apertures the one with the larger share is taken. Neither may be absolute."""
        assert not self.is_absolute
        assert not other.is_absolute
        return Drive(
            exp=self.exp + other.exp,
            pitch=self.pitch + other.pitch,
            yaw=self.yaw + other.yaw,
            roll=self.roll + other.roll,
            rotation=self.rotation @ other.rotation,
            scale=self.scale * other.scale,
            t=self.t + other.t,
            eyes=max(self.eyes, other.eyes, key=lambda of: of.share),
            lips=max(self.lips, other.lips, key=lambda of: of.share),
        )

    def without_lips(self, share: float) -> Drive:
        """The same with less of its lips: somebody else moves them. Args: share: 0 to 1, how much is taken away."""
        exp = self.exp.copy()
        exp[list(LIP_KEYPOINTS)] *= np.float32(1.0 - share)
        return replace(self, exp=exp, lips=replace(self.lips, share=self.lips.share * (1.0 - share)))


class MotionSource(Protocol):
    """Motion that has a beginning: a driving video, a template."""

    @property
    def duration_s(self) -> float:
        """Its length; after it, the last moment stays."""

    def at(self, offset_s: float) -> Drive:
        """What drives a portrait at a place of it, in seconds from its beginning; any number of any order."""


def moved(faces: Face, drives: Sequence[Drive]) -> Motion:
    """Where each portrait's face goes, for `keypoints.place`.

    Args:
        faces: of the portraits as they are, b of them, or one for all drives.
        drives: one for each row of the batch.
    Returns: b rows, on the device of `faces`. Eyes and lips are still to be retargeted: `retargeting`.
    """
    device, own = faces.exp.device, faces.motion

    def stacked(values: list[NDArray[np.float32]]) -> Tensor:
        return torch.from_numpy(np.stack(values)).to(device)

    angles = stacked([np.array([drive.pitch, drive.yaw, drive.roll], np.float32) for drive in drives])  # (b, 3)
    exp = stacked([drive.exp for drive in drives])  # (b, 21, 3)
    rotation = stacked([drive.rotation for drive in drives])  # (b, 3, 3)
    scale = stacked([np.array([drive.scale], np.float32) for drive in drives])  # (b, 1)
    t = stacked([drive.t for drive in drives])  # (b, 3)
    pitch, yaw, roll = angles.unbind(dim=1)
    turned = keypoints.rotation_matrix(faces.pitch + pitch, faces.yaw + yaw, faces.roll + roll)
    relative = Motion(rotation @ turned, own.exp + exp, own.scale * scale, own.t + t)
    is_absolute = [drive.is_absolute for drive in drives]
    if not any(is_absolute):
        return relative
    absolute = keypoints.absolute(own, Motion(rotation, exp, scale, t))
    chosen = torch.tensor(is_absolute, device=device)[:, None]
    return Motion(
        torch.where(chosen[:, :, None], absolute.rotation, relative.rotation),
        torch.where(chosen[:, :, None], absolute.exp, relative.exp),
        torch.where(chosen, absolute.scale, relative.scale),
        torch.where(chosen, absolute.t, relative.t),
    )
