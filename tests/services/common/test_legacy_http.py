"""Requests and answers of the older stack's routes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from avatar.tts.v1 import legacy_pb2, legacy_pb2_grpc
from google.api.httpbody_pb2 import HttpBody
from pydantic import BaseModel, Field

from services.common import legacy_http
from services.common.errors import (
    AvatarError,
    EngineError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    UnsupportedError,
)
from services.common.legacy_http import MAX_JSON_BYTES, FormFile, HttpError, HttpReply, form_of, json_of
from services.common.multipart_form import TooLargeError, Upload
from services.common.server import Server
from services.common.settings import DrainSettings, ServerSettings
from tests.legacy_calls import Answer, answer_of, form_body, json_body

NAME = "avatar.tts.v1.LegacyTextToSpeechService"


class Form(BaseModel):
    file: FormFile
    loud: bool = False
    rate: float = Field(default=1.0, allow_inf_nan=False)


class Text(BaseModel):
    text: str
    speaker: str | None = None


class Scripted(legacy_pb2_grpc.LegacyTextToSpeechServiceServicer):
    """Does in GetSpeakers what the test says."""

    def __init__(self, work: Awaitable[HttpReply]) -> None:
        self._work = work

    async def GetSpeakers(self, request: Any, context: Any) -> HttpBody:
        return await legacy_http.answer(context, "GetSpeakers", self._work)


async def answered(work: Awaitable[HttpReply] | None) -> Answer:
    """What a caller gets of some work over real gRPC; None for a server that is not ready."""
    settings = ServerSettings(drain=DrainSettings(announce_s=0.0, grace_s=1.0))
    server = Server(settings, [NAME])
    await server.start()
    try:
        if work is not None:
            legacy_pb2_grpc.add_LegacyTextToSpeechServiceServicer_to_server(
                Scripted(work),  # type: ignore[abstract]
                server.grpc,
            )
            await server.ready()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = legacy_pb2_grpc.LegacyTextToSpeechServiceStub(channel)
            return await answer_of(stub.GetSpeakers(legacy_pb2.GetSpeakersRequest()))
    finally:
        await server.stop()


async def failing(error: Exception) -> HttpReply:
    raise error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidRequestError("send a face"), 400),
        (TooLargeError("send less"), 413),
        (NotFoundError("no such voice"), 404),
        (UnsupportedError("this engine does not"), 501),
        (EngineError("the model failed"), 500),
        (ExceptionGroup("tasks", [NotFoundError("in a group")]), 404),
    ],
)
async def test_an_error_of_the_domain_has_a_status_and_keeps_its_sentence(error: Exception, status: int) -> None:
    answer = await answered(failing(error))
    sentence = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
    assert (answer.status, answer.detail) == (status, str(sentence))


async def test_who_finds_no_place_is_told_when_to_come_again() -> None:
    answer = await answered(failing(OverloadedError("all 8 streams are taken", retry_after_s=1.5)))
    assert (answer.status, answer.headers["retry-after"]) == (429, "2")


async def test_a_bug_is_hidden_from_the_caller() -> None:
    answer = await answered(failing(ZeroDivisionError("secret")))
    assert answer.status == 500
    assert b"secret" not in answer.body


async def test_a_service_that_loads_answers_503_in_words() -> None:
    answer = await answered(None)
    assert (answer.status, answer.detail) == (503, "the engine is loading; try again in a few seconds")


async def test_a_caller_who_leaves_stops_the_work() -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def wait() -> HttpReply:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        raise AssertionError

    call = asyncio.create_task(answered(wait()))
    await entered.wait()
    call.cancel()
    async with asyncio.timeout(5):
        await left.wait()
    await asyncio.gather(call, return_exceptions=True)


async def refused(work: Awaitable[Any]) -> list[tuple[str, list[Any], Any]]:
    """Kind, place and shown input of each problem."""
    with pytest.raises(HttpError) as raised:
        await work
    assert raised.value.status == 422
    assert isinstance(raised.value.detail, list)
    json.dumps(raised.value.detail, allow_nan=False).encode()
    return [(problem["type"], problem["loc"], problem["input"]) for problem in raised.value.detail]


async def test_a_form_is_read_as_its_model_says() -> None:
    read = await form_of(Form, form_body({"loud": "yes", "rate": "0.5", "unknown": "x"}, {"file": b"sound"}))
    assert read == Form(file=Upload(b"sound"), loud=True, rate=0.5)


async def test_an_empty_text_counts_as_absent() -> None:
    read = await form_of(Form, form_body({"loud": "", "rate": ""}, {"file": b""}))
    assert read == Form(file=Upload(b""))


async def test_every_field_that_is_wrong_is_named() -> None:
    problems = await refused(form_of(Form, form_body({"loud": "maybe", "rate": "abc"})))
    assert problems == [
        ("missing", ["body", "file"], None),
        ("bool_parsing", ["body", "loud"], "maybe"),
        ("float_parsing", ["body", "rate"], "abc"),
    ]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (form_body({"file": "text"}), ("value_error", ["body", "file"], "text")),
        (form_body({"rate": "nan"}, {"file": b""}), ("finite_number", ["body", "rate"], "nan")),
        (form_body(files={"file": b"", "loud": b"1"}), ("bool_type", ["body", "loud"], None)),
        (HttpBody(content_type="application/json", data=b"{}"), ("missing", ["body", "file"], None)),
        (HttpBody(), ("missing", ["body", "file"], None)),
    ],
)
async def test_a_form_that_does_not_fit_is_refused_by_field(
    body: HttpBody, problem: tuple[str, list[str], Any]
) -> None:
    assert await refused(form_of(Form, body)) == [problem]


async def test_json_is_read_as_its_model_says() -> None:
    assert await json_of(Text, json_body({"text": "hello", "speaker": None, "voice_id": 7})) == Text(text="hello")


@pytest.mark.parametrize(
    ("data", "content_type", "problem"),
    [
        (b'{"speaker": "x"}', "application/json", ("missing", ["body", "text"], None)),
        (b'{"text": 7}', "application/json; charset=utf-8", ("string_type", ["body", "text"], 7)),
        (b'{"text": {"a": [1, null]}}', "application/json", ("string_type", ["body", "text"], None)),
        (b'{"text": NaN}', "application/json", ("string_type", ["body", "text"], None)),
        (b'{"text": "\\ud83d"}', "application/json", ("json_invalid", ["body", 0], None)),
        (b"{nope", "application/json", ("json_invalid", ["body", 1], None)),
        (b"\xff\xfe", "application/json", ("json_invalid", ["body", 0], None)),
        (b"[" * 100_000, "application/json", ("json_invalid", ["body", 0], None)),
        (b'{"text": %s}' % (b"1" * 10_000), "application/json", ("json_invalid", ["body", 0], None)),
        (b"[]", "application/json", ("model_attributes_type", ["body"], None)),
        (b'"text"', "application/json", ("model_attributes_type", ["body"], "text")),
        (b"", "application/json", ("missing", ["body"], None)),
        (b'{"text": "x"}', "text/plain", ("json_type", ["body"], None)),
        (b'{"text": "x"}', "", ("json_type", ["body"], None)),
    ],
)
async def test_json_that_does_not_fit_is_refused_by_member(
    data: bytes, content_type: str, problem: tuple[str, list[Any], Any]
) -> None:
    assert await refused(json_of(Text, HttpBody(content_type=content_type, data=data))) == [problem]


async def test_a_problem_shows_no_long_input() -> None:
    ((_, _, shown),) = await refused(form_of(Form, form_body({"loud": "x" * 1000}, {"file": b""})))
    assert shown is None


def test_every_error_of_the_domain_has_a_status() -> None:
    for error in AvatarError.__subclasses__():
        assert legacy_http.reply_of(error("words")).status in (400, 404, 413, 429, 500, 501, 503), error


async def test_json_is_read_up_to_a_mebibyte() -> None:
    longest = json_body({"text": "a", "more": "x" * (MAX_JSON_BYTES - 25)})
    assert len(longest.data) == MAX_JSON_BYTES
    assert (await json_of(Text, longest)).text == "a"
    longest.data += b" "
    with pytest.raises(TooLargeError, match="1048577 bytes; send at most 1 MiB"):
        await json_of(Text, longest)
