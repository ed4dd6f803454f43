"""Which voices there are, which one a caller gets, and in which language it speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from services.common.errors import EngineError, NotFoundError, UnsupportedError
from services.tts.engine import Capabilities, Voice
from services.tts.voice_store import VoiceStore
from services.tts.voices import Voices
from tests.fakes.speaking_engine import SpeakingEngine


def speaking(*voices: Voice) -> Capabilities:
    """An engine of German, English and British English."""
    return replace(SpeakingEngine().capabilities, voices=voices)


@pytest.fixture
def voices_of(tmp_path: Path) -> Callable[..., Voices]:
    """Makes the choice from an engine's own voices, and a default one."""
    return lambda voices, default="": Voices(speaking(*voices), VoiceStore(tmp_path, 0), default)


ANNA, KLAUS, JACK = Voice("anna", "Anna"), Voice("klaus", "Klaus", ("de",)), Voice("jack", "Jack B", ("en", "en-GB"))


@pytest.mark.parametrize("default", ["jack", "Jack B"])
async def test_the_default_voice_is_a_setting(voices_of: Callable[..., Voices], default: str) -> None:
    voices = voices_of([ANNA, KLAUS, JACK], default)
    assert voices.usable() == (JACK, ANNA, KLAUS)
    assert (await voices.style("", "en", 0)).voice == "jack"


def test_a_default_voice_that_there_is_not_is_refused_with_those_that_there_are(
    voices_of: Callable[..., Voices],
) -> None:
    with pytest.raises(EngineError, match=r"'Sofia Hellen' .*there are voices/anna, voices/klaus"):
        voices_of([ANNA, KLAUS], "Sofia Hellen")


async def test_who_names_no_voice_hears_the_first_that_speaks_the_language(voices_of: Callable[..., Voices]) -> None:
    voices = voices_of([KLAUS, JACK, ANNA])
    assert [(await voices.style("", tag, 0)).voice for tag in ("de-AT", "en-GB", "")] == ["klaus", "jack", "jack"]


async def test_who_names_no_language_hears_a_voice_in_its_own(voices_of: Callable[..., Voices]) -> None:
    voices = voices_of([ANNA, KLAUS])
    assert [(await voices.style(voice, "", 0)).language for voice in ("anna", "klaus")] == ["en", "de"]
    assert (await voices_of([KLAUS]).style("", "", 0)).language == "de"


async def test_a_language_that_the_voice_does_not_speak_is_refused_with_those_that_it_does(
    voices_of: Callable[..., Voices],
) -> None:
    with pytest.raises(UnsupportedError, match="voices/jack does not speak de; it speaks en, en-GB"):
        await voices_of([ANNA, JACK]).style("jack", "de", 0)


async def test_of_very_many_voices_an_answer_names_some(voices_of: Callable[..., Voices]) -> None:
    many = [Voice(f"v{number}", f"Voice {number}") for number in range(58)]
    with pytest.raises(NotFoundError, match="voices/v19 and 38 more, which ListVoices names"):
        await voices_of(many).style("nobody", "", 0)
