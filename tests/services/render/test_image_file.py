"""Files of strangers are judged before they are decoded."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError
from services.render.image_file import MAX_BYTES, MAX_SCANS, decode, read_header

Image = NDArray[np.uint8]


@pytest.fixture
def picture() -> Image:
    """Red to the right, green downwards, and not square."""
    y, x = np.mgrid[0:60, 0:80]
    return np.dstack([x * 3, y * 4, np.full_like(x, 30)]).astype(np.uint8)


def coded(image: Image, extension: str) -> bytes:
    order = [2, 1, 0, 3][: image.shape[2]] if image.ndim == 3 else slice(None)
    lossless = [cv2.IMWRITE_WEBP_QUALITY, 101] if extension == ".webp" else []
    done, data = cv2.imencode(extension, image[..., order] if image.ndim == 3 else image, lossless)
    assert done
    return bytes(data.data)


def png_of_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def exif(orientation: int) -> bytes:
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)


def jpeg_with_exif(data: bytes, orientation: int) -> bytes:
    body = b"Exif\0\0" + exif(orientation)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
def test_the_three_kinds_are_read_as_rgb(picture: Image, extension: str) -> None:
    data = coded(picture, extension)
    header = read_header(data)
    assert (header.width, header.height) == (80, 60)
    assert np.abs(decode(data).astype(int) - picture).mean() < 4


def test_transparency_shows_grey_and_grey_pictures_have_three_channels(picture: Image) -> None:
    half = np.dstack([picture, np.zeros((60, 80, 1), np.uint8)])
    half[:, :40, 3] = 255
    seen = decode(coded(half, ".png"))
    np.testing.assert_array_equal(seen[:, :40], picture[:, :40])
    assert (seen[:, 40:] == 200).all()
    assert decode(coded(picture[..., 0], ".png")).shape == (60, 80, 3)
    deep = coded((picture[..., 0].astype(np.uint16) * 256), ".png")  # type: ignore[arg-type]
    np.testing.assert_array_equal(decode(deep)[..., 0], picture[..., 0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_camera_is_honoured(picture: Image, orientation: int) -> None:
    stored = {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.swapaxes(0, 1),
        6: np.rot90(picture),
        7: picture[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(picture, -1),
    }[orientation]
    data = jpeg_with_exif(coded(np.ascontiguousarray(stored), ".jpg"), orientation)
    assert np.abs(decode(data).astype(int) - picture).mean() < 4


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.95])
def test_a_file_that_was_cut_off_is_refused(picture: Image, extension: str, kept: float) -> None:
    data = coded(picture, extension)
    with pytest.raises(InvalidRequestError, match=r"cut off|not a picture"):
        decode(data[: int(len(data) * kept)])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"GIF89a" + bytes(50), "JPEG, PNG or WebP"),
        (b"%PDF-1.7", "JPEG, PNG or WebP"),
        (b"\xff\xd8\xff" + bytes(MAX_BYTES), "at most 20 MiB"),
        (png_of_size(30_000, 30_000), "at most 50 megapixels"),
        (png_of_size(0, 10), "damaged"),
        (png_of_size(100, 100), "damaged"),
    ],
)
def test_what_is_no_portrait_is_refused_in_words(data: bytes, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        decode(data)


def test_random_damage_never_gets_past_as_another_error(picture: Image) -> None:
    rng = np.random.default_rng(0)
    for extension in (".jpg", ".png", ".webp"):
        data = coded(picture, extension)
        for _ in range(150):
            broken = bytearray(data)
            for at in rng.integers(0, len(data), 4):
                broken[at] = rng.integers(0, 256)
            try:
                image = decode(bytes(broken))
            except InvalidRequestError:
                continue
            assert image.dtype == np.uint8
            assert image.shape[2] == 3


def test_a_chunk_that_announces_more_than_there_is_is_refused_before_room_is_made_for_it() -> None:
    whole = png_of_size(64, 48)
    # Fuzzing found this: the decoder took 2 GB for the last chunk of a file of 215 bytes.
    announcing = whole[:-12] + struct.pack(">I", 2**31) + whole[-8:]
    with pytest.raises(InvalidRequestError, match="damaged or cut off"):
        decode(announcing)


@pytest.mark.parametrize("length", range(8, 45))
def test_a_png_of_any_few_bytes_is_refused_in_words(length: int) -> None:
    with pytest.raises(InvalidRequestError, match="damaged or cut off"):
        read_header(png_of_size(64, 48)[:length] + b"IEND"[: 45 - length])


def test_a_jpeg_of_many_scans_is_refused_with_the_limit(picture: Image) -> None:
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert done
    whole = data.tobytes()
    assert decode(whole).shape == picture.shape
    last = whole.rfind(b"\xff\xda")
    with pytest.raises(InvalidRequestError, match=f"scans; send one with at most {MAX_SCANS}"):
        decode(whole[:last] + whole[last:-2] * MAX_SCANS + whole[-2:])


def test_a_header_of_very_many_parts_is_refused() -> None:
    whole = png_of_size(64, 48)
    part = struct.pack(">I4sI", 0, b"teSt", zlib.crc32(b"teSt"))
    with pytest.raises(InvalidRequestError, match="damaged or cut off"):
        read_header(whole[:33] + part * 100_000 + whole[33:])


def test_a_large_picture_takes_its_own_size_and_a_little() -> None:
    y, x = np.mgrid[0:1500, 0:2000]
    deep = np.dstack([x, y, x + y, 65_535 - x]).astype(np.uint16)
    done, data = cv2.imencode(".png", deep)
    assert done
    file = data.tobytes()
    tracemalloc.start()
    decode(file)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # What the decoder gives (16 bits, 4 channels), what is made of it (8 bits, 3 channels), and a strip of floats.
    assert peak_bytes < 1.2 * (deep.nbytes + deep.nbytes * 3 / 8) + 16 * 2**20
