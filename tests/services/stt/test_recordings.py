"""The real ears on real recordings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from avatar.stt.v1 import stt_pb2
from numpy.typing import NDArray

from services.common.timing import seconds_of
from services.stt.engines.pocketsphinx import PocketsphinxEngine
from services.stt.turn_model import SmartTurn
from services.stt.vad import SileroVoiceDetector
from tests.services.stt.serving import audio, config, converse, serving, told

pytestmark = [pytest.mark.data, pytest.mark.slow]
SPEECH = "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
HUSH = np.zeros(24_000, np.float32)


@pytest.fixture(scope="module")
def engine() -> Iterator[PocketsphinxEngine]:
    engine = PocketsphinxEngine(spare_workers=1)
    yield engine
    engine.close()


def word_error_rate(heard: str, said: str) -> float:
    """Wrong, missing and extra words per word that was said."""
    words, wanted = (re.findall(r"[a-z']+", text.lower()) for text in (heard, said))
    row = list(range(len(words) + 1))
    for count, want in enumerate(wanted, 1):
        diagonal, row[0] = row[0], count
        for index, word in enumerate(words, 1):
            diagonal, row[index] = row[index], min(row[index] + 1, row[index - 1] + 1, diagonal + (word != want))
    return row[-1] / len(wanted)


async def test_a_speech_with_pauses_is_understood_and_not_cut_in_mid_sentence(
    engine: PocketsphinxEngine,
    vad_session: onnxruntime.InferenceSession,
    smart_turn: SmartTurn,
    recorded: Callable[[str], NDArray[np.float32]],
) -> None:
    async with serving(engine, smart_turn, lambda: SileroVoiceDetector(vad_session)) as stt:
        responses = await converse(stt, [config(), *audio(HUSH, recorded("jfk.en"), HUSH)])
    text = " ".join(name for name in told(responses) if name.startswith('"'))
    assert word_error_rate(text, SPEECH) < 0.5
    # The pause of 1.1 s after "my fellow Americans" may pass for an end; those of 0.3 to 1 s after it must not.
    assert told(responses).count("SPEECH_STARTED") >= 4
    assert told(responses).count("END_OF_TURN") <= 2


async def test_a_recording_is_understood_with_words_where_they_are_spoken(
    engine: PocketsphinxEngine, vad_session: onnxruntime.InferenceSession, test_data: Path
) -> None:
    recording = (test_data / "speech" / "jfk.en.wav").read_bytes()
    async with serving(engine, new_voice_detector=lambda: SileroVoiceDetector(vad_session)) as stt:
        response = await stt.Recognize(stt_pb2.RecognizeRequest(audio=recording))
    assert word_error_rate(response.transcript, SPEECH) < 0.5
    assert seconds_of(response.audio_duration) == 11
    words = [word for result in response.results for word in result.words]
    assert [word.word for word in words] == response.transcript.split()
    (fellow,) = [word for word in words if word.word == "fellow"]
    assert 1.1 < seconds_of(fellow.start_offset) < 1.4
    countries = [seconds_of(word.start_offset) for word in words if word.word == "country"]
    assert 10 < countries[-1] < 10.5
