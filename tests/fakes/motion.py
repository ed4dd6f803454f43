"""Motion files, made here: official templates of either kind, of a face that nods, speaks and turns."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.render.engines.liveportrait.clip import MotionClip


def turned_by(yaw_degrees: float) -> NDArray[np.float32]:
    """A head's rotation, shape (3, 3), of row vectors."""
    cos, sin = np.cos(np.radians(yaw_degrees)), np.sin(np.radians(yaw_degrees))
    return np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]], np.float32)


def motion_clip(count: int = 50, rate_hz: float = 25.0) -> MotionClip:
    """A head that turns by a degree a frame while the lips open and shut."""
    exp = np.random.default_rng(0).normal(0, 0.02, (21, 3)).astype(np.float32) + np.zeros((count, 1, 1), np.float32)
    exp[:, 19, 1] += 0.05 * np.abs(np.sin(np.arange(count) / 3)).astype(np.float32)
    return MotionClip(
        rate_hz,
        exp,
        np.stack([turned_by(index) for index in range(count)]),
        np.linspace(1.2, 1.5, count, dtype=np.float32),
        np.linspace((0.0, 0.1, 0.0), (0.1, 0.0, 0.0), count, dtype=np.float32),
    )


def template_of(clip: MotionClip, *, is_old: bool = False, has_ratios: bool = True) -> dict[str, Any]:
    """What the official code keeps of a video. Args: is_old: under the names that it used at first."""
    rotation, prefix = ("R_d", "c_d") if is_old else ("R", "c")
    frames: list[dict[str, NDArray[np.float32]]] = []
    for index in range(clip.frame_count):
        frame = {
            "scale": clip.scale[index].reshape(1, 1),
            rotation: clip.rotation[index][None],
            "exp": clip.exp[index][None],
            "t": clip.t[index][None],
        }
        if not is_old:
            frame |= {"kp": clip.exp[index][None], "x_s": clip.exp[index][None]}
        frames.append(frame)
    template = {"n_frames": clip.frame_count, "output_fps": int(clip.rate_hz), "motion": frames}
    if has_ratios:
        template[f"{prefix}_eyes_lst"] = [np.full((1, 2), 0.3, np.float32) for _ in frames]
        template[f"{prefix}_lip_lst"] = [np.full((1, 1), 0.1, np.float32) for _ in frames]
    return template


def template_file(clip: MotionClip, protocol: int = 4, **how: bool) -> bytes:
    """An official motion template as a file. Args: how: as of `template_of`."""
    return pickle.dumps(template_of(clip, **how), protocol)
