"""From a driving video to motion: its face is followed from picture to picture, cut, and read by M.

Source: the framing, and one square for the whole video, are those of the published code.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError, UnsupportedError
from services.common.mp4 import announced_samples
from services.render.engines.liveportrait.clip import MotionClip, checked_clip
from services.render.engines.liveportrait.crop import (
    DRIVING,
    Image,
    cut,
    network_input,
    upright_square_around,
)

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame

    from services.render.engines.liveportrait.keypoints import Face, Motion
    from services.render.engines.liveportrait.reading import FaceReader
    from services.render.landmarks import FaceLandmarker, Points

MAX_VIDEO_BYTES = 64 * 1024 * 1024
# Longer motion comes as a template: a second of video takes a core about as long.
MAX_VIDEO_S = 60.0
MAX_PIXELS = 4096 * 2304
# A faster video is read at this rate; one that says none, or nonsense, at the usual one.
_MAX_RATE_HZ, _LEAST_RATE_HZ, _USUAL_RATE_HZ = 30.0, 5.0, 25.0
# Larger pictures are reduced, as the official code reduces them.
MAX_SIDE = 1280
# A face may be hidden or blurred for so long; its landmarks stay where they were.
_MAX_HIDDEN_S = 0.5
# Pictures and sounds; FFmpeg takes 32 bytes of memory for each that an MP4 file announces.
_MAX_MP4_SAMPLES = 1_000_000
_BATCH = 16
_READ = "MP4, MOV, WebM and MKV are read"

# Of faces, shape (b, image_size, image_size, 3).
ReadFaces: TypeAlias = "Callable[[NDArray[np.uint8]], Face]"


def container_of(file: bytes) -> str | None:
    """FFmpeg's name of a video's container by its first bytes, None if it is none that is read.

    Left to guess, FFmpeg would follow playlists to other files.
    """
    if file[4:8] == b"ftyp":
        return "mov"
    return "matroska" if file[:4] == b"\x1aE\xdf\xa3" else None


def clip_of_video(
    file: bytes, landmarker: FaceLandmarker, reader: FaceReader, read: ReadFaces, image_size: int
) -> MotionClip:
    """The motion of the largest face in a video. Blocking.

    Args:
        file: MP4, MOV, WebM or MKV.
        read: M.
        image_size: of the pictures that M reads.
    Raises:
        InvalidRequestError: in words, if it is no such file, damaged, too large, too long, or shows no face throughout.
        UnsupportedError: if nothing here decodes video.
    """
    video = Video(file)
    outlines = [reader.outline(image, points) for image, points in _followed(video, landmarker)]
    square = upright_square_around(outlines, DRIVING)
    # Decoded again: all pictures of a minute would be gigabytes.
    faces = (network_input(cut(image, square), image_size) for image in video.pictures())
    motions: list[Motion] = []
    while batch := list(islice(faces, _BATCH)):
        motions.append(read(np.stack(batch)).motion)
    arrays = {
        name: np.concatenate([getattr(motion, name).float().cpu().numpy() for motion in motions])
        for name in ("exp", "rotation", "scale", "t")
    }
    return checked_clip(video.rate_hz, arrays | {"scale": arrays["scale"].reshape(-1)})


def _followed(video: Video, landmarker: FaceLandmarker) -> Iterator[tuple[Image, Points]]:
    """Each picture with the landmarks of the face that is largest in the first one."""
    last: Points | None = None
    hidden = 0
    for index, image in enumerate(video.pictures()):
        points = None if last is None else landmarker.follow(image, last)
        if points is None:
            found = landmarker.find(image)
            points = found[0].points if found else None
        hidden = hidden + 1 if points is None else 0
        last = last if points is None else points
        if last is None:
            raise InvalidRequestError("the driving video begins without a face; cut it to where one is seen")
        if hidden > _MAX_HIDDEN_S * video.rate_hz:
            raise InvalidRequestError(
                f"the driving video shows no face at {index / video.rate_hz:.1f} s; one is to be seen throughout"
            )
        yield image, last


class Video:
    """A video's pictures at a steady rate, to be gone through any number of times."""

    def __init__(self, file: bytes) -> None:
        """Raises: InvalidRequestError; UnsupportedError."""
        name = container_of(file)
        if name is None:
            raise InvalidRequestError(f"this is no video in a known format; {_READ}")
        if len(file) > MAX_VIDEO_BYTES:
            raise InvalidRequestError(
                f"a driving video has at most 64 MiB, not {len(file) / 1024**2:.1f} MiB; make it shorter"
            )
        if name == "mov" and announced_samples(file) > _MAX_MP4_SAMPLES:
            raise InvalidRequestError(f"the video announces more than {_MAX_MP4_SAMPLES} samples; a minute has fewer")
        self._file, self._container = file, name
        with self._opened() as container:
            stream = container.streams.video[0]
            announced_hz, pixels = float(stream.guessed_rate or 0.0), stream.width * stream.height
        if pixels > MAX_PIXELS:
            raise InvalidRequestError(
                f"pictures of {stream.width} x {stream.height} are too large; {MAX_PIXELS} pixels at most are read"
            )
        self.rate_hz = min(announced_hz, _MAX_RATE_HZ) if announced_hz >= _LEAST_RATE_HZ else _USUAL_RATE_HZ

    @contextmanager
    def _opened(self) -> Iterator[InputContainer]:
        try:
            import av
        except ImportError as missing:
            raise UnsupportedError("driving videos are decoded by PyAV, which is not installed here") from missing
        try:
            # Names and comments in the file may be in any encoding; nobody reads them here.
            with av.open(io.BytesIO(self._file), "r", format=self._container, metadata_errors="replace") as container:
                if not container.streams.video:
                    raise InvalidRequestError(f"the file has no pictures in it; {_READ}")
                codec: VideoCodecContext | None = container.streams.video[0].codec_context
                if codec is None:
                    raise InvalidRequestError(f"the video's pictures are coded in a way that is not known; {_READ}")
                # Pictures may grow after the header.
                codec.options = {"max_pixels": str(MAX_PIXELS)}
                codec.thread_count = 1
                yield container
        except av.FFmpegError as error:
            raise InvalidRequestError(f"the driving video is damaged or cut off: {error.strerror}; {_READ}") from error

    def pictures(self) -> Iterator[Image]:
        """Upright, `MAX_SIDE` wide or high at most; those that come too soon are left out, gaps are filled.

        Raises: InvalidRequestError.
        """
        due, begin_s = 0, None
        with self._opened() as container:
            for frame in container.decode(container.streams.video[0]):
                time_s = frame.time if frame.time is not None else due / self.rate_hz
                begin_s = time_s if begin_s is None else begin_s
                place = round((time_s - begin_s) * self.rate_hz)
                if place >= MAX_VIDEO_S * self.rate_hz:
                    raise InvalidRequestError(
                        f"a driving video lasts at most {MAX_VIDEO_S:g} s, and this one is longer; cut it"
                    )
                if place >= due:
                    image = _upright(frame)
                    for _ in range(due, place + 1):
                        yield image
                    due = place + 1
        if not due:
            raise InvalidRequestError(f"the driving video holds no pictures; {_READ}")


def _upright(frame: VideoFrame) -> Image:
    shrink = min(MAX_SIDE / max(frame.width, frame.height), 1.0)
    size = (max(round(frame.width * shrink), 1), max(round(frame.height * shrink), 1))
    image = frame.reformat(*size, format="rgb24").to_ndarray()
    # Phones write pictures as their sensor lies, and by how much they are to be turned.
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)), np.uint8)
