"""The sound as Whisper sees it: a logarithmic mel spectrogram of 100 columns per second."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from services.stt.engines.whisper.runtime import SAMPLE_RATE_HZ, WINDOW_SAMPLES

FFT_SAMPLES = 400
HOP_SAMPLES = 160
COLUMNS = WINDOW_SAMPLES // HOP_SAMPLES
FLOOR = 1e-10


@functools.cache
def filters(bands: int) -> NDArray[np.float32]:
    """Triangles of equal area on Slaney's mel scale, 0 to 8 kHz: shape (bands, 201).

    Source: Slaney, "Auditory Toolbox" (1998), as librosa's default and Whisper's published filters have it.
    """
    edges_hz = _hz_of(np.linspace(0, _mel_of(SAMPLE_RATE_HZ / 2), bands + 2))
    bins_hz = np.fft.rfftfreq(FFT_SAMPLES, 1 / SAMPLE_RATE_HZ)
    widths = np.diff(edges_hz)
    ramps = edges_hz[:, None] - bins_hz
    rising, falling = -ramps[:-2] / widths[:-1, None], ramps[2:] / widths[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (edges_hz[2:] - edges_hz[:-2]))[:, None]).astype(np.float32)


# The scale is linear up to 1000 Hz, which is mel 15, and logarithmic beyond.
_LINEAR_HZ, _LINEAR_MEL, _STEP = 1000.0, 15.0, np.log(6.4) / 27.0


def _mel_of(hz: float) -> float:
    return float(_LINEAR_MEL + np.log(hz / _LINEAR_HZ) / _STEP) if hz >= _LINEAR_HZ else hz * _LINEAR_MEL / _LINEAR_HZ


def _hz_of(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithmic = _LINEAR_HZ * np.exp(_STEP * (mel - _LINEAR_MEL))
    return np.where(mel >= _LINEAR_MEL, logarithmic, mel * _LINEAR_HZ / _LINEAR_MEL)


def log_mel(samples: NDArray[np.float32], bands: int) -> NDArray[np.float32]:
    """The spectrogram of a window that the sound begins and silence fills: shape (bands, 3000).

    Only the columns that hold sound are transformed; the others are the silence that they would be.

    Args:
        samples: shape (n,), in [-1, 1], 16 kHz, at most 30 s.
    """
    samples = samples[:WINDOW_SAMPLES]
    window = np.hanning(FFT_SAMPLES + 1)[:-1].astype(np.float32)
    # The last column whose frame, centred, still reaches into the sound.
    sounding = min(COLUMNS, (len(samples) + FFT_SAMPLES // 2) // HOP_SAMPLES + 1)
    needed = (sounding - 1) * HOP_SAMPLES + FFT_SAMPLES // 2
    filled = np.zeros(max(needed, FFT_SAMPLES), np.float32)
    filled[: min(len(samples), len(filled))] = samples[: len(filled)]
    if needed > WINDOW_SAMPLES:
        # The end of a full window is mirrored, as its beginning is.
        filled[WINDOW_SAMPLES:] = filled[2 * WINDOW_SAMPLES - needed - 1 : WINDOW_SAMPLES - 1][::-1]
    padded = np.concatenate([filled[FFT_SAMPLES // 2 : 0 : -1], filled])
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SAMPLES)[::HOP_SAMPLES][:sounding]
    spectrum = np.fft.rfft(frames * window, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    columns = np.full((bands, COLUMNS), np.log10(FLOOR), np.float32)
    columns[:, :sounding] = np.log10(np.maximum(filters(bands) @ power.T, FLOOR))
    # Scaled to about [-1, 1], with 80 dB below the loudest as the floor.
    scaled: NDArray[np.float32] = (np.maximum(columns, columns.max() - 8) + 4) / 4
    return scaled
