"""Speech, recordings and loaded models for the tests of speech to text."""

from __future__ import annotations

import functools
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from services.common.audio import samples_of_pcm16
from services.common.models import model_path
from services.stt.settings import SttSettings
from services.stt.turn_model import SmartTurn
from services.stt.vad import load_session
from tests.services.stt import espeak_speech

Say = Callable[..., NDArray[np.float32]]


@pytest.fixture(scope="session")
def say() -> Say:
    """Speaks a text once and remembers it: shape (n,), in [-1, 1], 16 kHz."""
    return functools.cache(espeak_speech.speech)


@pytest.fixture(scope="session")
def vad_session() -> onnxruntime.InferenceSession:
    return load_session(model_path(SttSettings().data_dir, "silero_vad.onnx"))


@pytest.fixture(scope="session")
def smart_turn() -> Iterator[SmartTurn]:
    model = SmartTurn(model_path(SttSettings().data_dir, "smart-turn-v3.2-cpu.onnx"))
    yield model
    model.close()


@pytest.fixture(scope="session")
def recorded(test_data: Path) -> Callable[[str], NDArray[np.float32]]:
    """Reads a real recording by its name: shape (n,), in [-1, 1], 16 kHz."""

    def read(name: str) -> NDArray[np.float32]:
        with wave.open(str(test_data / "speech" / f"{name}.wav")) as file:
            assert (file.getframerate(), file.getnchannels()) == (16_000, 1)
            return samples_of_pcm16(file.readframes(file.getnframes()))

    return read
