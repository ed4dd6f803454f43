"""The voice detector hears voices, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from services.common.models import model_path
from services.common.settings import ServerSettings
from services.stt.vad import FRAME_SAMPLES, SAMPLE_RATE_HZ, SileroVoiceDetector
from tests.services.stt.conftest import Say
from tests.stack import ROOT

noise = np.random.default_rng(0)
clicks = np.zeros(3 * SAMPLE_RATE_HZ)
clicks[:: SAMPLE_RATE_HZ // 3] = 0.9


def probabilities(session: onnxruntime.InferenceSession, sound: NDArray[np.floating]) -> NDArray[np.float32]:
    detector = SileroVoiceDetector(session)
    frames = sound.astype(np.float32)[: len(sound) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return np.array([detector.probability(frame) for frame in frames], np.float32)


def test_speech_is_a_voice_and_the_silence_around_it_is_not(
    vad_session: onnxruntime.InferenceSession, say: Say
) -> None:
    speech = say("Good morning, it is nice to meet you")
    silence = np.zeros(SAMPLE_RATE_HZ, np.float32)
    heard = probabilities(vad_session, np.concatenate([silence, speech, silence]))
    before, after = SAMPLE_RATE_HZ // FRAME_SAMPLES, (SAMPLE_RATE_HZ + len(speech)) // FRAME_SAMPLES
    assert (heard[before:after] > 0.5).mean() > 0.8
    assert heard[: before - 1].max() < 0.1
    # It takes three frames to be sure that a voice is gone.
    assert heard[after + 4 :].max() < 0.35


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("digital silence", np.zeros(3 * SAMPLE_RATE_HZ)),
        ("white noise", noise.normal(0, 0.1, 3 * SAMPLE_RATE_HZ)),
        ("soft white noise", noise.normal(0, 0.003, 3 * SAMPLE_RATE_HZ)),
        ("a tone", 0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ)),
        ("clicks", clicks),
    ],
)
def test_no_voice_is_found_in(name: str, sound: NDArray[np.float64], vad_session: onnxruntime.InferenceSession) -> None:
    assert probabilities(vad_session, sound).max() < 0.5, name


def test_a_voice_after_a_minute_of_noise_is_found_as_fast_as_one_after_silence(
    vad_session: onnxruntime.InferenceSession, say: Say
) -> None:
    speech = say("Can you hear me now")
    hum = noise.normal(0, 0.01, 60 * SAMPLE_RATE_HZ)
    after_noise = probabilities(vad_session, np.concatenate([hum, speech]))[len(hum) // FRAME_SAMPLES :]
    after_silence = probabilities(vad_session, np.concatenate([0 * hum, speech]))[len(hum) // FRAME_SAMPLES :]
    assert abs(int(np.argmax(after_noise > 0.5)) - int(np.argmax(after_silence > 0.5))) <= 2


@pytest.mark.data
def test_pauses_of_a_real_voice_are_found(
    vad_session: onnxruntime.InferenceSession, recorded: Callable[[str], NDArray[np.float32]]
) -> None:
    voiced = probabilities(vad_session, recorded("jfk.en")) > 0.5
    # "And so, my fellow Americans" / "ask not" / "what your country can do for you" / "ask what you can do ..."
    pauses_s = [(2.4, 3.2), (4.5, 5.3), (7.7, 8.1)]
    assert all(not voiced[int(begin / 0.032) : int(end / 0.032)].any() for begin, end in pauses_s)
    assert voiced.mean() > 0.5


def test_the_models_library_keeps_no_record_of_who_runs_it(tmp_path: Path) -> None:
    model = model_path(ServerSettings().data_dir, "silero_vad.onnx")
    script = f"from pathlib import Path; from services.stt.vad import load_session; load_session(Path({str(model)!r}))"
    env = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
    env |= {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, check=True, timeout=60)
    # With its telemetry on, the library would begin a session file here, to be sent to its maker.
    assert list(tmp_path.rglob("*")) == []
