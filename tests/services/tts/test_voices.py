"""Which voices there are, which one a caller gets, and in which language it speaks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.common.errors import EngineError, NotFoundError, UnsupportedError
from services.tts.engine import Capabilities, Voice
from services.tts.voices import Voices
from tests.fakes.speaking_engine import SpeakingEngine


def speaking(*voices: Voice) -> Capabilities:
    """An engine of German, English and British English."""
    return replace(SpeakingEngine().capabilities, voices=voices)


ANNA, KLAUS, JACK = Voice("anna", "Anna"), Voice("klaus", "Klaus", ("de",)), Voice("jack", "Jack B", ("en", "en-GB"))


@pytest.mark.parametrize("default", ["jack", "Jack B"])
def test_the_default_voice_is_a_setting(default: str) -> None:
    voices = Voices(speaking(ANNA, KLAUS, JACK), default)
    assert voices.known() == (JACK, ANNA, KLAUS)
    assert voices.style("", "en", 0).voice == "jack"


def test_a_default_voice_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(EngineError, match=r"'Sofia Hellen' .*there are voices/anna, voices/klaus"):
        Voices(speaking(ANNA, KLAUS), "Sofia Hellen")


def test_who_names_no_voice_hears_the_first_that_speaks_the_language() -> None:
    voices = Voices(speaking(KLAUS, JACK, ANNA))
    assert [voices.style("", tag, 0).voice for tag in ("de-AT", "en-GB", "")] == ["klaus", "jack", "jack"]


def test_who_names_no_language_hears_a_voice_in_its_own() -> None:
    voices = Voices(speaking(ANNA, KLAUS))
    assert [voices.style(voice, "", 0).language for voice in ("anna", "klaus")] == ["en", "de"]
    assert Voices(speaking(KLAUS)).style("", "", 0).language == "de"


def test_a_language_that_the_voice_does_not_speak_is_refused_with_those_that_it_does() -> None:
    with pytest.raises(UnsupportedError, match="voices/jack does not speak de; it speaks en, en-GB"):
        Voices(speaking(ANNA, JACK)).style("jack", "de", 0)


def test_of_very_many_voices_an_answer_names_some() -> None:
    many = [Voice(f"v{number}", f"Voice {number}") for number in range(58)]
    with pytest.raises(NotFoundError, match="voices/v19 and 38 more, which ListVoices names"):
        Voices(speaking(*many)).style("nobody", "", 0)
