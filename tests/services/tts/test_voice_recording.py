"""What a recording must be for a voice to be made of it, each fault by its own sentence."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio import AudioStream
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from services.common.audio import pcm16_of
from services.common.errors import InvalidRequestError
from services.tts.voice_recording import MAX_FILE_BYTES, MAX_S, MIN_S, MIN_SPEECH_S, Quality, listen, read, trimmed
from tests.fakes.recordings import RATE_HZ, speech_like, wav
from tests.fuzz import seeds
from tests.fuzz.parsers import SHORTEST_SENTENCE

Samples = NDArray[np.float32]
TIME_S = np.arange(8 * RATE_HZ) / RATE_HZ
NOISE = np.random.default_rng(2).normal(0, 1, len(TIME_S))


def heard(samples: NDArray[np.floating]) -> Quality:
    return listen(samples.astype(np.float32), RATE_HZ)


def test_clean_speech_is_taken_without_a_warning() -> None:
    quality = heard(speech_like(10, peak=0.3))
    assert quality.warnings == ()
    assert quality.duration_s == 10
    assert 6 < quality.speech_s < 8
    assert -25 < quality.speech_level_db < -10
    assert quality.signal_to_noise_db > 35


@pytest.mark.parametrize("pitch_hz", [80, 130, 220, 350])
def test_low_and_high_voices_are_speech(pitch_hz: float) -> None:
    assert heard(speech_like(8, pitch_hz=pitch_hz)).speech_s > 4


@pytest.mark.parametrize("background_db", [-50.0, -40.0, -28.0])
def test_the_background_is_found_as_loud_as_it_is(background_db: float) -> None:
    quality = heard(speech_like(8, noise=10 ** (background_db / 20)))
    assert quality.speech_level_db - quality.signal_to_noise_db == pytest.approx(background_db, abs=1.0)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (speech_like(2.9), "3 to 30 s of speech, not of 2.9 s"),
        (np.zeros(8 * RATE_HZ), "too quiet: nothing in it is louder than -90 dB"),
        (speech_like(8, peak=0.002, noise=0), "too quiet"),
        (speech_like(8, peak=0.006, noise=0), "too quiet: its speech is at -52.0 dB, and -50 dB are needed"),
        (np.clip(20 * speech_like(8), -1, 1), "clipped: .*% of it is at the end of the scale"),
        (speech_like(8, peak=0.2, noise=0.04), r"too noisy: its speech is \d\.\d dB louder"),
        (NOISE * 0.1, "0.0 s of the 8.0 s are speech"),
        (NOISE * 0.1 * (np.sin(4 * np.pi * TIME_S) > 0), "are speech, and 1.5 s are needed"),
        (0.3 * np.sin(2 * np.pi * 220 * TIME_S), "0.0 s of the 8.0 s are speech"),
        (np.sign(np.sin(2 * np.pi * 50 * TIME_S)) * 0.2, "0.0 s of the 8.0 s are speech"),
        (np.concatenate([speech_like(1), np.zeros(6 * RATE_HZ)]), "s of the 7.0 s are speech"),
    ],
    ids=["short", "silence", "hardly a sound", "quiet", "clipped", "noisy", "noise", "bursts", "tone", "hum", "a word"],
)
def test_each_fault_is_said_in_a_sentence(samples: NDArray[np.floating], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        heard(samples)


@pytest.mark.parametrize(
    ("samples", "warned"),
    [
        (speech_like(10, peak=0.02, noise=0), "The speech is quiet, at -42 dB"),
        (speech_like(10, noise=0.03), "louder than the background, which may be heard"),
        (np.clip(2.05 * speech_like(10), -1, 1), "Some of the recording is clipped"),
        (speech_like(5), "4 s of speech make a voice; 6 s or more"),
    ],
    ids=["quiet", "noisy", "clipped", "short"],
)
def test_what_may_be_heard_in_the_voice_is_warned_of(samples: Samples, warned: str) -> None:
    (warning,) = heard(samples).warnings
    assert re.search(warned, warning)


@pytest.mark.parametrize(("before_s", "after_s"), [(0, 0), (2, 0), (0, 3.5), (1.2, 1.7)])
def test_what_is_before_and_after_the_speech_is_left_out(before_s: float, after_s: float) -> None:
    speech = speech_like(6, noise=0)[: round(5.2 * RATE_HZ)]
    silence = [np.zeros(round(length_s * RATE_HZ), np.float32) for length_s in (before_s, after_s)]
    left = trimmed(np.concatenate([silence[0], speech, silence[1]]), RATE_HZ)
    assert len(left) / RATE_HZ == pytest.approx(5.2 + min(before_s, 0.3) + min(after_s, 0.3), abs=0.12)
    assert np.count_nonzero(left) == np.count_nonzero(speech)


@pytest.mark.parametrize("before_s", [0.0, 2.0, 5.0])
def test_a_recording_stays_as_long_as_it_must_be(before_s: float) -> None:
    silence = [np.zeros(round(length_s * RATE_HZ), np.float32) for length_s in (before_s, 5.0 - before_s)]
    left = trimmed(np.concatenate([silence[0], speech_like(2), silence[1]]), RATE_HZ)
    assert len(left) == round(MIN_S * RATE_HZ)


@pytest.mark.data
@pytest.mark.parametrize("name", ["claire-neutral.en", "jfk.en", "sample.de"])
def test_recordings_of_people_are_taken_and_with_much_noise_refused(test_data: Path, name: str) -> None:
    samples = read((test_data / "speech" / f"{name}.wav").read_bytes(), RATE_HZ)
    clean = heard(samples)
    assert clean.warnings == ()
    assert clean.speech_s > clean.duration_s / 2
    loudness = float(np.sqrt(np.mean(samples**2)))
    noise = np.random.default_rng(3).normal(0, loudness, len(samples))
    with pytest.raises(InvalidRequestError, match=r"too noisy|are speech"):
        heard(np.clip(samples + noise, -1, 1))


def streamed(container: str, codec: str, options: dict[str, str]) -> bytes:
    """Five seconds as a recorder writes them that cannot go back to the header."""
    out = io.BytesIO()

    class Forward:
        def write(self, data: bytes) -> int:
            return out.write(data)

    samples = np.frombuffer(pcm16_of(speech_like(5)), np.int16)
    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate = RATE_HZ
    with av.open(Forward(), "w", format=container, options=options) as file:
        stream = file.add_stream(codec, rate=48_000, layout="mono")
        assert isinstance(stream, AudioStream)
        size = stream.codec_context.frame_size
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=48_000, frame_size=size)
        for resampled in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(resampled))
        file.mux(stream.encode(None))
    return out.getvalue()


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("webm", "libopus", {"live": "1"}),
        ("ogg", "libopus", {}),
        ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    ],
    ids=["Chromium", "Firefox", "Safari"],
)
def test_what_browsers_record_is_read(container: str, codec: str, options: dict[str, str]) -> None:
    samples = read(streamed(container, codec, options), RATE_HZ)
    assert len(samples) / RATE_HZ == pytest.approx(5, abs=0.1)
    assert listen(samples, RATE_HZ).speech_s > 3.5


def test_every_container_is_read() -> None:
    for file in seeds.recordings():
        samples = read(file, RATE_HZ)
        assert samples.dtype == np.float32
        assert np.abs(samples).max() <= 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: wav(speech_like(31)), "lasts at most 30 s, and this one is longer; send 3 to 30 s of it"),
        (lambda: bytes(MAX_FILE_BYTES + 1), "at most 20 MiB, not 20.0 MiB; send 3 to 30 s of it"),
        (lambda: b"", "the recording is empty"),
        (lambda: b"not a sound", "not a recording in a known format"),
        (lambda: wav(speech_like(4))[:-5000], "cut off"),
    ],
    ids=["long", "large", "empty", "text", "cut off"],
)
def test_a_file_that_is_not_read_is_refused_in_words(make: Callable[[], bytes], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        read(make(), RATE_HZ)


def test_samples_that_are_no_numbers_are_refused() -> None:
    file = seeds.recording("wav", "pcm_f32le", RATE_HZ, "mono", 0.2)
    broken = file[:-8] + np.array([np.nan, np.inf], "<f4").tobytes()
    with pytest.raises(InvalidRequestError, match="some of its samples are no numbers"):
        read(broken, RATE_HZ)


@given(
    arrays.arrays(np.float32, st.integers(0, 400), elements=st.floats(-1, 1, width=32)),
    st.integers(1, 40),
    st.sampled_from([8_000, 16_000, 22_050]),
)
def test_any_sound_is_heard_or_refused_in_a_sentence(piece: Samples, times: int, rate_hz: int) -> None:
    samples = np.resize(piece, times * rate_hz) if len(piece) else piece
    said = ""
    try:
        quality = listen(samples, rate_hz)
    except InvalidRequestError as refusal:
        said = str(refusal)
    if said:
        assert len(said) > SHORTEST_SENTENCE
        return
    assert 0 < quality.speech_s <= quality.duration_s == times
    assert -90 <= quality.speech_level_db <= 0
    assert 0 <= quality.signal_to_noise_db <= 90


VOICES = seeds.voices()


@given(
    st.sampled_from(VOICES),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)), max_size=6),
    st.floats(0.5, 1),
)
def test_a_damaged_file_is_heard_or_refused_in_a_sentence(
    file: bytes, changes: list[tuple[float, bytes]], kept: float
) -> None:
    """The reader of files alone is fuzzed by the thousand in tests/fuzz, as "recording"."""
    damaged = bytearray(file[: int(kept * len(file))])
    for place, change in changes:
        at = int(place * len(damaged))
        damaged[at : at + len(change)] = change
    said = ""
    try:
        quality = listen(read(bytes(damaged), 8_000), 8_000)
    except InvalidRequestError as refusal:
        said = str(refusal)
    assert len(said) > SHORTEST_SENTENCE or MIN_SPEECH_S <= quality.speech_s <= quality.duration_s <= MAX_S


def test_a_file_that_is_whole_is_heard() -> None:
    for file in VOICES:
        assert listen(read(file, 8_000), 8_000).speech_s > MIN_SPEECH_S
