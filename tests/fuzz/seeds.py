"""Small valid files of every kind that strangers may send; all made here."""

from __future__ import annotations

import io
import struct

import av
import cv2
import numpy as np
from av.audio import AudioStream
from numpy.typing import NDArray

from services.common.audio import pcm16_of
from tests.fakes.motion import motion_clip, template_file
from tests.fakes.recordings import speech_like
from tests.fakes.videos import encoded as encoded_video

# FFmpeg's name of the container, codec, sample rate, layout of the channels.
RECORDINGS = (
    ("wav", "pcm_s16le", 16_000, "mono"),
    ("wav", "pcm_f32le", 96_000, "stereo"),
    ("wav", "adpcm_ima_wav", 22_050, "stereo"),
    ("flac", "flac", 48_000, "5.1"),
    ("mp3", "libmp3lame", 22_050, "stereo"),
    ("ogg", "libopus", 48_000, "stereo"),
    ("webm", "libopus", 48_000, "mono"),
    ("matroska", "pcm_s16le", 8_000, "mono"),
    ("ipod", "aac", 44_100, "stereo"),
    ("ipod", "alac", 44_100, "mono"),
)


def recording(container: str, codec: str, rate_hz: int, layout: str, seconds: float = 0.15) -> bytes:
    """A tone in a file."""
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * 16_000)) / 16_000)
    samples = np.frombuffer(pcm16_of(tone.astype(np.float32)), np.int16)
    return _encoded(samples, 16_000, container, codec, rate_hz, layout)


def _encoded(samples: NDArray[np.int16], from_hz: int, container: str, codec: str, rate_hz: int, layout: str) -> bytes:
    """Mono samples in a file of another rate and layout."""
    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate = from_hz
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate_hz, layout=layout)
        assert isinstance(stream, AudioStream)
        resampler = av.AudioResampler(
            format=stream.format, layout=layout, rate=rate_hz, frame_size=stream.codec_context.frame_size or 0
        )
        for resampled in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(resampled))
        file.mux(stream.encode(None))
    return out.getvalue()


def recordings() -> list[bytes]:
    return [recording(*kind) for kind in RECORDINGS]


def voices() -> list[bytes]:
    """Recordings of which voices can be made."""
    samples = np.frombuffer(pcm16_of(speech_like(3.1)[::3]), np.int16)
    kinds = (("wav", "pcm_mulaw"), ("flac", "flac"), ("mp3", "libmp3lame"))
    return [_encoded(samples, 8_000, container, codec, 8_000, "mono") for container, codec in kinds]


def exif(orientation: int) -> bytes:
    """An EXIF block that says how a picture is turned."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)


def with_exif(jpeg: bytes, orientation: int) -> bytes:
    block = exif(orientation)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


def drawing(channels: int = 3, depth: type[np.unsignedinteger] = np.uint8) -> np.ndarray:
    """A smooth picture, 64 x 48."""
    y, x = np.mgrid[0:48, 0:64]
    planes = [x * 4, y * 5, (x + y) * 2, 255 - x * 3][:channels]
    return (np.stack(planes, -1) * (np.iinfo(depth).max // 255)).astype(depth).squeeze()


def encoded(extension: str, image: np.ndarray, *options: int) -> bytes:
    done, data = cv2.imencode(extension, image, list(options))
    assert done
    return data.tobytes()


def pictures() -> list[bytes]:
    jpeg = encoded(".jpg", drawing())
    return [
        jpeg,
        with_exif(jpeg, 6),
        encoded(".jpg", drawing(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encoded(".jpg", drawing(), cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        encoded(".jpg", drawing(1)),
        encoded(".png", drawing()),
        encoded(".png", drawing(4)),
        encoded(".png", drawing(1)),
        encoded(".png", drawing(3, np.uint16)),
        encoded(".png", drawing(4, np.uint16)),
        encoded(".webp", drawing(), cv2.IMWRITE_WEBP_QUALITY, 80),
        encoded(".webp", drawing(4), cv2.IMWRITE_WEBP_QUALITY, 101),
        encoded(".webp", drawing(4), cv2.IMWRITE_WEBP_QUALITY, 60),
    ]


def form(boundary: str, *parts: tuple[str, bytes]) -> bytes:
    """A form with its content type on a line before it. Args: parts: the headers of each, and its content."""
    lines = [f'multipart/form-data; boundary="{boundary}"\n'.encode()]
    for headers, content in parts:
        lines.append(b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary.encode(), headers.encode(), content))
    return b"".join([*lines, f"--{boundary}--\r\n".encode()])


def forms() -> list[bytes]:
    text = 'Content-Disposition: form-data; name="text"'
    file = 'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav'
    return [
        form("x", (text, b"hello")),
        form(
            "----WebKitFormBoundaryABCDEFGH", (text, "gr\u00fc\u00df".encode()), (file, recording(*RECORDINGS[0])[:500])
        ),
        form("'()+_,-./:=?", (file, b""), (text, b"--x\r\n--"), (text, b"again")),
        form("b", *[(f'Content-Disposition: form-data; name="n{number}"', b"1") for number in range(20)]),
        form("q", ('Content-Disposition: form-data; name="a\\"b"; filename="..\\..\\c"', b"z" * 2000)),
        b"application/json\n{}",
    ]


def motions() -> list[bytes]:
    return [motion_clip(count).to_file() for count in (2, 5)]


def templates() -> list[bytes]:
    """Official ones, of either kind and by every protocol of Python 3."""
    kinds: tuple[dict[str, bool], ...] = ({}, {"is_old": True}, {"has_ratios": False})
    return [template_file(motion_clip(2), protocol, **kind) for protocol in (3, 4, 5) for kind in kinds]


def videos() -> list[bytes]:
    """Of a few small pictures, in every container that is read."""
    pictures = [np.full((32, 48, 3), 40 * index, np.uint8) for index in range(4)]
    kinds = (("mp4", "libx264"), ("mov", "mpeg4"), ("webm", "libvpx"), ("matroska", "libx264"))
    return [encoded_video(pictures, 25, container, codec) for container, codec in kinds]
