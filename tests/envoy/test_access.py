"""With a token, nobody comes in without it: by every port, in every kind of call."""

from __future__ import annotations

import asyncio
import contextlib
import json
import stat
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from avatar.tts.v1 import tts_pb2 as tts
from avatar.tts.v1 import tts_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.envoy.conftest import Behind
from tests.fakes.edge_services import (
    TTS,
    FakeConversations,
    FakeSpeech,
    serving_conversations,
    serving_page,
    serving_speech,
)
from tests.stack import ROOT, running_envoy
from tools.cli.channel import channel_to

pytestmark = pytest.mark.asyncio(loop_scope="module")
TOKEN = "Zk-3_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
BEARER = {"authorization": f"Bearer {TOKEN}"}
LISTENERS = ("render", "tts", "stt", "stt_second", "page", "legacy")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Behind]:
    """An Envoy that asks for the token, and a client that knows it only where a test says so."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "token").write_text(f"{TOKEN}\n")
    arguments = ["--token-file", str(folder / "token"), "--access-log", str(folder / "access.jsonl")]
    speech, conversations = FakeSpeech(), FakeConversations()
    async with contextlib.AsyncExitStack() as held:
        voice = await held.enter_async_context(serving_speech(speech))
        conversation = await held.enter_async_context(serving_conversations(conversations))
        upstreams = {"tts": [voice.port], "conversation": [conversation.port]}
        upstreams["page"] = [await held.enter_async_context(serving_page())]
        edge = await held.enter_async_context(running_envoy(upstreams, arguments=arguments))
        client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=edge.trust()), cookie_jar=aiohttp.DummyCookieJar()
        )
        http = await held.enter_async_context(client)
        yield Behind(edge, speech, conversations, http, voice.port)


def cookie(behind: Behind) -> dict[str, str]:
    return {"cookie": f"theme=dark; __Host-avatar-{behind.edge.ports.page}={TOKEN}; other=1"}


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": "Bearer "},
        {"authorization": TOKEN},
        {"authorization": f"Basic {TOKEN}"},
        {"x-authorization": f"Bearer {TOKEN}"},
    ],
    ids=["none", "wrong", "empty", "bare", "basic", "elsewhere"],
)
@pytest.mark.parametrize(
    "path", ["/health", "/v1/voices", "/api/render", "/metrics", "/openapi.json", "/", "/?token=wrong"]
)
async def test_a_stranger_is_told_how_to_send_the_token(
    guarded: Behind, listener: str, headers: dict[str, str], path: str
) -> None:
    for method in ("GET", "POST", "HEAD", "OPTIONS"):
        async with guarded.http.request(method, guarded.url(listener, path), headers=headers) as response:
            assert response.status == 401
            assert response.headers["www-authenticate"] == 'Bearer realm="avatar"'
            if method != "HEAD":
                assert response.content_type == "application/json"
                error = await response.json()
                # The older stack's routes have its shape of an error.
                old = "detail" in error and not path.startswith("/v1/")
                assert old or (error["code"], error["details"]) == (16, [])
                assert "'Authorization: Bearer TOKEN'" in error["detail" if old else "message"]


@pytest.mark.parametrize("listener", LISTENERS)
async def test_who_sends_the_token_meets_what_is_behind(guarded: Behind, listener: str) -> None:
    path = {"page": "/health", "legacy": "/health", "render": "/v1/avatars"}.get(listener, "/v1/voices")
    async with guarded.http.get(guarded.url(listener, path), headers=BEARER) as response:
        # Of some nobody is behind this proxy, and others have no voices.
        assert response.status == {"render": 503, "stt": 404, "stt_second": 404}.get(listener, 200)
    scheme = {"authorization": f"bearer {TOKEN}"}
    async with guarded.http.get(guarded.url(listener, "/nothing"), headers=scheme) as response:
        assert response.status in (404, 426)


Outcome = tuple[grpc.StatusCode, str]


async def outcome(stream: Any, request: Any, token: str | None) -> Outcome:
    """How a stream ended; a stranger's ends before anything was said."""
    if token == TOKEN:
        await stream.write(request)
        await stream.done_writing()
        async for _ in stream:
            pass
    return await stream.code(), str(await stream.details())


async def unary(port: int, token: str | None) -> Outcome:
    async with channel_to(port, token) as channel:
        call = tts_pb2_grpc.TextToSpeechServiceStub(channel).ListVoices(tts.ListVoicesRequest())
        return await call.code(), str(await call.details())


async def bidirectional(port: int, token: str | None) -> Outcome:
    async with channel_to(port, token) as channel:
        text = tts.StreamingSynthesizeRequest(text=tts.StreamingSynthesizeRequest.TextChunk(text="a"))
        return await outcome(tts_pb2_grpc.TextToSpeechServiceStub(channel).StreamingSynthesize(), text, token)


async def health(port: int, token: str | None) -> Outcome:
    async with channel_to(port, token) as channel:
        call = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        return await call.code(), str(await call.details())


async def health_watch(port: int, token: str | None) -> Outcome:
    async with channel_to(port, token) as channel:
        call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=1 if token else 10)
        return await call.code(), str(await call.details())


