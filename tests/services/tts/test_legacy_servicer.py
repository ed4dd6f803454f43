"""The older stack's voice, over real gRPC with an engine that beeps."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from avatar.tts.v1 import legacy_pb2, legacy_pb2_grpc, tts_pb2, tts_pb2_grpc
from google.api.httpbody_pb2 import HttpBody

from services.common.audio import samples_of_pcm16
from services.tts.legacy_servicer import LANGUAGES
from tests.fakes.recordings import speech_like, wav
from tests.fakes.speaking_engine import BROKEN, SpeakingEngine, pitch_of
from tests.legacy_calls import Answer, answer_of, form_body, json_body
from tests.services.tts.serving import channel_to

SPEAKERS = "Beep, Another"


class Voice:
    """A caller."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    async def get(self, method: str) -> Any:
        answer = await answer_of(getattr(self._stub, method)(getattr(legacy_pb2, f"{method}Request")()))
        assert answer.status == 200
        return answer.json

    async def synthesize(self, body: HttpBody) -> Answer:
        return await answer_of(self._stub.SynthesizeFile(legacy_pb2.SynthesizeFileRequest(json=body)))

    async def say(self, **members: Any) -> Answer:
        return await self.synthesize(json_body(members))

    async def clone(self, **parts: Any) -> Answer:
        texts = {name: part for name, part in parts.items() if isinstance(part, str)}
        files = {name: part for name, part in parts.items() if isinstance(part, bytes)}
        return await answer_of(self._stub.CloneVoice(legacy_pb2.CloneVoiceRequest(form=form_body(texts, files))))


@asynccontextmanager
async def serving(engine: SpeakingEngine | None = None, data_dir: Path | None = None) -> AsyncIterator[Voice]:
    async with channel_to(engine or SpeakingEngine(), data_dir=data_dir) as channel:
        yield Voice(legacy_pb2_grpc.LegacyTextToSpeechServiceStub(channel))


