"""Motion that was recorded: the keypoints' motion of a driving video, frame by frame, and how it is kept.

It is kept as an .npz of plain arrays, which is read without executing anything; `template.py` reads the official kind.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError
from services.render.engines.liveportrait.arrays import DamagedArraysError, read_arrays
from services.render.engines.liveportrait.drive import KEYPOINTS, DriveFrame

MIN_FRAMES = 2
MAX_DURATION_S = 300.0
# So that what `to_file` gives, 320 bytes each, fits into a message.
MAX_FRAMES = 9000
MIN_RATE_HZ, MAX_RATE_HZ = 1.0, 120.0
# What no face does: it stands for a damaged file. Faces that fill a crop have a scale of 1 to 2, an expression within
# 0.2 and a translation within 0.5.
_MIN_SCALE, _MAX_SCALE, _MAX_EXP, _MAX_T = 0.05, 20.0, 2.0, 20.0
_ORTHOGONAL = 0.02
_FORMAT = "avatar-motion-1"
# Name: the shape of one frame.
_ARRAYS = {"exp": (KEYPOINTS, 3), "rotation": (3, 3), "scale": (), "t": (3,)}


@dataclass(frozen=True, slots=True)
class MotionClip:
    """A face in motion, n frames at a steady rate. A source of motion relative to its own first frame.

    Attributes:
        rate_hz: frames per second.
        exp: shape (n, 21, 3), the expression.
        rotation: shape (n, 3, 3), the head's, of row vectors.
        scale: shape (n,).
        t: shape (n, 3).
        is_absolute: drives with the recorded face's own pose and expression, not with what changed since its beginning.
    """

    rate_hz: float
    exp: NDArray[np.float32]
    rotation: NDArray[np.float32]
    scale: NDArray[np.float32]
    t: NDArray[np.float32]
    is_absolute: bool = False

    @property
    def frame_count(self) -> int:
        return len(self.exp)

    @property
    def duration_s(self) -> float:
        """From the first frame to the end of the last."""
        return self.frame_count / self.rate_hz

    def at(self, offset_s: float) -> DriveFrame:
        """What drives at a place of it, between two frames a mixture of them; before and after it, its ends."""
        place = min(max(offset_s * self.rate_hz, 0.0), self.frame_count - 1.0)
        before = min(int(place), self.frame_count - 2)
        share = np.float32(place - before)

        def mixed(values: NDArray[np.float32]) -> Any:
            return values[before] + (values[before + 1] - values[before]) * share

        rotation = _turned(self.rotation[before], self.rotation[before + 1], float(share))
        exp, scale, t = (mixed(values) for values in (self.exp, self.scale, self.t))
        if self.is_absolute:
            return DriveFrame(exp=exp, rotation=rotation, t=t, is_absolute=True)
        return DriveFrame(
            exp=exp - self.exp[0],
            rotation=rotation @ self.rotation[0].T,
            scale=float(scale / self.scale[0]),
            t=t - self.t[0],
        )

    def to_file(self) -> bytes:
        """The clip as a file (.npz) that `clip_of_npz` reads."""
        file = io.BytesIO()
        np.savez(
            file,
            format=np.array(_FORMAT),
            rate_hz=np.array(self.rate_hz, np.float64),
            **{name: getattr(self, name) for name in _ARRAYS},
        )
        return file.getvalue()


def _turned(before: NDArray[np.float32], after: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """A rotation on the shortest way from one to another."""
    if share == 0.0:
        return before
    way, _ = cv2.Rodrigues((after @ before.T).astype(np.float64))
    return np.asarray(cv2.Rodrigues(way * share)[0], np.float32) @ before


def checked_clip(rate_hz: float, arrays: Mapping[str, NDArray[Any]]) -> MotionClip:
    """A clip of what a file says.

    Args: arrays: exp, rotation, scale and t, of n frames each.
    Raises: InvalidRequestError that names what cannot be motion of a face.
    """
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise InvalidRequestError(
            f"the motion has {str(rate_hz)[:20]} frames per second; {MIN_RATE_HZ:g} to {MAX_RATE_HZ:g} can be"
        )
    count = arrays["exp"].shape[0] if arrays["exp"].ndim else 0
    if count < MIN_FRAMES:
        raise InvalidRequestError(f"the motion has {count} frames; {MIN_FRAMES} or more make a motion")
    if count > min(MAX_DURATION_S * rate_hz, MAX_FRAMES):
        raise InvalidRequestError(
            f"the motion lasts {count / rate_hz:.0f} s in {count} frames; {MAX_DURATION_S:g} s and {MAX_FRAMES} frames "
            "at most are read"
        )
    own: dict[str, NDArray[np.float32]] = {}
    for name, shape in _ARRAYS.items():
        array = arrays[name]
        if array.shape != (count, *shape):
            raise InvalidRequestError(
                f"{name} of the motion has the shape {array.shape}; {(count, *shape)} would be right"
            )
        with np.errstate(over="ignore"):
            own[name] = np.ascontiguousarray(array, np.float32)
        if not np.isfinite(own[name]).all():
            raise InvalidRequestError(f"{name} of the motion holds what is no finite number; the file is damaged")
    products = own["rotation"].astype(np.float64) @ own["rotation"].transpose(0, 2, 1)
    if np.abs(products - np.eye(3)).max() > _ORTHOGONAL or (np.linalg.det(own["rotation"]) < 0).any():
        raise InvalidRequestError("rotation of the motion is none: rows are not at right angles and of length 1")
    if own["scale"].min() < _MIN_SCALE or own["scale"].max() > _MAX_SCALE:
        raise InvalidRequestError(f"scale of the motion leaves {_MIN_SCALE:g} to {_MAX_SCALE:g}; no face does")
    for name, limit in (("exp", _MAX_EXP), ("t", _MAX_T)):
        if np.abs(own[name]).max() > limit:
            raise InvalidRequestError(f"{name} of the motion goes beyond {limit:g}; no face does")
    return MotionClip(float(rate_hz), own["exp"], own["rotation"], own["scale"], own["t"])


def clip_of_npz(file: bytes) -> MotionClip:
    """A clip that `to_file` wrote.

    Raises: InvalidRequestError if it is another file, damaged, or more than it says.
    """
    try:
        arrays = read_arrays(file, ("format", "rate_hz", *_ARRAYS))
    except DamagedArraysError as damaged:
        raise InvalidRequestError(f"this .npz is no motion of this project's: {damaged}") from damaged
    if arrays["format"].shape or str(arrays["format"]) != _FORMAT or arrays["rate_hz"].shape:
        raise InvalidRequestError(f"this .npz is no motion of this project's: its format is not {_FORMAT}")
    return checked_clip(float(arrays["rate_hz"]), arrays)
