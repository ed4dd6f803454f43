"""H.264 for a live face: the bitrate changes without a restart, key frames come on request."""

from __future__ import annotations

import time
from fractions import Fraction

import av
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

VIDEO_CLOCK_HZ = 90_000
# From the best picture for its bits to the cheapest.
PRESETS = ("veryfast", "superfast", "ultrafast")
# Share of a frame interval that encoding may take of one core.
_BUDGET_SHARE = 0.06
_CALIBRATION_FRAMES = 12
MAX_BITRATE = 1_500_000
MIN_BITRATE = 200_000


class VideoEncoder:
    """Encodes I420 frames of one size, in order. Not for use from two threads at once."""

    def __init__(self, size: int, frame_rate_hz: int, preset: str, bitrate: int = MAX_BITRATE) -> None:
        """Args: size: edge of the square picture in pixels; bitrate: in bits per second."""
        self._size = size
        self._codec = av.CodecContext.create("libx264", "w")
        self._codec.width = self._codec.height = size
        self._codec.pix_fmt = "yuv420p"
        self._codec.framerate = Fraction(frame_rate_hz)
        self._codec.time_base = Fraction(1, VIDEO_CLOCK_HZ)
        self._codec.bit_rate = bitrate
        # More threads would add latency and buy nothing at this size.
        self._codec.thread_count = 1
        self._codec.profile = "Baseline"
        self._codec.options = {
            "preset": preset,
            "tune": "zerolatency",
            "level": "31",
            "forced-idr": "1",
            # Key frames come when a receiver asks for one; a periodic one would only be a burst of bytes.
            "x264-params": "keyint=infinite:scenecut=0",
            "maxrate": str(bitrate),
            "bufsize": str(bitrate // 2),
        }

    def set_bitrate(self, bitrate: int) -> None:
        """Aim at another bitrate, in bits per second, from the next frame on."""
        self._codec.bit_rate = min(max(bitrate, MIN_BITRATE), MAX_BITRATE)

    def encode(self, i420: bytes, pts: int, *, key_frame: bool) -> av.Packet[av.VideoStream]:
        """One frame in, its packet out.

        Args:
            i420: size * size * 3 / 2 bytes.
            pts: in 1/90000 s; rises.
            key_frame: make it decodable on its own.
        """
        planes: NDArray[np.uint8] = np.frombuffer(i420, np.uint8).reshape(self._size * 3 // 2, self._size)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = pts
        frame.time_base = Fraction(1, VIDEO_CLOCK_HZ)
        frame.pict_type = PictureType.I if key_frame else PictureType.NONE
        (packet,) = self._codec.encode(frame)
        packet.time_base = Fraction(1, VIDEO_CLOCK_HZ)
        return packet


def choose_preset(size: int, frame_rate_hz: int) -> tuple[str, dict[str, float]]:
    """Measure each preset on a moving picture and take the best that this machine can afford.

    Returns: the preset, and the median CPU time of a frame for each that was tried, in ms.
    """
    budget_ms = _BUDGET_SHARE * 1000 / frame_rate_hz
    measured: dict[str, float] = {}
    for preset in PRESETS:
        encoder = VideoEncoder(size, frame_rate_hz, preset)
        times_ms = []
        for index, picture in enumerate(_moving_pictures(size)):
            start_s = time.thread_time()
            encoder.encode(picture, index * VIDEO_CLOCK_HZ // frame_rate_hz, key_frame=False)
            times_ms.append((time.thread_time() - start_s) * 1000)
        # The first frame is a key frame and sets up the context.
        measured[preset] = float(np.median(times_ms[1:]))
        if measured[preset] <= budget_ms:
            return preset, measured
    return PRESETS[-1], measured


def _moving_pictures(size: int) -> list[bytes]:
    """Smooth blobs that sway by a few pixels, as a face does, with the grain of a photograph."""
    rng = np.random.default_rng(0)
    grain = rng.normal(0, 6, (size, size))
    y, x = np.mgrid[0:size, 0:size] / size
    pictures = []
    for index in range(_CALIBRATION_FRAMES):
        shift = 0.01 * np.sin(index / 3)
        luma = 128 + 60 * np.sin(9 * (x + shift)) * np.cos(7 * (y - shift)) + grain
        planes = np.full((size * 3 // 2, size), 128, np.uint8)
        planes[:size] = np.clip(luma, 16, 235)
        pictures.append(planes.tobytes())
    return pictures
