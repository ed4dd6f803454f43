"""Tiny models behind the whole service: voice detection, turns, gRPC."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from avatar.stt.v1 import stt_pb2
from onnxruntime import InferenceSession

from services.common.audio import pcm16_of, wav_of
from services.stt.engines.whisper.engine import load
from services.stt.settings import WhisperSettings
from services.stt.vad import SileroVoiceDetector
from tests.fakes.hearing_engine import quiet
from tests.services.stt.conftest import Say
from tests.services.stt.serving import audio, config, converse, serving, told

TEXT = "What is the weather like in London?"


@pytest.fixture(params=["transformers_folder", "ctranslate2_folder"])
def folder(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(request.param)
    return folder


async def test_a_turn_is_written_with_its_language_and_its_stable_part(
    folder: Path, say: Say, vad_session: InferenceSession
) -> None:
    engine = load(WhisperSettings(model=str(folder), device="cpu"), folder)
    async with serving(engine, new_voice_detector=lambda: SileroVoiceDetector(vad_session)) as stt:
        sound = audio(quiet(0.5), say(TEXT), quiet(1))
        responses = await converse(stt, [config(interim_results=True, language_codes=["de", "fr"]), *sound])
    engine.close()
    assert told(responses) == ["SPEECH_STARTED", "SPEECH_ENDED", '"what is the weather"', "END_OF_TURN"]
    results = [response.result for response in responses if response.HasField("result")]
    assert {result.language_code for result in results} <= {"de", "fr"}
    assert all(0.5 <= result.language_probability <= 1 for result in results)
    assert results[-1].stable_character_count == len("what is the weather")
    assert [word.word for word in results[-1].words] == ["what", "is", "the", "weather"]


async def test_recordings_longer_than_a_window_are_written_to_their_end(
    folder: Path, say: Say, vad_session: InferenceSession
) -> None:
    engine = load(WhisperSettings(model=str(folder), device="cpu"), folder)
    recording = np.concatenate([part for _ in range(14) for part in (say(TEXT), quiet(1))])
    assert len(recording) > 32 * 16_000
    async with serving(engine, new_voice_detector=lambda: SileroVoiceDetector(vad_session)) as stt:
        request = stt_pb2.RecognizeRequest(audio=wav_of(pcm16_of(recording), 16_000))
        request.config.language_code = "en"
        answer = await stt.Recognize(request)
    engine.close()
    assert len(answer.results) == 14
    assert answer.results[-1].start_offset.seconds > 30


async def test_noise_that_voice_detection_lets_pass_has_no_words(folder: Path) -> None:
    noise = (0.3 * np.random.default_rng(0).standard_normal(32_000)).astype(np.float32)
    engine = load(WhisperSettings(model=str(folder), device="cpu"), folder)
    # The default detector of `serving` takes whatever is loud for a voice.
    async with serving(engine) as stt:
        names = told(await converse(stt, [config(language_code="en"), *audio(quiet(0.5), noise, quiet(1))]))
    engine.close()
    assert names == ["SPEECH_STARTED", "SPEECH_ENDED", "END_OF_TURN"]
