"""The older stack's routes at a real Envoy: statuses that gRPC lacks, methods, limits, and errors in {"detail"}."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
import yarl
from avatar.tts.v1 import legacy_pb2 as tts
from avatar.tts.v1 import legacy_pb2_grpc as tts_grpc
from google.api.httpbody_pb2 import HttpBody

from services.common.legacy_http import STATUS_KEY, HttpReply, json_reply
from tests.fakes.edge_legacy import FakeLegacyVoice, serving_legacy
from tests.legacy_calls import FORM, answer_of, form
from tests.stack import Edge, running_envoy

pytestmark = pytest.mark.asyncio(loop_scope="module")
MIB = 1024 * 1024


@dataclass(frozen=True)
class Older:
    """A running Envoy with the older stack's voice and ears behind it."""

    edge: Edge
    voice: FakeLegacyVoice
    http: aiohttp.ClientSession

    def url(self, path: str, listener: str = "tts") -> str:
        return f"http://localhost:{getattr(self.edge.ports, listener)}{path}"

    async def ask(self, method: str, path: str, listener: str = "tts", **options: Any) -> tuple[int, Any]:
        """Status and JSON."""
        async with self.http.request(method, self.url(path, listener), **options) as response:
            assert response.content_type == "application/json", await response.read()
            assert STATUS_KEY not in response.headers
            return response.status, await response.json()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def older() -> AsyncIterator[Older]:
    voice = FakeLegacyVoice()
    async with (
        serving_legacy(voice) as server,
        running_envoy({"tts": [server.port], "stt": [server.port]}) as edge,
        aiohttp.ClientSession() as http,
    ):
        yield Older(edge, voice, http)


@pytest.mark.parametrize("status", [200, 400, 404, 413, 422, 429, 500, 501, 503])
async def test_the_status_of_a_service_reaches_its_caller(older: Older, status: int) -> None:
    older.voice.reply = json_reply({"detail": "words"}, status)
    assert await older.ask("GET", "/speakers") == (status, {"detail": "words"})
    assert await older.ask("POST", "/synthesize", data=b"{}") == (status, {"detail": "words"})


async def test_headers_and_bytes_of_an_answer_pass(older: Older) -> None:
    sound = bytes(range(256)) * 20_000
    older.voice.reply = HttpReply(sound, "audio/wav", headers=(("content-disposition", "attachment; filename=s.wav"),))
    async with older.http.post(older.url("/synthesize"), json={"text": "x"}) as response:
        assert (response.status, response.content_type) == (200, "audio/wav")
        assert response.headers["content-disposition"] == "attachment; filename=s.wav"
        assert await response.read() == sound


async def test_a_form_reaches_the_service_byte_by_byte(older: Older) -> None:
    older.voice.reply = json_reply({})
    body = form({"text": "Grüße"}, {"speaker_audio": bytes(range(256)) * 5000})

    async def pieces() -> AsyncIterator[bytes]:
        for begin in range(0, len(body), 1000):
            yield body[begin : begin + 1000]

    for data in (io.BytesIO(body), pieces()):
        await older.ask("POST", "/synthesize-with-voice-clone", data=data, headers={"content-type": FORM})
        assert (older.voice.sent.content_type, older.voice.sent.data) == (FORM, body)


async def test_a_body_without_a_type_reaches_the_service(older: Older) -> None:
    older.voice.reply = json_reply({"detail": []}, 422)
    untyped: dict[str, Any] = {"skip_auto_headers": ["content-type"]}
    assert (await older.ask("POST", "/synthesize", data=b"{}", **untyped))[0] == 422
    assert (older.voice.sent.content_type, older.voice.sent.data) == ("", b"{}")
    assert (await older.ask("POST", "/synthesize", **untyped))[0] == 422
    assert older.voice.sent.data == b""


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "POST"])
async def test_another_method_is_405_and_the_right_one_is_named(older: Older, method: str) -> None:
    path, right = ("/health", "GET") if method == "POST" else ("/synthesize", "POST")
    async with older.http.request(method, older.url(path)) as response:
        assert (response.status, response.headers["allow"]) == (405, right)
        assert (response.content_type, await response.json()) == ("application/json", {"detail": "Method Not Allowed"})


