"""Silero VAD: how likely each 32 ms of sound holds a voice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnxruntime

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 512
_CONTEXT_SAMPLES = 64
_RESET_AFTER_FRAMES = 2 * SAMPLE_RATE_HZ // FRAME_SAMPLES
_RESET_AFTER_QUIET_FRAMES = 5
_QUIET_PROBABILITY = 0.1


def load_session(model: Path) -> onnxruntime.InferenceSession:
    """A model that runs on the calling thread and nowhere else; safe to share between threads."""
    # Set before the library is loaded, this keeps it from telling its maker what runs here, as it does since 1.29.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class VoiceDetector(Protocol):
    """Finds voices in one sound."""

    def probability(self, frame: NDArray[np.float32]) -> float:
        """The probability, 0 to 1, that the next frame holds a voice. Args: frame: shape (512,), at 16 kHz."""
        ...


class SileroVoiceDetector:
    """The voice probability of one sound, frame by frame.

    Source: Silero VAD v6, https://github.com/snakers4/silero-vad. The model sees each frame behind the last 64 samples
    of the one before, and carries a recurrent state. Long noise or music biases that state against the speech that
    follows, so it is cleared every 2 s while nobody speaks.
    """

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        """Args: session: from `load_session`; shared by all."""
        self._session = session
        self._rate = np.array(SAMPLE_RATE_HZ, np.int64)
        self._input = np.zeros((1, _CONTEXT_SAMPLES + FRAME_SAMPLES), np.float32)
        self._reset()

    def _reset(self) -> None:
        self._state = np.zeros((2, 1, 128), np.float32)
        self._frames_since_reset = 0
        self._quiet_frames = 0

    def probability(self, frame: NDArray[np.float32]) -> float:
        """As `VoiceDetector.probability`."""
        self._input[0, :_CONTEXT_SAMPLES] = self._input[0, -_CONTEXT_SAMPLES:]
        self._input[0, _CONTEXT_SAMPLES:] = frame
        output, self._state = self._session.run(None, {"input": self._input, "state": self._state, "sr": self._rate})
        probability = float(output[0, 0])
        self._frames_since_reset += 1
        self._quiet_frames = self._quiet_frames + 1 if probability < _QUIET_PROBABILITY else 0
        if self._frames_since_reset >= _RESET_AFTER_FRAMES and self._quiet_frames >= _RESET_AFTER_QUIET_FRAMES:
            self._reset()
        return probability
