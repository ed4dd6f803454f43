"""Frames as the wire carries them."""

from __future__ import annotations

import cv2

from services.common.errors import EngineError
from services.render.engine import FrameRgb, VideoCodec

JPEG_QUALITY = 90


def encode(frame_rgb: FrameRgb, codec: VideoCodec) -> bytes:
    """One frame as bytes.

    Args: frame_rgb: shape (height, width, 3); height and width even for I420.
    Returns: I420 (planar 4:2:0, limited range, BT.601), height * width * 3 / 2 bytes, or a JPEG file.
    """
    if codec is VideoCodec.I420:
        return bytes(cv2.cvtColor(frame_rgb, cv2.COLOR_RGB2YUV_I420).data)
    return jpeg_of(frame_rgb)


def jpeg_of(frame_rgb: FrameRgb, quality: int = JPEG_QUALITY) -> bytes:
    """A JPEG file. Args: quality: 1 to 100."""
    done, data = cv2.imencode(".jpg", frame_rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise EngineError("the frame could not be written as JPEG")
    return bytes(data.data)
