"""Recordings in every container that is promised, whole, cut off and damaged; all made here."""

from __future__ import annotations

import io
import tracemalloc

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.audio import pcm16_of, wav_of
from services.common.errors import InvalidRequestError
from services.common.recording_file import MAX_RECORDING_BYTES, decode
from tests.fuzz import seeds

SECONDS = 3
RATE_HZ = 16_000
MAX_S = 3600.0
TONE_HZ = 440
# Container, codec, sample rate, layout of the channels.
KINDS = [
    ("wav", "pcm_s16le", 44_100, "stereo"),
    ("wav", "pcm_f32le", 96_000, "mono"),
    ("wav", "pcm_mulaw", 8_000, "mono"),
    ("flac", "flac", 48_000, "5.1"),
    ("mp3", "libmp3lame", 22_050, "stereo"),
    ("ogg", "libopus", 48_000, "stereo"),
    ("webm", "libopus", 48_000, "mono"),
    ("ipod", "aac", 44_100, "stereo"),
]
NAMES = [f"{container}-{codec}" for container, codec, _, _ in KINDS]


def encode(container: str, codec: str, rate_hz: int, layout: str) -> bytes:
    """A tone of 3 s in a file."""
    return seeds.recording(container, codec, rate_hz, layout, SECONDS)


@pytest.fixture(scope="module", params=KINDS, ids=NAMES)
def recording(request: pytest.FixtureRequest) -> bytes:
    return encode(*request.param)


def sound_of(recording: bytes) -> NDArray[np.float32]:
    return np.concatenate(list(decode(recording, RATE_HZ, MAX_S)))


def test_every_container_becomes_mono_at_16_khz(recording: bytes) -> None:
    sound = sound_of(recording)
    assert sound.dtype == np.float32
    assert len(sound) == pytest.approx(SECONDS * 16_000, abs=800)
    middle = sound[16_000:32_000]
    spectrum = np.abs(np.fft.rfft(middle))
    assert np.argmax(spectrum) == TONE_HZ
    # The spectrum of a tone at 0.3: nothing of note but the tone, and no channel lost.
    assert spectrum[TONE_HZ] / 8000 > 0.1
    assert np.delete(spectrum, range(TONE_HZ - 5, TONE_HZ + 6)).max() < spectrum[TONE_HZ] / 20


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[0] != "mp3"], ids=[n for n in NAMES if "mp3" not in n])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.8])
def test_a_recording_that_is_cut_off_is_refused_in_words(kind: tuple[str, str, int, str], part: float) -> None:
    whole = encode(*kind)
    with pytest.raises(InvalidRequestError, match="cut off"):
        sound_of(whole[: round(part * len(whole))])


def test_an_mp3_knows_no_length_so_what_there_is_is_taken() -> None:
    whole = encode("mp3", "libmp3lame", 22_050, "mono")
    assert 0.9 < len(sound_of(whole[: len(whole) // 2])) / 16_000 < 2


def test_a_wav_that_was_written_to_a_pipe_has_no_length_and_is_taken() -> None:
    recording = bytearray(wav_of(pcm16_of(np.zeros(16_000, np.float32)), 16_000))
    recording[4:8] = recording[40:44] = b"\xff" * 4
    assert len(sound_of(bytes(recording))) == 16_000


@pytest.mark.parametrize(
    ("why", "recording", "words"),
    [
        ("empty", b"", "the recording is empty"),
        ("text", b"Dear sir or madam", "not a recording in a known format"),
        ("a playlist that names another file", b"#EXTM3U\n/etc/hostname\n", "not a recording in a known format"),
        ("a header alone", wav_of(b"", 16_000), "no sound"),
        ("a header and garbage", b"fLaC" + bytes(1000), "damaged or cut off"),
        ("an M4A header and garbage", b"\0\0\0\x18ftypM4A " + b"x" * 1000, "damaged or cut off"),
        ("a WebM header and garbage", b"\x1aE\xdf\xa3" + b"x" * 1000, "damaged or cut off"),
    ],
)
def test_what_is_no_recording_is_refused_in_words(why: str, recording: bytes, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        list(decode(recording, RATE_HZ, MAX_S))


def test_a_film_without_sound_is_refused() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        file.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        file.mux(stream.encode(None))
    with pytest.raises(InvalidRequestError, match="no sound in it"):
        list(decode(out.getvalue(), RATE_HZ, MAX_S))


def test_a_recording_over_64_mib_is_refused_with_the_limit() -> None:
    with pytest.raises(InvalidRequestError, match=r"at most 64 MiB, not 64\.1 MiB"):
        next(decode(bytes(MAX_RECORDING_BYTES + 100_000), RATE_HZ, MAX_S))


def test_a_long_recording_is_decoded_in_bounded_memory() -> None:
    pcm = bytes(2 * 8_000 * 600)
    recording = wav_of(pcm, 8_000)
    tracemalloc.start()
    samples = sum(len(piece) for piece in decode(recording, RATE_HZ, MAX_S))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert samples == 16_000 * 600
    # One copy of the file and no more; the sound would be four times that.
    assert peak_bytes < 1.5 * len(recording)
