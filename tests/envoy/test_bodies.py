"""Bodies that are too large, too many or too slow: each is refused in words, and everybody else is served."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc

from tests.envoy.test_edge import channel
from tests.envoy.test_lifetime import counted
from tests.fakes.edge_services import FakeEars, serving_ears, serving_page
from tests.legacy_calls import FORM
from tests.stack import Edge, running_envoy

pytestmark = pytest.mark.asyncio(loop_scope="module")
MIB = 1024 * 1024
PLACES, REQUEST_S = 4, 2
# Of them for JSON over 16 MiB, and for messages of gRPC.
JSON_PLACES, MESSAGE_PLACES = 1, 16
MANY = "too many large bodies are on their way; try again in 5 s"
SLOW = f"the request took too long to arrive; send it whole within {REQUEST_S} s"
# Where to, what is read there, and the port.
LIMITS = [
    ("/v1/speech:synthesize", 1, "tts"),
    ("/v1/speech:synthesizeStream", 1, "page"),
    ("/v1/conversations/one:say", 1, "legacy"),
    ("/v1/avatars", 28, "render"),
    ("/v1/avatars", 28, "page"),
    ("/v1/speech:recognize", 88, "stt"),
    ("/v1/speech:recognize", 88, "page"),
    ("/synthesize", 1, "tts"),
    ("/v1/voices", 28, "tts"),
    ("/v1/voices", 28, "page"),
    ("/synthesize-with-voice-clone", 21, "tts"),
    ("/api/render", 21, "render"),
    ("/render", 65, "render"),
    ("/transcribe", 65, "stt_second"),
]


@dataclass(frozen=True)
class Uploading:
    """A running Envoy with a recogniser behind it."""

    edge: Edge
    ears: FakeEars
    http: aiohttp.ClientSession

    def url(self, listener: str, path: str) -> str:
        scheme = "https" if listener == "page" else "http"
        return f"{scheme}://localhost:{getattr(self.edge.ports, listener)}{path}"

    async def post(self, listener: str, path: str, **options: Any) -> tuple[int, Any, str | None]:
        """Status, JSON and Retry-After."""
        async with self.http.post(self.url(listener, path), **options) as response:
            return response.status, await response.json(), response.headers.get("retry-after")

    async def heard(self, size: int) -> tuple[int, Any, str | None]:
        """What the recogniser says to so many bytes."""
        request = json.dumps({"audio": base64.b64encode(bytes(size)).decode()})
        return await self.post("stt", "/v1/speech:recognize", data=io.BytesIO(request.encode()))

    async def connect(self, head: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the recogniser's port on which a request has begun."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.edge.ports.stt)
        writer.write(f"POST {head}\r\nHost: localhost\r\nContent-Type: {FORM}\r\n\r\n".encode())
        return reader, writer

    async def served(self) -> None:
        """Return once a large body finds a place."""
        async with asyncio.timeout(20):
            while (await self.heard(MIB))[0] != 200:
                pass


@contextlib.asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[Uploading]:
    ears = FakeEars()
    async with (
        serving_ears(ears) as server,
        serving_page() as page,
        running_envoy({"stt": [server.port], "page": [page]}, arguments=arguments) as edge,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=edge.trust())) as http,
    ):
        yield Uploading(edge, ears, http)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def uploading() -> AsyncIterator[Uploading]:
    async with running("--large-bodies", str(PLACES)) as edge:
        yield edge


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def impatient() -> AsyncIterator[Uploading]:
    async with running("--request-s", str(REQUEST_S)) as edge:
        yield edge


def hearing(port: grpc.aio.Channel) -> Any:
    """A stream to the recogniser; the generated types know what it reads only as an object."""
    return stt_pb2_grpc.SpeechToTextServiceStub(port).StreamingRecognize()


async def pieces(count: int) -> AsyncIterator[bytes]:
    """A body of so many MiB, of which nobody says beforehand how long it is."""
    for _ in range(count):
        yield bytes(MIB)


def too_large(path: str, mib: int) -> dict[str, Any]:
    words = f"the body is too large; at most {mib} MiB are read"
    return {"code": 3, "message": words, "details": []} if path.startswith("/v1/") else {"detail": words}


# Size.


@pytest.mark.parametrize(("path", "mib", "listener"), LIMITS)
async def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(
    uploading: Uploading, path: str, mib: int, listener: str
) -> None:
    headers = {"content-length": str(mib * MIB + 1), "expect": "100-continue"}

    async def never() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async with asyncio.timeout(1):
        status, error, _ = await uploading.post(listener, path, data=never(), headers=headers)
    assert (status, error) == (413, too_large(path, mib))


@pytest.mark.parametrize(("path", "mib", "listener"), LIMITS)
async def test_a_body_of_untold_length_is_read_as_far_as_the_limit(
    uploading: Uploading, path: str, mib: int, listener: str
) -> None:
    status, error, _ = await uploading.post(listener, path, data=pieces(mib + 1))
    assert (status, error) == (413, too_large(path, mib))


@pytest.mark.slow
async def test_a_recording_at_the_limit_passes_in_json_and_in_grpc(uploading: Uploading) -> None:
    assert (await uploading.heard(64 * MIB))[:2] == (200, {"results": [], "transcript": str(64 * MIB)})
    async with channel(uploading.edge.ports.stt) as port:
        request = stt_pb2.RecognizeRequest(audio=bytes(64 * MIB))
        assert (await stt_pb2_grpc.SpeechToTextServiceStub(port).Recognize(request)).transcript == str(64 * MIB)


# Number.


@contextlib.asynccontextmanager
async def all_places_taken(uploading: Uploading, size: int = MIB, places: int = PLACES) -> AsyncIterator[None]:
    """As many large bodies as there are places wait for the recogniser, which hears them at the end."""
    uploading.ears.may_answer.clear()
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(uploading.heard(size)) for _ in range(places)]
        try:
            async with asyncio.timeout(20):
                await uploading.ears.until_listening_to(places)
            yield
        finally:
            uploading.ears.may_answer.set()
    assert [task.result()[0] for task in waiting] == [200] * places


async def test_one_large_body_more_than_there_are_places_is_told_to_come_again(uploading: Uploading) -> None:
    async with all_places_taken(uploading):
        assert await uploading.heard(MIB) == (429, {"code": 8, "message": MANY, "details": []}, "5")
        for data in (io.BytesIO(bytes(2 * MIB)), pieces(1)):
            assert await uploading.post("stt", "/transcribe", data=data) == (429, {"detail": MANY}, "5")
    await uploading.served()


async def test_large_json_has_a_place_of_its_own(uploading: Uploading) -> None:
    async with all_places_taken(uploading, 13 * MIB, JSON_PLACES):
        assert (await uploading.heard(13 * MIB))[0] == 429
        smaller = asyncio.create_task(uploading.heard(MIB))
        async with asyncio.timeout(20):
            await uploading.ears.until_listening_to(JSON_PLACES + 1)
    assert (await smaller)[0] == 200


async def test_messages_with_files_are_counted_too(uploading: Uploading) -> None:
    uploading.ears.may_answer.clear()
    async with channel(uploading.edge.ports.stt) as port:
        recognize = stt_pb2_grpc.SpeechToTextServiceStub(port).Recognize
        calls = [recognize(stt_pb2.RecognizeRequest(audio=b"1")) for _ in range(MESSAGE_PLACES)]
        async with asyncio.timeout(20):
            await uploading.ears.until_listening_to(MESSAGE_PLACES)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await recognize(stt_pb2.RecognizeRequest(audio=b"1"))
        assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, MANY)
        uploading.ears.may_answer.set()
        assert {(await call).transcript for call in calls} == {"1"}
        assert (await recognize(stt_pb2.RecognizeRequest(audio=b"1"))).transcript == "1"


async def test_small_bodies_streams_and_other_ports_are_served_meanwhile(uploading: Uploading) -> None:
    async with all_places_taken(uploading):
        small = asyncio.create_task(uploading.heard(1000))
        async with asyncio.timeout(20):
            await uploading.ears.until_listening_to(PLACES + 1)
        async with channel(uploading.edge.ports.stt) as port:
            call = hearing(port)
            await call.write(stt_pb2.StreamingRecognizeRequest(audio=b"123"))
            assert (await call.read()).result.transcript == "3"
            call.cancel()
        async with uploading.http.get(uploading.url("page", "/")) as response:
            assert response.status == 200
    assert (await small)[0] == 200


async def test_bodies_that_are_still_coming_take_places_and_those_who_vanish_give_them_back(
    uploading: Uploading,
) -> None:
    for _ in range(3):
        callers = [await uploading.connect(f"/transcribe HTTP/1.1\r\nContent-Length: {2 * MIB}") for _ in range(PLACES)]
        # Nobody else asks before all of them are there: one who finds no place is refused, and does not come again.
        async with asyncio.timeout(20):
            while await counted(uploading.edge, "http.stt.downstream_rq_active") < PLACES:
                pass
            while (await uploading.heard(MIB))[0] != 429:
                pass
        for _, writer in callers:
            writer.transport.abort()
        async with asyncio.timeout(20):
            while await counted(uploading.edge, "http.stt.downstream_rq_active"):
                pass
    assert (await uploading.heard(MIB))[0] == 200


# Time.


async def test_a_body_of_a_byte_now_and_then_is_ended_and_nothing_that_goes_on_is(impatient: Uploading) -> None:
    url = impatient.url("page", "/session")
    async with channel(impatient.edge.ports.stt) as port, impatient.http.ws_connect(url) as socket:
        call = hearing(port)
        await call.write(stt_pb2.StreamingRecognizeRequest(audio=b"1"))
        assert (await call.read()).result.transcript == "1"
        assert (await socket.receive_json())["path"] == "/session"
        began_s = asyncio.get_running_loop().time()
        reader, writer = await impatient.connect("/transcribe HTTP/1.1\r\nContent-Length: 1000000")
        answer = b""
        while not answer.endswith(b"}\n"):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    answer += await reader.read(4096)
            writer.write(b"-")
        took_s = asyncio.get_running_loop().time() - began_s
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert (int(head.split()[1]), json.loads(body)) == (408, {"detail": SLOW})
        assert REQUEST_S - 0.1 < took_s < REQUEST_S + 5
        # They are older than that.
        await call.write(stt_pb2.StreamingRecognizeRequest(audio=b"12"))
        assert (await call.read()).result.transcript == "2"
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        await socket.send_str("ha")
        assert await socket.receive_str() == "haha"


async def test_a_stream_that_never_begins_ends_in_words_over_grpc(impatient: Uploading) -> None:
    async with channel(impatient.edge.ports.stt) as port:
        call = stt_pb2_grpc.SpeechToTextServiceStub(port).StreamingRecognize()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
    assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.DEADLINE_EXCEEDED, SLOW)


async def test_an_answer_may_take_longer_than_the_request(impatient: Uploading) -> None:
    impatient.ears.may_answer.clear()
    waiting = asyncio.create_task(impatient.heard(1000))
    reader, writer = await impatient.connect("/transcribe HTTP/1.1\r\nContent-Length: 1000000")
    assert b" 408 " in await reader.readline()
    writer.close()
    assert not waiting.done()
    impatient.ears.may_answer.set()
    assert (await waiting)[0] == 200
