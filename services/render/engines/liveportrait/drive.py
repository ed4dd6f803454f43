"""The seam between motion and networks: what drives a portrait at one moment, whatever it comes from.

A face's own state (`expression.py`), a driving video and a motion template (`clip.py`) all end as a `DriveFrame`, and
so will a network that makes motion of sound.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

KEYPOINTS = 21
# As `keypoints.LIP_KEYPOINTS`; motion is read, mixed and kept without torch.
LIPS = (6, 12, 14, 17, 19, 20)
# Shape (21, 3), float32: x to the right, y down, z into the picture.
Expression = NDArray[np.float32]


def no_expression() -> Expression:
    return np.zeros((KEYPOINTS, 3), np.float32)


def no_rotation() -> NDArray[np.float32]:
    return np.eye(3, dtype=np.float32)


def no_shift() -> NDArray[np.float32]:
    return np.zeros(3, np.float32)


@dataclass(frozen=True, slots=True)
class DriveFrame:
    """What drives a portrait at one moment. The default leaves it as it is, exactly.

    Attributes:
        exp: shape (21, 3), added to the portrait's expression.
        pitch, yaw, roll: degrees added to the head's own: down, to the viewer's left, clockwise for the viewer.
        rotation: shape (3, 3), of row vectors, before the portrait's own.
        scale: multiplies the portrait's.
        t: shape (3,), added to the portrait's translation; z is read by nothing.
        eye_ratio, lip_ratio: an aperture to which the retargeting network brings both eyes or the lips besides, 0 to
            0.8 as in `ratios.py`; None is left to `exp`.
        is_absolute: `exp`, `rotation` and `t` are the driving face's own and take the place of the portrait's; angles
            and scale are unused.
    """

    exp: Expression = field(default_factory=no_expression)
    pitch: float = 0.0
    yaw: float = 0.0
    roll: float = 0.0
    rotation: NDArray[np.float32] = field(default_factory=no_rotation)
    scale: float = 1.0
    t: NDArray[np.float32] = field(default_factory=no_shift)
    eye_ratio: float | None = None
    lip_ratio: float | None = None
    is_absolute: bool = False

    def eased(self, share: float) -> DriveFrame:
        """A part of it, without the apertures, which have no parts. Args: share: 0 is nothing, 1 all.

        It may not be absolute.
        """
        assert not self.is_absolute
        turn, _ = cv2.Rodrigues(self.rotation.astype(np.float64))
        return DriveFrame(
            exp=self.exp * np.float32(share),
            pitch=self.pitch * share,
            yaw=self.yaw * share,
            roll=self.roll * share,
            rotation=np.asarray(cv2.Rodrigues(turn * share)[0], np.float32),
            scale=self.scale**share,
            t=self.t * np.float32(share),
        )

    def and_also(self, other: DriveFrame) -> DriveFrame:
        """Both at once; where both want an aperture, the other has it. Neither may be absolute."""
        assert not self.is_absolute
        assert not other.is_absolute
        return DriveFrame(
            exp=self.exp + other.exp,
            pitch=self.pitch + other.pitch,
            yaw=self.yaw + other.yaw,
            roll=self.roll + other.roll,
            rotation=self.rotation @ other.rotation,
            scale=self.scale * other.scale,
            t=self.t + other.t,
            eye_ratio=self.eye_ratio if other.eye_ratio is None else other.eye_ratio,
            lip_ratio=self.lip_ratio if other.lip_ratio is None else other.lip_ratio,
        )

    def without_lips(self, share: float) -> DriveFrame:
        """The same with less of its lips: somebody else moves them. Args: share: 0 to 1, how much is taken away."""
        exp = self.exp.copy()
        exp[list(LIPS)] *= np.float32(1.0 - share)
        return replace(self, exp=exp, lip_ratio=None if share > 0 else self.lip_ratio)


class MotionSource(Protocol):
    """Motion that has a beginning: a driving video, a template."""

    @property
    def duration_s(self) -> float:
        """Its length; after it, the last moment stays."""

    def at(self, offset_s: float) -> DriveFrame:
        """What drives a portrait at a place of it, in seconds from its beginning; any number of any order."""
