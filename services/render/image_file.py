"""Image files of strangers: looked at before they are decoded, then made upright RGB."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError

MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 50_000_000
# A header of more parts was made to keep its reader busy: a large PNG comes in some 2,500.
_MAX_PARTS = 50_000
# Each scan of a progressive JPEG goes through the whole picture again; encoders make some ten.
MAX_SCANS = 100
# What shows through transparent pixels.
_BACKGROUND = 200.0
# Rows that are converted at once: a whole picture at its limit would take 600 MB as floats.
_STRIP_ROWS = 256
# JPEG markers that begin a frame, and so carry the size.
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a file says about itself; `orientation` is EXIF's, 1 to 8."""

    kind: Literal["JPEG", "PNG", "WebP"]
    width: int
    height: int
    orientation: int = 1


def _broken(kind: str) -> InvalidRequestError:
    return InvalidRequestError(f"the {kind} file is damaged or cut off; send the whole file")


def _exif_orientation(tiff: bytes) -> int:
    """The orientation of an EXIF block, 1 if it has none or is not understood."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    (at,) = struct.unpack_from(order + "I", tiff, 4)
    if at + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(order + "H", tiff, at)
    for entry in range(at + 2, min(at + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", tiff, entry)
        if tag == 0x0112 and kind == 3:
            (value,) = struct.unpack_from(order + "H", tiff, entry + 8)
            return int(value) if 1 <= value <= 8 else 1
    return 1


def _jpeg(data: bytes) -> ImageHeader:
    at, orientation = 2, 1
    size: tuple[int, int] | None = None
    for _ in range(_MAX_PARTS):
        if at + 4 > len(data) or data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _JPEG_FRAMES and at + 9 <= len(data):
            height, width = struct.unpack_from(">HH", data, at + 5)
            size = (width, height)
        elif marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _exif_orientation(data[at + 10 : at + 2 + length])
        elif marker == 0xDA:
            # The decoder would fill a file that was cut off with grey.
            if size is None or data.rfind(b"\xff\xd9") < at:
                break
            scans = data.count(b"\xff\xda", at)
            if scans > MAX_SCANS:
                raise InvalidRequestError(f"the JPEG file has {scans} scans; send one with at most {MAX_SCANS}")
            return ImageHeader("JPEG", *size, orientation)
        at += 2 + length
    raise _broken("JPEG")


def _png(data: bytes) -> ImageHeader:
    at, orientation = 8, 1
    size: tuple[int, int] | None = None
    for _ in range(_MAX_PARTS):
        if at + 12 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        # The decoder would make room for whatever a chunk announces.
        if length > len(data) - at - 12:
            break
        if kind == b"IHDR" and length >= 8 and size is None:
            size = struct.unpack_from(">II", data, at + 8)
        elif kind == b"eXIf":
            orientation = _exif_orientation(data[at + 8 : at + 8 + length])
        elif kind == b"IEND" and size is not None:
            return ImageHeader("PNG", *size, orientation)
        at += 12 + length
    raise _broken("PNG")


def _webp(data: bytes) -> ImageHeader:
    if len(data) < 30 or struct.unpack_from("<I", data, 4)[0] + 8 > len(data):
        raise _broken("WebP")
    at, orientation = 12, 1
    size: tuple[int, int] | None = None
    for _ in range(_MAX_PARTS):
        if at + 8 > len(data):
            break
        kind, length = struct.unpack_from("<4sI", data, at)
        if length > len(data) - at - 8:
            raise _broken("WebP")
        body = data[at + 8 : at + 8 + length]
        if kind == b"VP8X" and len(body) >= 10:
            size = (int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1)
        elif kind == b"VP8 " and size is None and len(body) >= 10:
            width, height = struct.unpack_from("<HH", body, 6)
            size = (width & 0x3FFF, height & 0x3FFF)
        elif kind == b"VP8L" and size is None and len(body) >= 5:
            bits = int.from_bytes(body[1:5], "little")
            size = ((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1)
        elif kind == b"EXIF":
            orientation = _exif_orientation(body.removeprefix(b"Exif\0\0"))
        at += 8 + length + length % 2
    if size is None:
        raise _broken("WebP")
    return ImageHeader("WebP", *size, orientation)


def read_header(data: bytes) -> ImageHeader:
    """What a file says about itself, without decoding it.

    Raises: InvalidRequestError if it is too large, cut off, or neither JPEG nor PNG nor WebP.
    """
    if not data:
        raise InvalidRequestError("the portrait is empty; send a JPEG, PNG or WebP file")
    if len(data) > MAX_BYTES:
        raise InvalidRequestError(
            f"the portrait has {len(data) / 2**20:.1f} MiB; send at most {MAX_BYTES // 2**20} MiB"
        )
    kind: Literal["JPEG", "PNG", "WebP"]
    if data[:3] == b"\xff\xd8\xff":
        kind, read = "JPEG", _jpeg
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        kind, read = "PNG", _png
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind, read = "WebP", _webp
    else:
        raise InvalidRequestError("the portrait is not a picture that is known here; send a JPEG, PNG or WebP file")
    try:
        header = read(data)
    except struct.error as error:
        raise _broken(kind) from error
    if header.width < 1 or header.height < 1:
        raise _broken(header.kind)
    if header.width * header.height > MAX_PIXELS:
        raise InvalidRequestError(
            f"the portrait has {header.width} x {header.height} pixels; send at most {MAX_PIXELS // 10**6} megapixels"
        )
    return header


def _upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _rgb_of(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Rows as OpenCV decodes them (grey, grey and alpha, BGR or BGRA; 8 or 16 bits) as RGB over the background."""
    if image.dtype != np.uint8:
        image = image >> 8
    if image.shape[2] in (2, 4):
        alpha = image[..., -1:].astype(np.float32) / 255.0
        image = np.rint(image[..., :-1] * alpha + _BACKGROUND * (1.0 - alpha))
    return np.asarray(image[..., ::-1], np.uint8)


def decode(data: bytes) -> NDArray[np.uint8]:
    """An image file as RGB, shape (height, width, 3), turned as its EXIF data says, over grey where it is transparent.

    Raises: InvalidRequestError if the file is not one that `read_header` takes, or cannot be decoded.
    """
    header = read_header(data)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION if header.kind == "JPEG" else cv2.IMREAD_UNCHANGED
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise _broken(header.kind) from error
    if image is None:
        raise _broken(header.kind)
    if image.ndim == 2:
        image = image[..., None]
    rgb = np.empty((*image.shape[:2], 3), np.uint8)
    for top in range(0, image.shape[0], _STRIP_ROWS):
        rgb[top : top + _STRIP_ROWS] = _rgb_of(image[top : top + _STRIP_ROWS])
    return _upright(rgb, header.orientation)
