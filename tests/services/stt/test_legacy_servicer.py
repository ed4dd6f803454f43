"""The older stack's recognisers, over real gRPC with an engine that counts quarter seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from avatar.media.v1 import media_pb2
from avatar.stt.v1 import legacy_pb2, legacy_pb2_grpc
from google.api.httpbody_pb2 import HttpBody

from services.common.audio import pcm16_of, wav_of
from services.common.legacy_http import LISTENER_KEY
from services.common.server import Server
from services.common.settings import DrainSettings
from services.stt.legacy_languages import CANARY, WHISPER, WHISPER_COMMON
from services.stt.legacy_servicer import CANARY_LISTENER, LegacySpeechToTextServicer
from services.stt.servicer import SpeechToTextServicer
from services.stt.settings import SttSettings
from tests.fakes.hearing_engine import HearingEngine, LoudnessDetector, ScriptedTurnModel, loud, quiet
from tests.legacy_calls import Answer, answer_of, form_body

NAME = "avatar.stt.v1.LegacySpeechToTextService"
SPEECH = wav_of(b"".join(map(pcm16_of, [quiet(1), loud(0.5), quiet(2), loud(0.25), quiet(1)])), 16_000)
TEXT = "one two three one two"


class Recogniser:
    """A caller. Args: metadata: what Envoy adds."""

    def __init__(self, stub: Any, listener: str) -> None:
        self._stub = stub
        self._metadata = ((LISTENER_KEY, listener),)

    async def get(self, method: str) -> Any:
        request = getattr(legacy_pb2, f"{method}Request")()
        answer = await answer_of(getattr(self._stub, method)(request, metadata=self._metadata))
        assert answer.status == 200
        return answer.json

    async def transcribe(self, body: HttpBody, **query: str) -> Answer:
        request = legacy_pb2.TranscribeRequest(form=body, **query)
        return await answer_of(self._stub.Transcribe(request, metadata=self._metadata))

    async def hear(self, recording: bytes = SPEECH, /, **texts: str) -> Answer:
        return await self.transcribe(form_body(texts, {"file": recording}))


@asynccontextmanager
async def serving(
    listener: str,
    languages: tuple[str, ...] = ("en", "de"),
    *,
    is_gifted: bool = False,
    names_languages: bool = True,
    **settings: Any,
) -> AsyncIterator[Recogniser]:
    options = SttSettings(port=0, drain=DrainSettings(announce_s=0.0, grace_s=2.0), **settings)
    server = Server(options, [NAME])
    await server.start()
    info = media_pb2.EngineInfo(name="fake", reason="a test asked for it")
    engine = HearingEngine(languages, is_gifted=is_gifted, names_languages=names_languages)
    recogniser = SpeechToTextServicer(engine, info, LoudnessDetector, ScriptedTurnModel(0.9), options)
    older = LegacySpeechToTextServicer(recogniser, "fake", engine.capabilities)
    legacy_pb2_grpc.add_LegacySpeechToTextServiceServicer_to_server(older, server.grpc)
    await server.ready()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield Recogniser(legacy_pb2_grpc.LegacySpeechToTextServiceStub(channel), listener)
    finally:
        await server.stop()


@asynccontextmanager
async def whisper(**settings: Any) -> AsyncIterator[Recogniser]:
    async with serving("stt", **settings) as recogniser:
        yield recogniser


@asynccontextmanager
async def canary(**settings: Any) -> AsyncIterator[Recogniser]:
    async with serving(CANARY_LISTENER, **settings) as recogniser:
        yield recogniser


async def test_health_has_the_fields_of_both_stacks() -> None:
    for dialect in (whisper, canary):
        async with dialect() as recogniser:
            health = await recogniser.get("GetServiceHealth")
        assert (health["status"], health["model_loaded"], health["model"], health["device"]) == (
            *("healthy", True, "fake", "cpu"),
        )
        assert health["languages"] == ["en", "de"]
        assert health["features"]
        assert health["engine"] == {"name": "fake", "reason": "a test asked for it"}
        assert health["language_codes"] == ["en", "de"]


async def test_each_dialect_lists_its_languages_in_its_own_way() -> None:
    async with whisper() as recogniser:
        listed = await recogniser.get("GetLanguages")
        assert (listed["total"], listed["common"]) == (2, ["en", "de"])
        assert "fake" in listed["note"]
    async with canary() as recogniser:
        listed = await recogniser.get("GetLanguages")
        assert listed == {"languages": ["en", "de"], "count": 2, "translation_pairs": []}


async def test_of_many_languages_the_common_ones_are_told() -> None:
    every = (*WHISPER, "tlh")
    async with whisper(languages=every) as recogniser:
        listed = await recogniser.get("GetLanguages")
        assert (listed["total"], set(listed["common"])) == (len(WHISPER), set(WHISPER_COMMON))
    async with canary(languages=every) as recogniser:
        assert set((await recogniser.get("GetLanguages"))["languages"]) == set(CANARY)


async def test_a_recording_is_transcribed_and_its_language_told() -> None:
    async with whisper() as recogniser:
        answer = await recogniser.hear()
        assert answer.json == {"text": TEXT, "language": "en", "chunks": None}
        assert (await recogniser.hear(language="de", task="transcribe", include_segments="x")).json["language"] == "de"


@pytest.mark.parametrize("language", ["german", "German", "DE"])
async def test_whispers_names_of_languages_are_known_and_come_back_as_they_were_sent(language: str) -> None:
    async with whisper() as recogniser:
        assert (await recogniser.hear(language=language)).json["language"] == language


async def test_the_first_name_of_the_files_field_still_works() -> None:
    async with whisper() as recogniser:
        answer = await recogniser.transcribe(form_body(files={"audio": SPEECH}))
    assert answer.json["text"] == TEXT


async def test_times_are_told_when_they_are_asked_for() -> None:
    async with whisper() as recogniser:
        first, second = (await recogniser.hear(return_timestamps="true")).json["chunks"]
        assert (await recogniser.hear(return_timestamps="off")).json["chunks"] is None
    assert (first["text"], second["text"]) == ("one two three", "one two")
    assert 0.5 < first["timestamp"][0] < 1 < first["timestamp"][1] < second["timestamp"][0] < 3.5


async def test_canary_reads_its_options_from_the_address_and_from_the_form() -> None:
    async with canary() as recogniser:
        form = form_body({"language": "de"}, {"file": SPEECH})
        assert (await recogniser.transcribe(form)).json == {"text": TEXT, "language": "de"}
        assert (await recogniser.transcribe(form, language="en")).json["language"] == "en"
        assert (await recogniser.hear()).json["language"] == "en"
        assert (await recogniser.transcribe(form, task="sing")).status == 400


async def test_whisper_never_read_the_address() -> None:
    async with whisper() as recogniser:
        answer = await recogniser.transcribe(form_body(files={"file": SPEECH}), language="xx", task="sing")
    assert answer.json["language"] == "en"


@pytest.mark.parametrize("dialect", [whisper, canary])
@pytest.mark.parametrize("language", ["xx", "fr", "klingon", "en-", "x" * 1000])
async def test_a_language_that_is_not_heard_is_refused_with_those_that_are(dialect: Any, language: str) -> None:
    async with dialect() as recogniser:
        answer = await recogniser.hear(language=language)
    assert answer.status == 400
    assert "en (english), de (german)" in answer.detail
    assert len(answer.detail) < 200


@pytest.mark.parametrize("dialect", [whisper, canary])
async def test_a_translation_is_refused_with_what_is_done(dialect: Any) -> None:
    async with dialect() as recogniser:
        answer = await recogniser.hear(task="translate")
    assert answer.status == 501
    assert answer.detail == "the engine fake does not translate; use the task transcribe, for en, de"


async def test_whisper_finds_out_the_language_and_tells_it() -> None:
    async with whisper(is_gifted=True) as recogniser:
        assert (await recogniser.hear()).json["language"] == "de"
        assert (await recogniser.hear(language="English")).json["language"] == "English"
        silence = wav_of(pcm16_of(quiet(1)), 16_000)
        assert (await recogniser.hear(silence)).json == {"text": "", "language": None, "chunks": None}
        assert "finds out" in (await recogniser.get("GetLanguages"))["note"]
        assert "language detection" in (await recogniser.get("GetServiceHealth"))["features"]


async def test_no_language_is_told_where_the_engine_names_none() -> None:
    async with whisper(is_gifted=True, names_languages=False) as recogniser:
        assert (await recogniser.hear()).json["language"] is None
        assert (await recogniser.hear(language="de")).json["language"] == "de"
        assert "language detection" not in (await recogniser.get("GetServiceHealth"))["features"]


async def test_canary_translates_to_the_language_that_is_asked_for() -> None:
    async with canary(is_gifted=True) as recogniser:
        french = {"text": "un deux trois un deux", "language": "en"}
        texts = {"language": "en", "target_language": "fr"}
        assert (await recogniser.hear(**texts, task="translate")).json == french
        assert (await recogniser.hear(**texts, task="transcribe")).json == {"text": TEXT, "language": "en"}
        form = form_body({"language": "en"}, {"file": SPEECH})
        assert (await recogniser.transcribe(form, task="translate", target_language="fr")).json == french
        refused = await recogniser.hear(language="en", task="translate")
        assert (refused.status, refused.detail) == (400, "fake does not translate to 'en', but to: fr")
        assert (await recogniser.get("GetLanguages"))["translation_pairs"] == ["de-fr", "en-fr"]
        assert {"translation", "language detection"} <= set((await recogniser.get("GetServiceHealth"))["features"])


async def test_whisper_translates_to_english_alone() -> None:
    async with whisper(is_gifted=True) as recogniser:
        refused = await recogniser.hear(language="de", task="translate")
    assert (refused.status, refused.detail) == (400, "fake does not translate to 'en', but to: fr")


@pytest.mark.parametrize("dialect", [whisper, canary])
async def test_an_unknown_task_is_refused_with_the_known_ones(dialect: Any) -> None:
    async with dialect() as recogniser:
        answer = await recogniser.hear(task="sing")
    assert (answer.status, answer.detail) == (400, "there is no task 'sing'; there are transcribe, translate")


async def test_fields_that_are_missing_or_wrong_are_named() -> None:
    async with whisper() as recogniser:
        answer = await recogniser.transcribe(form_body({"language": "de", "return_timestamps": "maybe"}))
        assert answer.problems() == [
            ("missing", ["body", "file"]),
            ("bool_parsing", ["body", "return_timestamps"]),
        ]
    async with canary() as recogniser:
        answer = await recogniser.transcribe(form_body({"x": "y"}))
        assert answer.problems() == [("missing", ["body", "file"])]


@pytest.mark.parametrize("recording", [b"", b"this is not audio", SPEECH[: len(SPEECH) // 2]])
async def test_what_is_no_whole_recording_is_refused_in_words(recording: bytes) -> None:
    async with whisper(max_streams=1) as recogniser:
        for _ in range(2):
            answer = await recogniser.hear(recording)
            assert answer.status == 400
            assert "recording" in answer.detail or "audio is empty" in answer.detail
        assert (await recogniser.hear()).status == 200


async def test_a_form_that_is_cut_off_is_refused() -> None:
    body = form_body(files={"file": SPEECH})
    body.data = body.data[:1000]
    async with whisper() as recogniser:
        answer = await recogniser.transcribe(body)
    assert answer.status == 400
    assert "cut off" in answer.detail