async def reflection(port: int, token: str | None) -> Outcome:
    async with channel_to(port, token) as channel:
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        return await outcome(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(), question, token)


async def unknown(port: int, token: str | None) -> Outcome:
    async with channel_to(port, token) as channel:
        nothing = channel.unary_unary(
            "/avatar.none.v1.None/Call", tts.ListVoicesRequest.SerializeToString, tts.ListVoicesResponse.FromString
        )
        call = nothing(tts.ListVoicesRequest())
        return await call.code(), str(await call.details())


@pytest.mark.parametrize(
    ("call", "served"),
    [
        (unary, grpc.StatusCode.OK),
        (bidirectional, grpc.StatusCode.OK),
        (health, grpc.StatusCode.OK),
        # It goes on until the caller has had enough.
        (health_watch, grpc.StatusCode.DEADLINE_EXCEEDED),
        (reflection, grpc.StatusCode.OK),
        (unknown, grpc.StatusCode.UNIMPLEMENTED),
    ],
)
async def test_native_grpc_is_unauthenticated_without_the_token_and_served_with_it(
    guarded: Behind, call: Callable[[int, str | None], Awaitable[Outcome]], served: grpc.StatusCode
) -> None:
    port = guarded.edge.ports.tts
    for token in (None, f"{TOKEN}x"):
        code, said = await call(port, token)
        assert code is grpc.StatusCode.UNAUTHENTICATED, said
        assert "'Authorization: Bearer TOKEN'" in said
    assert (await call(port, TOKEN))[0] is served


@pytest.mark.parametrize("listener", LISTENERS)
async def test_no_port_lets_a_native_call_in(guarded: Behind, listener: str) -> None:
    port = getattr(guarded.edge.ports, listener)
    if listener != "page":
        code, _ = await health(port, None)
    else:
        credentials = grpc.ssl_channel_credentials(guarded.edge.certificate.read_bytes())
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as secure:
            voices = tts_pb2_grpc.TextToSpeechServiceStub(secure)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await voices.ListVoices(tts.ListVoicesRequest())
            code = refused.value.code()
            # gRPC's own way to send a token works where there is TLS.
            bearer = grpc.access_token_call_credentials(TOKEN)
            assert (await voices.ListVoices(tts.ListVoicesRequest(), credentials=bearer)).voices
    assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_grpc_web_is_unauthenticated_without_the_token(guarded: Behind) -> None:
    url = guarded.url("page", f"/{TTS}/ListVoices")
    kind = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
    frame = struct.pack(">BI", 0, 0)
    async with guarded.http.post(url, data=frame, headers=kind) as response:
        assert response.headers["grpc-status"] == "16"
        assert "Authorization" in response.headers["grpc-message"]
    async with guarded.http.post(url, data=frame, headers=kind | cookie(guarded)) as response:
        assert b"grpc-status:0" in (await response.read()).replace(b" ", b"")


@pytest.mark.parametrize(
    ("listener", "path", "how", "status"),
    [
        ("page", "/session", "nothing", 401),
        ("page", "/session", "header", 101),
        ("page", "/session", "cookie", 101),
        ("page", "/session", "address", 101),
        ("page", "/session", "wrong address", 401),
        ("legacy", "/any/path", "nothing", 401),
        ("legacy", "/any/path", "header", 101),
        ("legacy", "/any/path", "address", 101),
        ("legacy", "/any/path", "wrong address", 401),
        # Without TLS no browser sends it, and a thief should gain nothing.
        ("legacy", "/any/path", "cookie", 401),
    ],
)
async def test_a_websocket_carries_the_token_as_it_can(
    guarded: Behind, listener: str, path: str, how: str, status: int
) -> None:
    headers = {"header": BEARER, "cookie": cookie(guarded)}.get(how, {})
    query = {"address": f"?reply=echo&token={TOKEN}", "wrong address": f"?token={TOKEN}x"}.get(how, "")
    try:
        async with guarded.http.ws_connect(guarded.url(listener, path + query), headers=headers) as socket:
            assert (await socket.receive_json())["listener"] == [listener]
            reached = 101
    except aiohttp.WSServerHandshakeError as refused:
        reached = refused.status
    assert reached == status


async def test_the_pages_address_with_the_token_becomes_a_cookie_and_the_clean_address(guarded: Behind) -> None:
    url = guarded.url("page", f"/?token={TOKEN}")
    async with guarded.http.get(url, allow_redirects=False) as response:
        assert response.status == 303
        assert response.headers["location"] == f"{guarded.edge.page_url}/"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["referrer-policy"] == "no-referrer"
        name, _, attributes = response.headers["set-cookie"].partition("=")
    assert name == f"__Host-avatar-{guarded.edge.ports.page}"
    token, *flags = attributes.split("; ")
    assert token == TOKEN
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"} < set(flags)
    for path in ("/", "/v1/voices", "/health"):
        async with guarded.http.get(guarded.url("page", path), headers=cookie(guarded)) as response:
            assert response.status == 200


