"""Driving videos, made here of one picture that moves."""

from __future__ import annotations

import io
from collections.abc import Iterable
from fractions import Fraction

import av
import cv2
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def encoded(
    pictures: Iterable[Image],
    rate_hz: int = 25,
    container: str = "mp4",
    codec: str = "libx264",
    times_s: Iterable[float] | None = None,
) -> bytes:
    """A video. Args: pictures: of one even size, RGB; times_s: when each is shown, instead of steadily."""
    out = io.BytesIO()
    shown = None if times_s is None else iter(times_s)
    with av.open(out, "w", format=container) as file:
        stream: VideoStream | None = None
        for index, picture in enumerate(pictures):
            if stream is None:
                added = file.add_stream(codec, rate=rate_hz)
                assert isinstance(added, VideoStream)
                stream = added
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = Fraction(1, 1000)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.time_base = Fraction(1, 1000)
            frame.pts = round(1000 * (index / rate_hz if shown is None else next(shown)))
            file.mux(stream.encode(frame))
        if stream is not None:
            file.mux(stream.encode(None))
    return out.getvalue()


def moved(picture: Image, *, right: float = 0.0, roll: float = 0.0, edge: int = 360) -> Image:
    """A picture, reduced and moved. Args: right: in its own pixels; roll: degrees, clockwise for the viewer."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -roll, edge / height)
    matrix[:, 2] += [edge / 2 - width / 2 + right * edge / height, edge / 2 - height / 2]
    return np.asarray(cv2.warpAffine(picture, matrix, (edge, edge), borderMode=cv2.BORDER_REPLICATE), np.uint8)