async def test_head_is_405_as_ever(older: Older) -> None:
    async with older.http.head(older.url("/health")) as response:
        assert (response.status, response.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize("path", ["/", "/voices", "/healthy", "/health/x", "/api", "/v2/x", "/favicon.ico"])
async def test_a_path_that_nobody_knows_is_404_in_the_older_words(older: Older, path: str) -> None:
    for method in ("GET", "POST"):
        assert await older.ask(method, path) == (404, {"detail": "Not Found"})


async def test_our_own_paths_keep_our_own_errors(older: Older) -> None:
    status, error = await older.ask("GET", "/v1/nothing")
    assert (status, error["code"]) == (404, 5)


async def test_what_the_older_stack_never_read_does_no_harm(older: Older) -> None:
    older.voice.reply = json_reply({})
    assert (await older.ask("GET", "/health?verbose=1&x"))[0] == 200
    assert (await older.ask("POST", "/synthesize?speed=2", data=b"{}"))[0] == 200


async def test_the_address_of_a_transcription_is_read_and_its_port_told(older: Older) -> None:
    forged = {"x-avatar-listener": "forged"}
    query = "/transcribe?language=de&task=translate&target_language=en&unknown=1"
    # Nobody listens where the second recogniser would be: the first one answers for it.
    for listener in ("stt", "stt_second"):
        status, told = await older.ask("POST", query, listener, data=b"12345", headers=forged)
        assert status == 200
        assert told == {
            "size": 5,
            "language": "de",
            "task": "translate",
            "target_language": "en",
            "listener": listener,
        }


async def test_an_address_that_is_no_text_is_refused_in_the_older_shape(older: Older) -> None:
    url = yarl.URL(older.url("/transcribe?language=%FF", "stt"), encoded=True)
    async with older.http.post(url, data=b"") as response:
        assert response.status == 400
        assert await response.json() == {"detail": "the address holds what is not text in UTF-8"}


@pytest.mark.slow
async def test_a_body_at_the_limit_passes(older: Older) -> None:
    status, told = await older.ask("POST", "/transcribe", "stt", data=io.BytesIO(bytes(65 * MIB - 1)))
    assert (status, told["size"]) == (200, 65 * MIB - 1)


async def test_a_service_that_is_not_there_is_503_in_the_older_shape(older: Older) -> None:
    status, error = await older.ask("GET", "/expressions", "render")
    assert (status, error) == (503, {"detail": "the service is not running or not ready; try again in a few seconds"})
    status, error = await older.ask("POST", "/api/render", "render", data=form(), headers={"content-type": FORM})
    assert (status, set(error)) == (503, {"detail"})


async def test_a_service_that_loads_says_so_until_it_is_ready() -> None:
    async with (
        serving_legacy(FakeLegacyVoice(), ready=False) as server,
        running_envoy({"tts": [server.port]}) as edge,
        aiohttp.ClientSession() as http,
    ):
        loading = Older(edge, FakeLegacyVoice(), http)
        for method, path in (("GET", "/health"), ("POST", "/synthesize")):
            status, error = await loading.ask(method, path, data=b"{}")
            assert (status, error) == (503, {"detail": "the engine is loading; try again in a few seconds"})
        await server.ready()
        assert (await loading.ask("GET", "/health"))[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_a_foreign_page_is_refused_in_the_older_shape(older: Older, origin: str) -> None:
    status, error = await older.ask("POST", "/synthesize", data=b"{}", headers={"origin": origin})
    assert (status, set(error)) == (403, {"detail"})


async def test_a_status_that_is_none_is_not_believed(older: Older) -> None:
    older.voice.reply = HttpReply(b"{}", headers=((STATUS_KEY, "2000"),))
    async with older.http.get(older.url("/speakers")) as response:
        assert response.status == 200


async def test_a_native_caller_gets_the_status_as_metadata(older: Older) -> None:
    older.voice.reply = json_reply({"detail": "words"}, 422)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{older.edge.ports.tts}") as channel:
        stub = tts_grpc.LegacyTextToSpeechServiceStub(channel)
        answer = await answer_of(stub.SynthesizeFile(tts.SynthesizeFileRequest(json=HttpBody(data=b"{}"))))
    assert (answer.status, answer.detail) == (422, "words")


async def test_plain_http_at_the_old_signalling_is_told_to_upgrade_in_its_own_words(older: Older) -> None:
    for method, path in (("GET", "/"), ("GET", "/anything"), ("POST", "/session")):
        async with older.http.request(method, older.url(path, "legacy")) as response:
            assert (response.status, response.content_type) == (426, "text/plain")
            assert await response.text() == "Upgrade Required"


async def test_http_1_0_is_served_as_ever(older: Older) -> None:
    older.voice.reply = json_reply({"status": "healthy"})
    reader, writer = await asyncio.open_connection("127.0.0.1", older.edge.ports.tts)
    writer.write(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(10):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert (head.split()[1], json.loads(body)) == (b"200", {"status": "healthy"})


async def test_malformed_http_gets_an_error_and_harms_nobody(older: Older) -> None:
    older.voice.reply = json_reply({})
    requests = (
        b"POST /synthesize HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /synthesize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 65536 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    )
    for request in requests:
        reader, writer = await asyncio.open_connection("127.0.0.1", older.edge.ports.tts)
        writer.write(request)
        writer.write_eof()
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        assert not answer or 400 <= int(answer.split()[1]) < 500
        assert (await older.ask("GET", "/health"))[0] == 200
