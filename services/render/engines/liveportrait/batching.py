"""What drives several portraits at one moment, as the batch that the networks take."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.render.engines.liveportrait import keypoints
from services.render.engines.liveportrait.drive import DriveFrame
from services.render.engines.liveportrait.keypoints import Face, Motion
from services.render.engines.liveportrait.pipeline import Drive


def moved(faces: Face, frames: Sequence[DriveFrame]) -> Motion:
    """Where each portrait's face goes, for `keypoints.place`.

    Args:
        faces: of the portraits as they are, b of them, or one for all frames.
        frames: b of them.
    Returns: b rows, on the device of `faces`.
    """
    device, own = faces.exp.device, faces.motion

    def stacked(values: list[NDArray[np.float32]]) -> Tensor:
        return torch.from_numpy(np.stack(values)).to(device)

    angles = stacked([np.array([frame.pitch, frame.yaw, frame.roll], np.float32) for frame in frames])  # (b, 3)
    exp = stacked([frame.exp for frame in frames])  # (b, 21, 3)
    rotation = stacked([frame.rotation for frame in frames])  # (b, 3, 3)
    scale = stacked([np.array([frame.scale], np.float32) for frame in frames])  # (b, 1)
    t = stacked([frame.t for frame in frames])  # (b, 3)
    pitch, yaw, roll = angles.unbind(dim=1)
    turned = keypoints.rotation_matrix(faces.pitch + pitch, faces.yaw + yaw, faces.roll + roll)
    relative = Motion(rotation @ turned, own.exp + exp, own.scale * scale, own.t + t)
    is_absolute = [frame.is_absolute for frame in frames]
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


def batched(faces: Face, frames: Sequence[DriveFrame]) -> Drive:
    """A batch of frames for `Pipeline.driven`. Args: as of `moved`."""
    return Drive(
        moved(faces, frames),
        _apertures([frame.eye_ratio for frame in frames], faces.exp),
        _apertures([frame.lip_ratio for frame in frames], faces.exp),
    )


def _apertures(wanted: list[float | None], like: Tensor) -> Tensor | None:
    """Shape (b, 1), NaN where none is wanted; None if none is at all."""
    if all(ratio is None for ratio in wanted):
        return None
    return like.new_tensor([[math.nan if ratio is None else ratio] for ratio in wanted])
