"""The plain path, and the reference of every faster one: a portrait once, then frames of it in batches, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.render.engines.liveportrait.keypoints import Face, Motion, place
from services.render.engines.liveportrait.networks import Networks
from services.render.engines.liveportrait.retargeting import Mlp, retarget, stitch

# Lips of a portrait that are open at least so wide are closed before they are driven.
LIPS_CLOSED_BELOW = 0.03


@dataclass(frozen=True, slots=True)
class Source:
    """What every frame of a portrait needs: b portraits, and for a batch of frames the portrait of each.

    Attributes:
        volume: shape (b, channels, depth, height, width), of F.
        face: of M; `face.motion` is how the portrait itself looks.
        x_s: shape (b, k, 3), the portrait's keypoints.
        eye_ratios: shape (b, 2); lip_ratio: shape (b, 1): how open they are, in the unit of `keypoints.eye_ratios`.
        lip_shift: shape (b, k, 3), what closes the lips; 0 where they are closed.
    """

    volume: Tensor
    face: Face
    x_s: Tensor
    eye_ratios: Tensor
    lip_ratio: Tensor
    lip_shift: Tensor

    @staticmethod
    def stacked(sources: Sequence[Source]) -> Source:
        """One batch of several, in their order; the same may stand in it again."""
        face = Face(*(torch.cat([getattr(s.face, f.name) for s in sources]) for f in fields(Face)))
        volume, x_s, eyes, lip, shift = (
            torch.cat([getattr(s, name) for s in sources])
            for name in ("volume", "x_s", "eye_ratios", "lip_ratio", "lip_shift")
        )
        return Source(volume, face, x_s, eyes, lip, shift)


@dataclass(frozen=True, slots=True)
class Drive:
    """What each of a batch of frames shows.

    Attributes:
        motion: by one of the ways in `keypoints`: edited, relative, relative_to_neutral, absolute.
        eye_ratio, lip_ratio: shape (b, 1), how open the eyes and lips are to be, 0 to 0.8; None, and NaN in a row,
            leave them as `motion` has them.
        closes_lips: whether the lips start closed where the portrait's are open, as the official code has it for
            relative motion; a row with a `lip_ratio` does without.
        stitches: whether shoulders and neck stay where the portrait has them.
    """

    motion: Motion
    eye_ratio: Tensor | None = None
    lip_ratio: Tensor | None = None
    closes_lips: bool = True
    stitches: bool = True


class Pipeline:
    """F, M, S, W and G in their order."""

    def __init__(self, networks: Networks) -> None:
        """Args: networks: on the device where everything runs."""
        self.networks = networks
        self.config = networks.config
        self.device = next(networks.parameters()).device

    def pixels(self, images_rgb: NDArray[np.uint8]) -> Tensor:
        """What F and M read.

        Args: images_rgb: shape (b, size, size, 3), `config.image_size` wide.
        Returns: shape (b, 3, size, size), in [0, 1].
        Raises: ValueError if the shape or type is another one.
        """
        size = self.config.image_size
        if images_rgb.ndim != 4 or images_rgb.shape[1:] != (size, size, 3) or images_rgb.dtype != np.uint8:
            raise ValueError(
                f"images are uint8 of shape (b, {size}, {size}, 3), not {images_rgb.dtype} of {images_rgb.shape}"
            )
        on_device = torch.from_numpy(images_rgb).to(self.device)
        return on_device.permute(0, 3, 1, 2).float().div_(255.0)

    def prepare(self, images_rgb: NDArray[np.uint8], eye_ratios: Tensor, lip_ratio: Tensor) -> Source:
        """Do once for a portrait what all of its frames need.

        Args:
            images_rgb: shape (b, size, size, 3), faces as the official code crops them.
            eye_ratios: shape (b, 2); lip_ratio: shape (b, 1), measured on the portrait.
        """
        pixels = self.pixels(images_rgb)
        eyes, lip = eye_ratios.to(pixels), lip_ratio.to(pixels)
        face: Face = self.networks.motion(pixels)
        x_s = place(face.kp, face.motion)
        closing = retarget(self.networks.lip, x_s, torch.cat([lip, torch.zeros_like(lip)], dim=1))
        closing = torch.where(lip[:, :, None] >= LIPS_CLOSED_BELOW, closing, 0.0)
        return Source(self.networks.appearance(pixels), face, x_s, eyes, lip, closing)

    def read(self, images_rgb: NDArray[np.uint8]) -> Face:
        """Faces of a driving video. Args: images_rgb: shape (b, size, size, 3), cropped as the official code does."""
        face: Face = self.networks.motion(self.pixels(images_rgb))
        return face

    def driven(self, source: Source, drive: Drive) -> Tensor:
        """As the function of this name, by its own networks."""
        return driven(self.networks, source, drive)

    def draw(self, source: Source, x_d: Tensor) -> Tensor:
        """W and G. Args: x_d: shape (b, k, 3). Returns: shape (b, 3, edge, edge), `config.output_size`, in (0, 1)."""
        images: Tensor = self.networks.generator(self.networks.warping(source.volume, source.x_s, x_d).out)
        return images

    def frames(self, source: Source, drive: Drive) -> Tensor:
        """A batch of frames, each of its own portrait. Args: source, drive: b of each. Returns: as `draw`."""
        return self.draw(source, self.driven(source, drive))


class KeypointNetworks(Protocol):
    """The three small networks on keypoints."""

    @property
    def stitching(self) -> Mlp: ...
    @property
    def eye(self) -> Mlp: ...
    @property
    def lip(self) -> Mlp: ...


def driven(networks: KeypointNetworks, source: Source, drive: Drive) -> Tensor:
    """Where the keypoints of each frame are.

    Args: networks: on the device of `source`; source, drive: b of each; the source's volume is not read.
    Returns: shape (b, k, 3).
    """
    x_s = source.x_s
    x_d = place(source.face.kp, drive.motion)
    lip_shift = source.lip_shift if drive.closes_lips else torch.zeros_like(x_s)
    if drive.eye_ratio is not None:
        x_d = x_d + _opened(networks.eye, x_s, source.eye_ratios, drive.eye_ratio)
    if drive.lip_ratio is not None:
        x_d = x_d + _opened(networks.lip, x_s, source.lip_ratio, drive.lip_ratio)
        lip_shift = torch.where(drive.lip_ratio.isnan()[:, :, None], lip_shift, 0.0)
    if drive.stitches:
        x_d = stitch(networks.stitching, x_s, x_d)
    return x_d + lip_shift


def _opened(network: Mlp, x_s: Tensor, measured: Tensor, wanted: Tensor) -> Tensor:
    """The shift that opens eyes or lips as wanted, 0 for NaN. Returns: shape (b, k, 3)."""
    is_wanted = ~wanted.isnan()
    shift = retarget(network, x_s, torch.cat([measured, wanted.nan_to_num()], dim=1))
    return torch.where(is_wanted[:, :, None], shift, 0.0)


def to_rgb(images: Tensor) -> NDArray[np.uint8]:
    """Pictures of G's images, rounded down as the official code does.

    Args: images: shape (b, 3, edge, edge), in [0, 1].
    Returns: shape (b, edge, edge, 3).
    """
    pictures: NDArray[np.uint8] = (images * 255.0).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return pictures