@pytest.mark.parametrize("listener", ["tts", "legacy"])
async def test_only_the_page_gives_and_takes_a_cookie(guarded: Behind, listener: str) -> None:
    async with guarded.http.get(guarded.url(listener, f"/?token={TOKEN}")) as response:
        assert response.status == 401
        assert "set-cookie" not in response.headers
    async with guarded.http.get(guarded.url(listener, "/health"), headers=cookie(guarded)) as response:
        assert response.status == 401


@pytest.mark.parametrize("value", ["{name}=", "{name}=x{token}", "{token}", "other={token}", "{name}={start}"])
async def test_a_cookie_that_is_nearly_right_is_wrong(guarded: Behind, value: str) -> None:
    name = f"__Host-avatar-{guarded.edge.ports.page}"
    headers = {"cookie": value.format(name=name, token=TOKEN, start=TOKEN[:-1])}
    async with guarded.http.get(guarded.url("page", "/"), headers=headers) as response:
        assert response.status == 401


async def test_the_token_is_not_read_from_the_address_of_a_call_that_changes_something(guarded: Behind) -> None:
    url = guarded.url("page", f"/v1/conversations/one:say?token={TOKEN}")
    async with guarded.http.post(url, json={"text": "hello"}) as response:
        assert response.status == 401


async def test_a_person_without_the_token_sees_a_page_that_asks_for_it(guarded: Behind) -> None:
    accept = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    async with guarded.http.get(guarded.url("page", "/"), headers=accept) as response:
        assert (response.status, response.content_type) == (401, "text/html")
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert '<input name="token"' in await response.text()


async def test_what_is_behind_sees_neither_header_nor_cookie(guarded: Behind) -> None:
    headers = BEARER | cookie(guarded) | {"x-session-id": "one"}
    async with guarded.http.get(guarded.url("page", "/echo"), headers=headers) as response:
        seen = {name.lower(): value for name, value in (await response.json()).items()}
    assert seen["x-session-id"] == "one"
    assert TOKEN not in json.dumps(seen)


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:3000", "https://localhost:9999", "null"])
async def test_a_page_from_elsewhere_is_refused_even_with_the_cookie(guarded: Behind, origin: str) -> None:
    headers = cookie(guarded) | {"origin": origin}
    async with guarded.http.get(guarded.url("page", "/v1/voices"), headers=headers) as response:
        assert response.status == 403
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        await guarded.http.ws_connect(guarded.url("page", "/session"), headers=headers)
    ours = cookie(guarded) | {"origin": guarded.edge.page_url}
    async with guarded.http.get(guarded.url("page", "/v1/voices"), headers=ours) as response:
        assert response.status == 200


async def test_a_large_body_without_the_token_is_refused_before_it_is_sent(guarded: Behind) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", guarded.edge.ports.tts)
    try:
        writer.write(b"POST /v1/speech:synthesize HTTP/1.1\r\nhost: localhost\r\ncontent-length: 80000000\r\n\r\n")
        async with asyncio.timeout(5):
            assert b" 401 " in await reader.readline()
    finally:
        writer.close()


async def test_no_other_user_of_the_machine_can_read_the_token(guarded: Behind) -> None:
    assert stat.S_IMODE(guarded.edge.config.stat().st_mode) == 0o600
    assert TOKEN in guarded.edge.config.read_text()
    for path in ("/config_dump", "/config_dump?include_eds", "/init_dump"):
        async with guarded.http.get(f"http://127.0.0.1:{guarded.edge.ports.admin}{path}") as response:
            assert TOKEN not in await response.text()
            assert response.status in (403, 404)


async def test_the_access_log_tells_of_every_call_without_the_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    log = tmp_path / "access.jsonl"
    arguments = ["--token-file", str(tmp_path / "token"), "--access-log", str(log)]
    async with serving_page() as page, running_envoy({"page": [page]}, arguments=arguments) as edge:
        trust = aiohttp.TCPConnector(ssl=edge.trust())
        async with aiohttp.ClientSession(connector=trust, cookie_jar=aiohttp.DummyCookieJar()) as http:
            for headers in ({}, BEARER, {"referer": f"{edge.page_url}/?token={TOKEN}"}):
                for url in (
                    f"{edge.page_url}/?token={TOKEN}&x=1",
                    f"http://localhost:{edge.ports.legacy}/?token={TOKEN}",
                ):
                    async with http.get(url, headers=headers, allow_redirects=False) as response:
                        await response.read()
    # Envoy has ended, and with that written it all.
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["status"] for line in lines].count(303) == 3
    assert [line["status"] for line in lines].count(401) == 2
    assert TOKEN not in log.read_text()


@pytest.mark.parametrize("content", ["", "short", "spaces are not part of a token at all"])
async def test_a_file_without_a_token_stops_the_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    command = ["envoy/render_config.py", "--out", str(tmp_path / "envoy.json"), "--token-file", str(tmp_path / "token")]
    refused = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT, stderr=asyncio.subprocess.PIPE)
    _, said = await refused.communicate()
    assert refused.returncode == 1
    assert b"holds no token; `avatar token --new` makes one" in said
    assert not (tmp_path / "envoy.json").exists()
