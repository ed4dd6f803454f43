"""Puts drawn faces back into the pictures that they were cut from, on whatever device they were drawn.

Where a frame's pixels lie in the face, and how much of each is the face's, is worked out once per portrait. The mask is
our own: whole in the middle, and gone at the edge of the cut, so that whatever the networks do there shows no seam.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from torch import Tensor

from services.render.engine import FRAME_EDGE, MARGIN, Portrait
from services.render.engines.liveportrait.crop import CROP_EDGE, Square

# From the edge of the cut inwards, by its own edge: nothing of the face up to here, all of it from there on.
_MASK_BEGINS, _MASK_WHOLE = 0.01, 0.07


@dataclass(frozen=True, slots=True)
class Setting:
    """What a drawn face is put into: b portraits.

    Attributes:
        grid: shape (b, FRAME_EDGE, FRAME_EDGE, 2), where each pixel lies in the face, -1 to 1 from edge to edge.
        mask: shape (b, 1, FRAME_EDGE, FRAME_EDGE), 0 to 1, how much of a pixel is the face's.
        frame: shape (b, 3, FRAME_EDGE, FRAME_EDGE), uint8, the portrait as the frame shows it.
    """

    grid: Tensor
    mask: Tensor
    frame: Tensor

    @staticmethod
    def of(portrait: Portrait, square: Square, device: torch.device | str = "cpu") -> Setting:
        """Args: square: in pixels of the portrait, of what was cut."""
        grid, mask = _grid_and_mask(square)
        inner = portrait.image_rgb[MARGIN : MARGIN + FRAME_EDGE, MARGIN : MARGIN + FRAME_EDGE]
        frame = np.ascontiguousarray(inner.transpose(2, 0, 1))
        on_cpu = (torch.from_numpy(part)[None] for part in (grid, mask[None], frame))
        return Setting(*(part.to(device) for part in on_cpu))

    @staticmethod
    def stacked(settings: Sequence[Setting]) -> Setting:
        """One batch of several, in their order; the same may stand in it again."""
        return Setting(*(torch.cat([getattr(s, name) for s in settings]) for name in ("grid", "mask", "frame")))

    @property
    def byte_count(self) -> int:
        """Memory that it takes."""
        return sum(part.numel() * part.element_size() for part in (self.grid, self.mask, self.frame))

    def with_faces(self, faces: Tensor) -> Tensor:
        """The frames, with their faces in them; pixels without any of the face are the portrait's, exactly.

        Args: faces: shape (b, edge, edge, 3), uint8, drawn of the cuts; on the same device.
        Returns: shape (b, 3, FRAME_EDGE, FRAME_EDGE), float32, RGB from 0 to 255.
        """
        pixels = faces.permute(0, 3, 1, 2).float()
        # Beyond the edge there is no mask; the border's colour there keeps its last pixels from darkening.
        placed = nnf.grid_sample(pixels, self.grid, padding_mode="border", align_corners=False)
        return torch.lerp(self.frame.float(), placed, self.mask)


def _grid_and_mask(square: Square) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Shapes (FRAME_EDGE, FRAME_EDGE, 2) and (FRAME_EDGE, FRAME_EDGE)."""
    matrix = square.from_picture(CROP_EDGE)
    y, x = np.mgrid[MARGIN : MARGIN + FRAME_EDGE, MARGIN : MARGIN + FRAME_EDGE].astype(np.float64)
    pixels = np.stack([x, y], axis=-1) @ matrix[:, :2].T + matrix[:, 2]
    # From whole numbers at the pixels' centres to the share of the edge.
    share = (pixels + 0.5) / CROP_EDGE
    inwards = (np.minimum(share, 1.0 - share) - _MASK_BEGINS) / (_MASK_WHOLE - _MASK_BEGINS)
    eased = np.clip(inwards, 0.0, 1.0)
    eased = eased * eased * (3.0 - 2.0 * eased)
    return (2.0 * share - 1.0).astype(np.float32), eased.prod(axis=-1).astype(np.float32)


def bytes_of(frames: Tensor, size: int) -> Tensor:
    """Pictures of frames.

    Args:
        frames: shape (b, 3, edge, edge), 0 to 255.
        size: their edge in pixels, `edge` at most.
    Returns: shape (b, size, size, 3), uint8.
    """
    if size != frames.shape[-1]:
        frames = nnf.interpolate(frames, size=(size, size), mode="bilinear", antialias=True)
    # Nearest, because mixing makes a hair more or less of 255.
    return frames.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
