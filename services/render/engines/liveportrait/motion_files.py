"""Reads whatever moves a face: driving videos, official motion templates, and motion that was kept."""

from __future__ import annotations

import threading
from collections.abc import Callable

from services.common.errors import InvalidRequestError, UnsupportedError
from services.render.engines.liveportrait.clip import MotionClip, clip_of_npz
from services.render.engines.liveportrait.driving_video import ReadFaces, clip_of_video, container_of
from services.render.engines.liveportrait.reading import FaceReader
from services.render.engines.liveportrait.template import clip_of_template
from services.render.landmarks import FaceLandmarker

# First bytes of an .npz, which is a zip archive, and of a pickle of any protocol that is read.
_NPZ, _PICKLE = b"PK\x03\x04", b"\x80"


class MotionReader:
    """Tells files by their first bytes. Its models are loaded with the first video."""

    def __init__(
        self, open_landmarker: Callable[[], FaceLandmarker] | None, reader: FaceReader, read: ReadFaces, image_size: int
    ) -> None:
        """Args:
        open_landmarker: raises NotReadyError if it cannot; None reads no videos.
        read: M.
        image_size: of the pictures that M reads.
        """
        self._open_landmarker = open_landmarker
        self._landmarker: FaceLandmarker | None = None
        self._one_looks = threading.Lock()
        self._reader = reader
        self._read = read
        self._image_size = image_size

    def read(self, file: bytes) -> MotionClip:
        """Blocking, for up to a minute. Raises: InvalidRequestError; UnsupportedError; NotReadyError."""
        if file.startswith(_NPZ):
            return clip_of_npz(file)
        if file.startswith(_PICKLE):
            return clip_of_template(file)
        if container_of(file) is None:
            raise InvalidRequestError(
                "this is neither a video (MP4, MOV, WebM, MKV) nor a motion template (.pkl of LivePortrait, .npz)"
            )
        if self._open_landmarker is None:
            raise UnsupportedError("driving videos are not read here, where nothing finds faces in them")
        with self._one_looks:
            if self._landmarker is None:
                self._landmarker = self._open_landmarker()
            return clip_of_video(file, self._landmarker, self._reader, self._read, self._image_size)
