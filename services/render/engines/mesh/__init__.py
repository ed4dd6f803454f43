"""A portrait as a mesh that is warped, with painted eyes and mouth: one core, no GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.errors import UnsupportedError
from services.common.models import model_path
from services.render.engine import (
    FRAME_EDGE,
    MARGIN,
    Capabilities,
    FaceState,
    FrameJob,
    FrameRgb,
    Portrait,
    PreparedAvatar,
    RecordedMotion,
)
from services.render.engines.mesh.eyes import Eye, paint_eye, prepare_eye
from services.render.engines.mesh.geometry import Geometry
from services.render.engines.mesh.mouth import Mouth, paint_mouth, prepare_mouth
from services.render.engines.mesh.raster import identity_maps, raster
from services.render.video import encode

# The smallest edge at which a face is drawn; smaller frames are reduced from it.
_MIN_DRAWN = 256


@dataclass(frozen=True, slots=True)
class _Sized:
    """A portrait at one size of the frame, with the buffers that one drawing after another uses."""

    size: int
    offset: int
    image: NDArray[np.uint8]
    canvas: NDArray[np.uint8]
    whole: NDArray[np.int16]
    fraction: NDArray[np.uint16]
    geometry: Geometry
    eyes: tuple[Eye, Eye]
    mouth: Mouth


class MeshAvatar:
    """A prepared portrait; sizes other than FRAME_EDGE are made when they are first drawn."""

    def __init__(self, portrait: Portrait, connections: Path) -> None:
        self._portrait = portrait
        self._connections = connections
        self._sized: dict[int, _Sized] = {}
        self.at(FRAME_EDGE)

    def at(self, size: int) -> _Sized:
        if size not in self._sized:
            self._sized[size] = self._make(size)
        return self._sized[size]

    def _make(self, size: int) -> _Sized:
        portrait = self._portrait
        scale = size / FRAME_EDGE
        offset = round(MARGIN * scale)
        edge = size + 2 * offset
        image, person, points = portrait.image_rgb, portrait.person, portrait.points
        if scale != 1.0:
            image = cv2.resize(image, (edge, edge), interpolation=cv2.INTER_AREA).astype(np.uint8)
            person = cv2.resize(person, (edge, edge), interpolation=cv2.INTER_AREA).astype(np.uint8)
            ratio = edge / portrait.image_rgb.shape[0]
            points = np.asarray(points * ratio, np.float32)
        geometry = Geometry(points, person, self._connections)
        whole, fraction = identity_maps(size, size, offset)
        eyes = (prepare_eye(image, points, 0), prepare_eye(image, points, 1))
        mouth = prepare_mouth(image, points, geometry)
        return _Sized(size, offset, image, image.copy(), whole, fraction, geometry, eyes, mouth)


class MeshEngine:
    """Warps a mesh of 468 landmarks and paints eyes and mouth."""

    name = "mesh"
    path = ""
    capabilities = Capabilities(prepared_bytes=5_000_000)

    def __init__(self, data_dir: Path) -> None:
        """Raises: NotReadyError if the mesh's topology is missing."""
        cv2.setNumThreads(1)
        self._connections = model_path(data_dir, "face_mesh_connections.py")

    def prepare(self, portrait: Portrait) -> MeshAvatar:
        return MeshAvatar(portrait, self._connections)

    def read_motion(self, file: bytes) -> RecordedMotion:  # noqa: ARG002
        """Raises: UnsupportedError: always."""
        raise UnsupportedError(f"{self.name} moves faces by speech and expressions only; liveportrait reads motion")

    def draw(self, jobs: Sequence[FrameJob]) -> list[bytes]:
        return [encode(self.paint(job.prepared, job.state, job.size), job.codec) for job in jobs]

    def close(self) -> None:
        """There is nothing to free."""

    def paint(self, prepared: PreparedAvatar, state: FaceState, size: int) -> FrameRgb:
        """One picture, shape (size, size, 3), which belongs to the caller."""
        assert isinstance(prepared, MeshAvatar)
        sized = prepared.at(max(size, _MIN_DRAWN))
        weights = np.clip(state.weights, 0.0, 1.0)
        for side, eye in enumerate(sized.eyes):
            paint_eye(eye, side, weights, sized.image, sized.canvas)
        geometry = sized.geometry
        pose = geometry.pose(state.pose)
        placed = geometry.place(weights, pose) - np.float32(sized.offset)
        raster(geometry.triangles, placed, geometry.source, sized.whole, sized.fraction)
        frame = cv2.remap(
            sized.canvas, sized.whole, sized.fraction, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ).astype(np.uint8, copy=False)
        paint_mouth(sized.mouth, geometry, weights, placed, pose, frame, sized.offset)
        if size != sized.size:
            frame = cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8)
        return frame
