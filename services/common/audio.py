"""Mono PCM in and out of bytes."""

from __future__ import annotations

import io
import wave

import numpy as np
from numpy.typing import NDArray


def pcm16_of(samples: NDArray[np.float32]) -> bytes:
    """Signed 16-bit little-endian PCM. Args: samples: shape (n,), in [-1, 1]; what is outside is clipped."""
    scaled = np.clip(np.rint(samples * 32768.0), -32768, 32767)
    return bytes(scaled.astype("<i2").data)


def samples_of_pcm16(pcm: bytes) -> NDArray[np.float32]:
    """Shape (n,), in [-1, 1). Args: pcm: signed 16-bit little-endian, whole samples."""
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768.0


def wav_of(pcm: bytes, sample_rate_hz: int) -> bytes:
    """A WAV file around mono 16-bit PCM."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(pcm)
    return out.getvalue()
