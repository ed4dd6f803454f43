"""Files that were made to hurt: small to send, large to read; and some that are merely wrong."""

from __future__ import annotations

import io
import struct
import zlib
from fractions import Fraction

import av
import cv2
import numpy as np
from av.audio import AudioStream
from numpy.typing import NDArray

_OPUS_RATE_HZ = 48_000
# One mono packet of six empty frames of 20 ms.
_OPUS_SILENCE, _OPUS_PACKET = b"\xfb\x06", 5_760


def png(width: int, height: int, chunks: tuple[bytes, ...] = ()) -> bytes:
    """A black PNG of one bit per pixel."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    rows = b"".join(packer.compress(row * 100) for _ in range(height // 100))
    rows += packer.compress(row * (height % 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *(chunk(kind, b"") for kind in chunks), chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg(image: NDArray[np.uint8], *options: int) -> bytes:
    done, data = cv2.imencode(".jpg", image[..., ::-1], list(options))
    assert done
    return bytes(data)


def jpeg_of_many_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again; each goes through the whole picture."""
    whole = jpeg(np.full((512, 512, 3), 128, np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    last = whole.rfind(b"\xff\xda")
    return whole[:last] + whole[last:-2] * count + b"\xff\xd9"


def silent_opus(seconds: int) -> bytes:
    """An Ogg file that says nothing for a long time, in two bytes for each eighth of a second."""
    out = io.BytesIO()
    with av.open(out, "w", format="ogg") as file:
        stream = file.add_stream("libopus", rate=_OPUS_RATE_HZ, layout="mono")
        assert isinstance(stream, AudioStream)
        file.start_encoding()
        for number in range(seconds * _OPUS_RATE_HZ // _OPUS_PACKET):
            packet = av.Packet(_OPUS_SILENCE)
            packet.stream = stream
            packet.pts = packet.dts = number * _OPUS_PACKET
            packet.duration = _OPUS_PACKET
            packet.time_base = Fraction(1, _OPUS_RATE_HZ)
            file.mux(packet)
    return out.getvalue()


def wav(rate_hz: int, data: bytes, announced_bytes: int | None = None, channels: int = 1) -> bytes:
    """A WAV file of 8 bits. Args: announced_bytes: what its header says of its size, where that is not true."""
    size = len(data) if announced_bytes is None else announced_bytes
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * channels, channels, 8)
    return (
        b"RIFF" + struct.pack("<I", min(36 + size, 0xFFFFFFFF)) + b"WAVEfmt " + struct.pack("<I", len(form)) + form
        + b"data" + struct.pack("<I", size) + data
    )  # fmt: skip


def m4a_of_samples(count: int) -> bytes:
    """An M4A file whose table says that it has so many samples of a byte each; there is nothing else in it."""

    def box(kind: bytes, *content: bytes) -> bytes:
        body = b"".join(content)
        return struct.pack(">I4s", 8 + len(body), kind) + body

    sizes = box(b"stsz", struct.pack(">III", 0, 1, count))
    tables = box(b"stbl", box(b"stts", struct.pack(">IIII", 0, 1, count, 1024)), sizes)
    return box(b"ftyp", b"M4A ", bytes(4)) + box(b"moov", box(b"trak", box(b"mdia", box(b"minf", tables))))


def beside(*images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures side by side on grey."""
    height = max(image.shape[0] for image in images)
    padded = [np.pad(image, ((0, height - image.shape[0]), (20, 20), (0, 0)), constant_values=128) for image in images]
    return np.concatenate(padded, axis=1)


def shrunk(image: NDArray[np.uint8], edge: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, (edge, edge), interpolation=cv2.INTER_AREA), np.uint8)
