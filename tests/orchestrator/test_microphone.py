"""The microphone's sound keeps its time."""

from __future__ import annotations

import av
import numpy as np
import pytest

from orchestrator.microphone import MicrophoneResampler


def frame(index: int, hz: float = 440.0) -> av.AudioFrame:
    """20 ms of a stereo tone at 48 kHz, as the Opus decoder gives it."""
    n = np.arange(index * 960, (index + 1) * 960)
    tone = (10_000 * np.sin(2 * np.pi * hz * n / 48_000)).astype(np.int16)
    made = av.AudioFrame.from_ndarray(np.repeat(tone, 2)[None, :], format="s16", layout="stereo")
    made.sample_rate = 48_000
    made.pts = index * 960
    return made


def test_sound_comes_out_at_16_khz_with_about_a_millisecond_of_delay() -> None:
    resampler = MicrophoneResampler()
    pcm = np.frombuffer(b"".join(resampler.push(frame(n)) for n in range(50)), np.int16)
    assert len(pcm) == pytest.approx(16_000, abs=32)
    spectrum = np.abs(np.fft.rfft(pcm))
    assert np.argmax(spectrum) * 16_000 / len(pcm) == pytest.approx(440, abs=2)


def test_lost_packets_become_silence_of_the_same_length() -> None:
    resampler = MicrophoneResampler()
    sound = [resampler.push(frame(n)) for n in (*range(10), *range(15, 25))]
    total = sum(map(len, sound)) // 2
    assert total == pytest.approx(25 * 320, abs=32)
    assert not any(sound[10][: 5 * 320 * 2])


def test_a_long_loss_starts_time_over_and_costs_no_memory() -> None:
    resampler = MicrophoneResampler()
    resampler.push(frame(0))
    assert len(resampler.push(frame(50_000))) < 2 * 700
