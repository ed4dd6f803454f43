"""The tables of MP4 files say how much memory FFmpeg would take; they are read first."""

from __future__ import annotations

import io
import struct

import av
import numpy as np
import pytest
from av.audio import AudioStream

from services.common.errors import InvalidRequestError
from services.common.mp4 import announced_samples
from services.common.recording_file import decode

MANY = 50_000_000


def m4a(codec: str = "aac", container: str = "ipod", **options: str) -> bytes:
    """A second of silence."""
    out = io.BytesIO()
    with av.open(out, "w", format=container, options=options) as file:
        stream = file.add_stream(codec, rate=44_100, layout="mono")
        assert isinstance(stream, AudioStream)
        silence = np.zeros((1, 44_100), np.int16)
        frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
        frame.sample_rate = 44_100
        resampler = av.AudioResampler(stream.format, stream.layout, stream.rate)
        for resampled in resampler.resample(frame):
            file.mux(stream.encode(resampled))
        file.mux(stream.encode(None))
    return out.getvalue()


def patched(data: bytes, kind: bytes, offset: int, *numbers: int) -> bytes:
    """Args: offset: from the box's content."""
    at = data.index(kind) + 4 + offset
    return data[:at] + struct.pack(f">{len(numbers)}I", *numbers) + data[at + 4 * len(numbers) :]


def test_a_whole_file_and_a_fragmented_one_say_how_many_packets_they_have() -> None:
    for file in (m4a(), m4a(container="mp4", movflags="frag_keyframe+empty_moov")):
        assert 43 <= announced_samples(file) <= 46
        assert sum(map(len, decode(file, 16_000, 60.0))) >= 16_000


def test_uncompressed_sound_is_taken_by_the_chunk_and_may_have_any_number() -> None:
    file = m4a("pcm_s16le", "mov")
    assert announced_samples(file) == 0
    assert sum(map(len, decode(file, 16_000, 60.0))) == 16_000


@pytest.mark.parametrize(
    "file",
    [
        patched(m4a(), b"stsz", 4, 1, MANY),
        patched(m4a(container="mp4", movflags="frag_keyframe+empty_moov"), b"trun", 0, 0, MANY),
    ],
    ids=["stsz", "trun"],
)
def test_a_table_of_millions_is_refused_before_room_is_made_for_it(file: bytes) -> None:
    assert announced_samples(file) >= MANY
    with pytest.raises(InvalidRequestError, match="announces more than 4000000 samples"):
        next(decode(file, 16_000, 60.0))


@pytest.mark.parametrize(
    "data", [b"", b"moov", bytes(4) + b"moov", struct.pack(">I4sQ", 1, b"free", 0), b"\0\0\0\x08moov" * 99]
)
def test_what_is_no_table_announces_nothing(data: bytes) -> None:
    assert announced_samples(data) == 0
