"""Smart Turn: how likely a speaker who has just fallen silent is done."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.stt.vad import SAMPLE_RATE_HZ, load_session

WINDOW_SAMPLES = 8 * SAMPLE_RATE_HZ
_FFT_SAMPLES = 400
_HOP_SAMPLES = 160
_MEL_BANDS = 80


class TurnModel(Protocol):
    """Judges the end of a turn by its sound."""

    def ask(self, samples: NDArray[np.float32]) -> Future[float]:
        """How likely the turn is over, 0 to 1; the work is done elsewhere.

        Args:
            samples: shape (n,), in [-1, 1], 16 kHz: the turn up to now, of which the last 8 s count.
        """
        ...


def _mel_filters() -> NDArray[np.float32]:
    """Triangular filters on the Slaney mel scale with Slaney area normalisation, shape (80, 201).

    Source: Slaney, Auditory Toolbox (1998): linear below 1 kHz at 200/3 Hz a mel, then logarithmic with 27 mels to a
    factor of 6.4.
    """
    frequencies_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, _FFT_SAMPLES // 2 + 1)
    mels_per_log_hz = 27 / np.log(6.4)
    top_mel = 15 + np.log(SAMPLE_RATE_HZ / 2 / 1000) * mels_per_log_hz
    mels = np.linspace(0, top_mel, _MEL_BANDS + 2)
    edges_hz = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) / mels_per_log_hz))
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (frequencies_hz - low) / (centre - low)
    falling = (high - frequencies_hz) / (high - centre)
    triangles = np.maximum(0, np.minimum(rising, falling))
    filters: NDArray[np.float32] = (triangles * 2 / (high - low)).astype(np.float32)
    return filters


_FILTERS = _mel_filters()
_WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT_SAMPLES) / _FFT_SAMPLES)).astype(np.float32)


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Whisper's log-mel spectrogram of the last 8 s, silence in front of shorter sound.

    Args:
        samples: shape (n,), in [-1, 1], 16 kHz.
    Returns: shape (80, 800), 10 ms a column.
    Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), section 2.2, with the
        zero-mean, unit-variance input that Smart Turn v3 was trained on, https://github.com/pipecat-ai/smart-turn.
    """
    sound = np.zeros(WINDOW_SAMPLES, np.float32)
    recent = samples[-WINDOW_SAMPLES:]
    sound[WINDOW_SAMPLES - len(recent) :] = recent
    sound = (sound - sound.mean()) / np.sqrt(sound.var() + np.float32(1e-7))
    padded = np.pad(sound, _FFT_SAMPLES // 2, mode="reflect")
    # (801, 400): the last column is dropped, as Whisper does.
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT_SAMPLES)[::_HOP_SAMPLES][:-1]
    spectrum = np.fft.rfft(frames * _WINDOW, axis=-1)  # (800, 201)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    mel = np.log10(np.maximum(_FILTERS @ power.T.astype(np.float32), 1e-10))  # (80, 800)
    normalised: NDArray[np.float32] = (np.maximum(mel, mel.max() - 8) + 4) / 4
    return normalised


class SmartTurn:
    """Smart Turn v3.2 on one thread of its own, shared by all streams.

    Source: https://github.com/pipecat-ai/smart-turn, a Whisper-tiny encoder with a classifier on top.
    """

    def __init__(self, model: Path) -> None:
        """Args: model: the ONNX file."""
        self._session = load_session(model)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="turn-model")

    def probability(self, samples: NDArray[np.float32]) -> float:
        """How likely the turn is over, 0 to 1; blocks. Args: samples: as `ask`."""
        (output,) = self._session.run(None, {"input_features": log_mel(samples)[None]})
        return float(output[0, 0])

    def ask(self, samples: NDArray[np.float32]) -> Future[float]:
        """As `TurnModel.ask`. A stream keeps no more than one question open, which bounds the wait."""
        return self._executor.submit(self.probability, samples)

    def close(self) -> None:
        """Wait for the running question and drop those that wait."""
        self._executor.shutdown(wait=True, cancel_futures=True)
