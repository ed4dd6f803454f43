"""What every recogniser owes the service, for the real ones and for the fake."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.errors import EngineError, UnsupportedError
from services.stt.engine import Hearing, SpeechEngine, SpeechStream, Transcript
from services.stt.engines.nemo.engine import NemoEngine
from services.stt.engines.nemo.model import CANARY, PARAKEET, Kind
from services.stt.engines.pocketsphinx import PocketsphinxEngine
from services.stt.engines.whisper.engine import load
from services.stt.settings import WhisperSettings
from tests.fakes.hearing_engine import HearingEngine
from tests.fakes.nemo_models import build_canary, build_parakeet
from tests.services.stt.conftest import Say
from tests.services.stt.whisper.tiny_models import build_ctranslate2, build_transformers


def tiny_engine(build: Callable[[Path], Path]) -> SpeechEngine:
    with tempfile.TemporaryDirectory() as folder:
        return load(WhisperSettings(model=str(build(Path(folder) / "model")), device="cpu"), Path(folder))


def tiny_nemo(kind: Kind, build: Callable[[Path], Path]) -> SpeechEngine:
    with tempfile.TemporaryDirectory() as folder:
        return NemoEngine(kind, build(Path(folder)), "cpu")


ENGINES: dict[str, Callable[[], SpeechEngine]] = {
    "pocketsphinx": lambda: PocketsphinxEngine(spare_workers=1),
    "fake": HearingEngine,
    "whisper by CTranslate2": lambda: tiny_engine(build_ctranslate2),
    "whisper by PyTorch": lambda: tiny_engine(build_transformers),
    "parakeet": lambda: tiny_nemo(PARAKEET, build_parakeet),
    "canary": lambda: tiny_nemo(CANARY, build_canary),
}
# It writes text and does not say where its words are.
WITHOUT_WORDS = "canary"
ENGLISH = Hearing("en")
TEXT = "What is the weather like in London?"


@pytest.fixture(scope="module", params=ENGINES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def engine(name: str) -> Iterator[SpeechEngine]:
    engine = ENGINES[name]()
    yield engine
    engine.close()


@pytest.fixture
def stream(engine: SpeechEngine) -> Iterator[SpeechStream]:
    stream = engine.open_stream(ENGLISH)
    yield stream
    stream.close()


def stretch(stream: SpeechStream, speech: NDArray[np.float32]) -> tuple[list[Transcript], Transcript]:
    """The partials and the final of speech that comes in pieces of 32 ms, with a little silence around it."""
    silence = np.zeros(4000, np.float32)
    sound = np.concatenate([silence, speech, silence])
    partials = [one for begin in range(0, len(sound), 512) for one in stream.push(sound[begin : begin + 512])]
    (final,) = stream.finish()
    return partials, final


def test_it_reads_16_khz_as_voice_detection_does(engine: SpeechEngine) -> None:
    assert engine.capabilities.sample_rate_hz == 16_000


def test_speech_has_partials_and_one_final(stream: SpeechStream, say: Say) -> None:
    partials, final = stretch(stream, say(TEXT))
    assert final.is_final
    assert not any(partial.is_final for partial in partials)
    assert final.text


def test_words_make_up_the_text_and_lie_in_order_within_the_stretch(name: str, stream: SpeechStream, say: Say) -> None:
    _, final = stretch(stream, say(TEXT))
    assert " ".join(word.text for word in final.words) == ("" if name == WITHOUT_WORDS else final.text)
    assert all(0 <= word.start < word.end <= len(say(TEXT)) + 8000 + 512 for word in final.words)
    assert all(one.end <= other.start for one, other in itertools.pairwise(final.words))
    assert all(word.confidence is None or 0 <= word.confidence <= 1 for word in final.words)


def test_places_count_from_the_stretch_and_not_from_the_stream(stream: SpeechStream, say: Say) -> None:
    stretch(stream, say(TEXT))
    _, second = stretch(stream, say(TEXT))
    assert all(word.end <= len(say(TEXT)) + 8000 + 512 for word in second.words)


def test_a_stretch_of_nothing_has_no_final(stream: SpeechStream) -> None:
    assert list(stream.finish()) == []


def test_a_very_short_stretch_has_a_final(stream: SpeechStream) -> None:
    stream.push(np.zeros(512, np.float32))
    assert [final.text for final in stream.finish()] == [""]


def test_a_long_push_is_taken_whole(name: str, stream: SpeechStream, say: Say) -> None:
    stream.push(np.concatenate([say(TEXT)] * 3))
    (final,) = stream.finish()
    assert final.text
    assert name == WITHOUT_WORDS or final.words[-1].end > 2 * len(say(TEXT))


def test_no_sound_at_all_is_a_pause_in_the_stretch_and_changes_nothing(stream: SpeechStream, say: Say) -> None:
    speech = say(TEXT)
    for part in np.array_split(speech, 3):
        stream.push(part)
        stream.push(speech[:0])
    (final,) = stream.finish()
    assert final.text
    assert all(word.end <= len(speech) + 512 for word in final.words)


def test_streams_do_not_hear_each_other(engine: SpeechEngine, say: Say) -> None:
    one, other = engine.open_stream(ENGLISH), engine.open_stream(ENGLISH)
    try:
        one.push(say(TEXT))
        assert list(other.finish()) == []
        assert [bool(final.text) for final in one.finish()] == [True]
    finally:
        one.close()
        other.close()


def test_a_stream_may_be_closed_in_the_middle_of_a_stretch_and_twice(engine: SpeechEngine, say: Say) -> None:
    abandoned = engine.open_stream(ENGLISH)
    abandoned.push(say(TEXT))
    abandoned.close()
    abandoned.close()
    with pytest.raises(EngineError, match="closed"):
        abandoned.push(say(TEXT))
    fresh = engine.open_stream(ENGLISH)
    assert list(fresh.finish()) == []
    fresh.close()


def test_a_language_that_it_does_not_hear_is_refused_with_those_it_does(engine: SpeechEngine) -> None:
    assert engine.capabilities.language_of("") == engine.capabilities.languages[0]
    assert engine.capabilities.language_of("EN_us") == "en"
    with pytest.raises(UnsupportedError, match=r'"xx-YY"; it hears: .*en'):
        engine.capabilities.language_of("xx-YY")
