"""What holds for every file, form and sentence, and not only for those that somebody thought of."""

from __future__ import annotations

import io
import wave

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError
from services.common.mp4 import announced_samples
from services.common.multipart_form import Upload, read_form
from services.common.recording_file import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ
from services.common.recording_file import decode as decode_recording
from services.common.status import status_of
from services.render.image_file import decode as decode_picture
from services.render.image_file import read_header
from tests.fuzz.seeds import encoded, form, with_exif

# One header for each response, in which a byte may take three.
HEADER_BYTES = 8 * 1024


@st.composite
def pictures(draw: st.DrawFn) -> NDArray[np.uint8]:
    """Coarse ones, which JPEG keeps."""
    small = draw(st.binary(min_size=2 * 3 * 3, max_size=2 * 3 * 3))
    coarse = np.frombuffer(small, np.uint8).reshape(2, 3, 3)
    size = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Source: EXIF 2.32, tag 274: where row 0 and column 0 of what is stored are when it is seen."""
    match orientation:
        case 2:
            return image[:, ::-1]
        case 3:
            return image[::-1, ::-1]
        case 4:
            return image[::-1]
        case 5:
            return image.transpose(1, 0, 2)
        case 6:
            return np.rot90(image, -1)
        case 7:
            return image[::-1, ::-1].transpose(1, 0, 2)
        case 8:
            return np.rot90(image)
        case _:
            return image


@given(pictures(), st.sampled_from([".png", ".webp"]))
@settings(deadline=None)
def test_a_picture_without_loss_comes_back_as_it_was(image: NDArray[np.uint8], kind: str) -> None:
    file = encoded(kind, image[..., ::-1], *([cv2.IMWRITE_WEBP_QUALITY, 101] if kind == ".webp" else []))
    header = read_header(file)
    assert (header.width, header.height) == image.shape[1::-1]
    np.testing.assert_array_equal(decode_picture(file), image)


@given(pictures(), st.integers(0, 9))
@settings(deadline=None)
def test_a_jpeg_is_turned_as_its_exif_says(image: NDArray[np.uint8], orientation: int) -> None:
    plain = encoded(".jpg", image[..., ::-1])
    turned = decode_picture(with_exif(plain, orientation))
    np.testing.assert_array_equal(turned, upright(decode_picture(plain), orientation))


@given(st.integers(MIN_RATE_HZ, MAX_RATE_HZ), st.integers(1, MAX_CHANNELS), st.integers(1, 4), st.integers(100, 4000))
@settings(deadline=None)
def test_a_wav_of_any_rate_and_width_keeps_its_length(rate_hz: int, channels: int, width: int, frames: int) -> None:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((channels, width, rate_hz, frames, "NONE", ""))
        file.writeframes(bytes(frames * channels * width))
    assume(frames / rate_hz > 0.002)
    samples = sum(len(piece) for piece in decode_recording(out.getvalue(), 16_000, 60.0))
    assert samples == pytest.approx(frames * 16_000 / rate_hz, abs=20)


NAMES = st.text(
    st.characters(codec="ascii", exclude_characters='"\\\r\n', exclude_categories=["Cc"]), min_size=1, max_size=20
)
BOUNDARIES = st.text("abcXYZ019'()+_,-./:=?", min_size=1, max_size=70)


# The tables of Unicode are built by the first draw, which a busy machine takes a second for.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(BOUNDARIES, st.dictionaries(NAMES, st.text(max_size=50) | st.binary(max_size=300), max_size=8))
def test_a_form_comes_back_as_it_was(boundary: str, fields: dict[str, str | bytes]) -> None:
    contents = [value.encode() if isinstance(value, str) else value for value in fields.values()]
    assume(not any(f"--{boundary}".encode() in content for content in contents))
    parts = []
    for (name, value), content in zip(fields.items(), contents, strict=True):
        file = "" if isinstance(value, str) else '; filename="f"'
        parts.append((f'Content-Disposition: form-data; name="{name}"{file}', content))
    content_type, _, body = form(boundary, *parts).partition(b"\n")
    read = read_form(content_type.decode(), body)
    assert {name: value.content if isinstance(value, Upload) else value for name, value in read.items()} == fields


@given(st.text(max_size=4000))
def test_a_sentence_fits_into_a_header_whatever_is_in_it(words: str) -> None:
    status = status_of(InvalidRequestError(words))
    kept = status.message
    assert words.startswith(kept.removesuffix("…")) or kept == words
    assert 3 * len(kept.encode()) + 4 * status.ByteSize() // 3 < HEADER_BYTES


@given(st.lists(st.sampled_from([b"moov", b"trak", b"stbl", b"stsz", b"trun", bytes(4), b"\0\0\0\x08", b"\0\0\0\x01"])))
def test_no_order_of_boxes_keeps_their_reader(pieces: list[bytes]) -> None:
    assert announced_samples(b"".join(pieces)) >= 0
