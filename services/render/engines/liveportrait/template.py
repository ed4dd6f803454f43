"""Reads official motion templates (.pkl): what the official code keeps of a driving video."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError
from services.render.engines.liveportrait.clip import MotionClip, checked_clip
from services.render.engines.liveportrait.drive import KEYPOINTS
from services.render.engines.liveportrait.pickled import read_pickle

# What the official code assumes where a template says nothing.
_DEFAULT_RATE_HZ = 25.0
# Ours: theirs, as they are called now and were before, and the shape of one frame.
_FRAME = {
    "exp": (("exp",), (1, KEYPOINTS, 3)),
    "rotation": (("R", "R_d"), (1, 3, 3)),
    "scale": (("scale",), (1, 1)),
    "t": (("t",), (1, 3)),
}
# How open eyes and lips are, for the official option that drives nothing else; checked, and not used.
_RATIOS = {("c_eyes_lst", "c_d_eyes_lst"): (1, 2), ("c_lip_lst", "c_d_lip_lst"): (1, 1)}


def clip_of_template(file: bytes) -> MotionClip:
    """An official motion template, without executing the pickle that it is.

    Raises: InvalidRequestError that names what is missing or wrong.
    """
    content = read_pickle(file)
    if not isinstance(content, dict) or not isinstance(content.get("motion"), list):
        raise InvalidRequestError("this pickle is no motion template: it has no list of frames called 'motion'")
    frames, count, rate_hz = content["motion"], content.get("n_frames"), content.get("output_fps", _DEFAULT_RATE_HZ)
    if type(count) is not int or count != len(frames):
        raise InvalidRequestError(f"the template says n_frames {_short(count)} and has {len(frames)} frames")
    if type(rate_hz) not in (int, float):
        raise InvalidRequestError(f"output_fps of the template is {_short(rate_hz)}; a number would be right")
    for names, shape in _RATIOS.items():
        ratios = _of(content, names)
        if ratios is not None and (not isinstance(ratios, list) or len(ratios) != count):
            raise InvalidRequestError(f"{names[0]} of the template is no list of {count} ratios")
        for index, ratio in enumerate(ratios or ()):
            _checked(ratio, shape, names[0], index)
    arrays = {
        ours: np.array([_checked(_of(frame, names), shape, names[0], index)[0] for index, frame in enumerate(frames)])
        for ours, (names, shape) in _FRAME.items()
    }
    return checked_clip(rate_hz, arrays | {"scale": arrays["scale"].reshape(-1)})


def _of(frame: Any, names: tuple[str, ...]) -> Any:
    """The value under the first of its names that is there; None if none is."""
    return next((frame[name] for name in names if name in frame), None) if isinstance(frame, dict) else None


def _checked(value: Any, shape: tuple[int, ...], name: str, index: int) -> NDArray[Any]:
    if value is None:
        raise InvalidRequestError(f"frame {index} of the template has no {name}")
    if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype.kind != "f":
        found = f"{value.dtype} of {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise InvalidRequestError(
            f"{name} of frame {index} of the template is {found}; floats of {shape} would be right"
        )
    return value


def _short(value: Any) -> str:
    return str(value)[:40] if isinstance(value, int | float | str) else type(value).__name__