def seconds(answer: Answer, name: str = "speech.wav") -> float:
    """Length of a WAV file, which must be as the older stack's were."""
    assert (answer.status, answer.content_type) == (200, "audio/wav")
    assert answer.headers["content-disposition"] == f"attachment; filename={name}"
    with wave.open(io.BytesIO(answer.body)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        frames: int = file.getnframes()
        assert len(file.readframes(frames + 1)) == 2 * frames
    return frames / 24_000


async def test_health_has_the_fields_of_both_stacks() -> None:
    async with serving() as voice:
        health = await voice.get("GetServiceHealth")
    assert health == {
        "status": "healthy",
        "engine": {"name": "fake", "reason": "a test asked for it"},
        "language_codes": ["de", "en", "en-GB"],
        "can_clone_voices": False,
        "model_loaded": True,
        "device": "cpu",
        "gpu_available": False,
        "gpu_name": None,
        "languages": ["en", "de"],
        "default_speaker": "Beep",
    }


async def test_health_names_the_gpu_that_the_engine_runs_on() -> None:
    engine = SpeakingEngine()
    engine.capabilities = replace(engine.capabilities, gpu_name="NVIDIA GB10")
    async with serving(engine) as voice:
        health = await voice.get("GetServiceHealth")
    assert [health[name] for name in ("device", "gpu_available", "gpu_name")] == ["cuda", True, "NVIDIA GB10"]


async def test_languages_and_speakers_are_those_of_the_engine() -> None:
    async with serving() as voice:
        assert await voice.get("GetLanguages") == {
            "languages": {"en": "English", "de": "German"},
            "count": 2,
            "model": "fake",
            "voice_cloning": False,
        }
        assert await voice.get("GetSpeakers") == {"speakers": ["Beep", "Another"], "count": 2, "default": "Beep"}


def test_the_older_stack_had_17_languages() -> None:
    assert len(LANGUAGES) == 17
    assert "zh" not in LANGUAGES


async def test_a_text_becomes_a_wav_file_of_the_older_format() -> None:
    async with serving() as voice:
        # 100 ms for each letter
        assert 0.4 <= seconds(await voice.say(text="abcd")) < 0.9
        assert seconds(await voice.say(text="abcd efgh")) > 0.8


@pytest.mark.parametrize(
    "members",
    [
        {"language": "de"},
        {"speaker": None, "speaker_wav": None},
        {"speaker": "Another"},
        {"speaker": "another"},
        {"speaker_id": "x", "voice_id": "default", "speed": 1.0},
    ],
)
async def test_what_the_older_clients_send_is_spoken(members: dict[str, Any]) -> None:
    async with serving() as voice:
        assert seconds(await voice.say(text="hello", **members))


@pytest.mark.parametrize("language", ["xx", "zh", "zh-cn", "EN", "", "x" * 1000])
async def test_a_language_that_is_not_spoken_is_refused_with_those_that_are(language: str) -> None:
    async with serving() as voice:
        for answer in (
            await voice.say(text="hello", language=language),
            await voice.clone(text="hello", language=language or "fr", speaker_audio=b"sound"),
        ):
            assert answer.status == 400
            assert answer.detail.endswith("not supported. Supported: en, de")
            assert len(answer.detail) < 200


async def test_an_unknown_speaker_is_refused_with_the_known_ones() -> None:
    async with serving() as voice:
        answer = await voice.say(text="hello", speaker="Sofia Hellen")
    assert (answer.status, answer.detail) == (404, f"there is no speaker 'Sofia Hellen'; there are {SPEAKERS}")


@pytest.mark.parametrize("path", ["/nonexistent/lcc.wav", "../../../../etc/passwd", ""])
async def test_no_file_of_the_server_is_read(path: str) -> None:
    async with serving() as voice:
        answer = await voice.say(text="hello", speaker="Beep", speaker_wav=path)
    assert answer.status == 400
    assert answer.detail == (
        f"speaker_wav names a file of the server, and none is read here; choose a speaker instead: {SPEAKERS}"
    )


async def test_a_text_of_no_length_or_too_long_is_refused_in_words() -> None:
    async with serving() as voice:
        for text in ("", "x" * 20_001):
            answer = await voice.say(text=text)
            assert (answer.status, answer.detail) == (400, f"text has 1 to 20000 characters, not {len(text)}")


async def test_members_that_are_missing_or_wrong_are_named() -> None:
    async with serving() as voice:
        assert (await voice.say(language="de")).problems() == [("missing", ["body", "text"])]
        assert (await voice.say(text=7, language=None)).problems() == [
            ("string_type", ["body", "text"]),
            ("string_type", ["body", "language"]),
        ]
        nope = HttpBody(content_type="application/json", data=b"{nope")
        assert (await voice.synthesize(nope)).problems() == [("json_invalid", ["body", 1])]


async def test_cloning_is_refused_with_the_speakers_that_there_are() -> None:
    async with serving() as voice:
        answer = await voice.clone(text="hello", speaker_audio=b"sound")
        assert answer.status == 501
        assert answer.detail.endswith(SPEAKERS)
        assert (await voice.clone(text="hello")).problems() == [("missing", ["body", "speaker_audio"])]


async def test_a_recording_lends_its_voice_to_one_text(tmp_path: Path) -> None:
    engine = SpeakingEngine(clones_as="fake-1")
    async with serving(engine, tmp_path) as voice:
        assert (await voice.get("GetLanguages"))["voice_cloning"] is True
        for pitch_hz, length_s in ((130, 8), (310, 40)):
            recording = wav(speech_like(length_s, pitch_hz=pitch_hz))
            answer = await voice.clone(text="beeeeeeeeeeeep", language="de", speaker_audio=recording)
            assert seconds(answer, "cloned_speech.wav") > 1.4
            assert pitch_of(samples_of_pcm16(answer.body[44:])[:24_000], 24_000) == pytest.approx(pitch_hz, abs=2)
        assert (await voice.get("GetSpeakers"))["count"] == 2
    assert list((tmp_path / "voices").glob("*")) == []


async def test_a_recording_that_is_no_good_lends_no_voice() -> None:
    async with serving(SpeakingEngine(clones_as="fake-1")) as voice:
        for recording, status, said in [
            (b"sound", 400, "not a recording in a known format"),
            (wav(speech_like(1)), 400, "3 to 30 s of speech, not of 1.0 s"),
            (bytes(21 * 1024 * 1024), 400, "at most 20 MiB"),
        ]:
            answer = await voice.clone(text="hello", speaker_audio=recording)
            assert answer.status == status
            assert said in answer.detail
        assert (await voice.clone(text="x" * 20_001, speaker_audio=wav(speech_like(4)))).status == 400


async def test_a_speaker_may_be_a_voice_that_was_made_of_a_recording() -> None:
    async with channel_to(SpeakingEngine(clones_as="fake-1")) as channel:
        consent = tts_pb2.Voice.Consent(given=True, statement="It is mine")
        made = tts_pb2.Voice(display_name="Zoë", recording=wav(speech_like(8)), consent=consent)
        tts = tts_pb2_grpc.TextToSpeechServiceStub(channel)
        await tts.CreateVoice(tts_pb2.CreateVoiceRequest(voice_id="zoe", voice=made))
        voice = Voice(legacy_pb2_grpc.LegacyTextToSpeechServiceStub(channel))
        assert (await voice.get("GetSpeakers"))["speakers"] == ["Beep", "Another", "Zoë"]
        for speaker in ("Zoë", "zoe"):
            answer = await voice.say(text="beeeeeeeeeeeep", speaker=speaker)
            assert pitch_of(samples_of_pcm16(answer.body[44:])[:24_000], 24_000) == pytest.approx(130, abs=2)


async def test_a_voice_that_fails_and_one_that_is_taken_say_so() -> None:
    engine = SpeakingEngine()
    async with serving(engine) as voice:
        assert (await voice.say(text=BROKEN)).status == 500
        (speaker,) = engine.speakers
        speaker.may_work.clear()
        running = asyncio.ensure_future(voice.say(text="hello"))
        assert await asyncio.to_thread(speaker.is_held.wait, 10)
        answer = await voice.say(text="hello")
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        speaker.may_work.set()
        assert seconds(await running)
