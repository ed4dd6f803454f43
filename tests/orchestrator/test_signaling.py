"""Signalling over a real WebSocket, media over a real WebRTC connection, scripted services behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from orchestrator import signaling
from orchestrator.clients.stt import recogniser
from orchestrator.conversations import Conversations
from orchestrator.session_config import Channels, SessionConfig
from orchestrator.settings import ReplyName
from orchestrator.signaling import MAX_MESSAGE_BYTES, Signaling
from orchestrator.web import application
from services.common.errors import InvalidRequestError
from services.common.telemetry import Tracer, Untraced
from tests.fakes.browser import browser, connections_settled, socket_at
from tests.fakes.conversing_services import Services, scripted_services

TIMEOUT_S = 15.0
# What an operator who is no friend of quoting chose for the page.
CHOSEN = {"avatar": "avatars/bo", "language": "de", "voice": 'a"><script>'}


@dataclass(frozen=True)
class Orchestrator:
    """What serves, and how it is reached."""

    url: str
    signaling: Signaling
    conversations: Conversations
    services: Services

    async def all_ended(self) -> None:
        """Return once no conversation runs."""
        for session in self.conversations.all():
            with session.events.follow() as follower:
                async for _ in follower.events():
                    pass


@contextlib.asynccontextmanager
async def serving(
    *, reply: ReplyName = "echo", max_running: int = 4, idle_timeout_s: float = 60.0, tracer: Tracer | None = None
) -> AsyncIterator[Orchestrator]:
    def configure(query: Any) -> SessionConfig:
        if "bad" in query:
            raise InvalidRequestError("there is no such reply")
        return SessionConfig("avatars/default", "", "en", reply, 25, "ultrafast", idle_timeout_s)

    async with asyncio.timeout(TIMEOUT_S), scripted_services() as services:
        channels = Channels(services.stt, services.tts, services.render, tracer or Untraced())
        conversations = Conversations(channels, max_running, kept=8)
        signaling = Signaling(conversations, configure)
        page = application(signaling, CHOSEN, lambda: recogniser(services.stt))
        runner = web.AppRunner(page, access_log=None, shutdown_timeout=5.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield Orchestrator(f"{site.name}/session", signaling, conversations, services)
        finally:
            await signaling.close()
            await runner.cleanup()
            await connections_settled()


async def test_a_page_hears_and_sees_the_answer_to_what_it_typed() -> None:
    async with serving() as server, socket_at(server.url) as socket, browser(microphone=True, face=True) as person:
        config = await socket.next()
        assert config["type"] == "config"
        assert config["data"]["conversation"] == f"conversations/{config['peerId']}"
        await socket.answer_to(person.peer)
        await socket.send("text", text="hello you")
        await person.hears_speech()
        assert await person.sees() == (64, 64)
        assert (await socket.event("utterance_ended"))["heard_text"] == "hello you"


async def test_the_microphone_reaches_the_recogniser() -> None:
    async with serving() as server, socket_at(server.url) as socket, browser(microphone=True) as person:
        await socket.answer_to(person.peer)
        server.services.ears.hear_turn("good morning")
        await person.hears_speech()
        assert server.services.mouth.texts == ["good morning"]


@pytest.mark.parametrize(
    ("offers", "kinds"),
    [
        pytest.param({"microphone": True}, ["audio"], id="a microphone alone"),
        pytest.param({"microphone": True, "data": True}, ["audio", "application"], id="simple-peer"),
        pytest.param({"data": True}, ["application"], id="no microphone"),
        pytest.param({"microphone": True, "face": True}, ["audio", "video"], id="sound and face"),
    ],
)
async def test_a_legacy_client_may_offer_before_it_has_read_its_config(
    offers: dict[str, bool], kinds: list[str]
) -> None:
    async with serving() as server, socket_at(server.url, legacy=True) as socket, browser(**offers) as person:
        sdp = await socket.answer_to(person.peer)
        assert [line.split()[0] for line in sdp.splitlines() if line.startswith("m=")] == [f"m={k}" for k in kinds]
        await person.connected.wait()
        if "face" in offers:
            await person.sees()


async def test_a_legacy_client_whose_microphone_was_refused_offers_nothing_and_is_answered() -> None:
    offer = "v=0\r\no=- 46117 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n"
    async with serving() as server, socket_at(server.url, legacy=True) as socket:
        await socket.send("offer", type="offer", sdp=offer)
        answer = (await socket.next("answer"))["data"]
        assert answer["type"] == "answer"
        assert answer["sdp"].startswith("v=0")
        assert "m=" not in answer["sdp"]
        # A second try, with one.
        async with browser(microphone=True) as person:
            await socket.answer_to(person.peer)
            await person.connected.wait()


async def test_a_legacy_client_may_wrap_every_signal_of_its_library_in_an_offer() -> None:
    async with serving() as server, socket_at(server.url, legacy=True) as socket, browser(microphone=True) as person:
        await socket.answer_to(person.peer)
        line = {"candidate": "candidate:2 1 udp 2122260222 127.0.0.1 50998 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
        await socket.send("offer", type="candidate", candidate=line)
        await socket.send("offer", type="renegotiate", renegotiate=True)
        await socket.send("offer", type="transceiverRequest", transceiverRequest={"kind": "video"})
        await socket.send("offer", type=["nonsense"])
        await socket.send("offer", type="candidate", candidate=line | {"candidate": "nonsense"})
        # Only what cannot be followed is answered.
        assert "no ICE candidate" in (await socket.next())["error"]
        await socket.answer_to(person.peer)
        await person.connected.wait()


@pytest.mark.parametrize(
    ("offers", "is_asked"), [({"data": True}, True), ({"data": True, "face": True}, False), ({}, False)]
)
async def test_a_legacy_client_that_can_be_asked_for_the_face_is_asked(offers: dict[str, bool], is_asked: bool) -> None:
    wanted = {"type": "transceiverRequest", "transceiverRequest": {"kind": "video", "init": {"direction": "recvonly"}}}
    async with (
        serving() as server,
        socket_at(server.url, legacy=True) as socket,
        browser(microphone=True, **offers) as person,
    ):
        await socket.answer_to(person.peer)
        await socket.connection.send_str("{")
        following = await socket.next("answer", "error")
        assert (following.get("data") == wanted, following["type"] == "error") == (is_asked, not is_asked)
        await person.connected.wait()


async def test_a_legacy_client_never_sends_a_pong_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signaling, "PING_INTERVAL_S", 0.05)
    async with serving() as server, socket_at(server.url, legacy=True) as socket:
        assert [(await socket.next())["type"] for _ in range(5)] == ["config", *["ping"] * 4]
        assert len([session for session in server.conversations.all() if not session.peer.closed.is_set()]) == 1


async def test_a_legacy_client_gets_the_old_messages_only() -> None:
    async with serving() as server, socket_at(server.url, legacy=True) as socket:
        config = await socket.next()
        assert str(uuid.UUID(config["peerId"])) == config["peerId"]
        assert set(config["data"]) == {"iceServers", "videoCodec", "audioCodec"}
        for kind in ("text", "interrupt", "avatar", "expression", "pong", "unheard-of"):
            await socket.send(kind, text="hello", avatar="avatars/x", kind="happy", intensity=1)
        await socket.connection.send_str("{")
        # What was ignored before it has no answer.
        assert await socket.next() == {"type": "error", "error": "Invalid message format"}
        (session,) = server.conversations.all()
        assert session.transcript.items == []


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("this is not json", "Invalid message format"),
        ("[]", "Invalid message format"),
        ("[" * 100_000, "Invalid message format"),
        ('{"type": "text", "data": {"text": "half of \\ud83d"}}', "Invalid message format"),
        ('{"type": "offer"}', "data.sdp is missing"),
        ('{"type": "offer", "data": {"sdp": "nonsense"}}', "not SDP"),
        ('{"type": "ice-candidate", "data": {"candidate": "nonsense"}}', "no ICE candidate"),
        ('{"type": "ice-candidate", "data": {"candidate": "1 1 udp 1 127.0.0.1 9 typ host"}}', "no ICE candidate"),
        ('{"type": "text", "data": {"text": ""}}', "1 to 20000 characters"),
        ('{"type": "text", "data": {"text": 7}}', "data.text is missing or of the wrong type"),
        ('{"type": "expression", "data": {"kind": "smug", "intensity": 1}}', "neutral, happy"),
        ('{"type": "expression", "data": {"kind": "happy", "intensity": 1%s}}' % ("0" * 400), "0 to 1"),
        ('{"type": "expression", "data": {"kind": "happy", "intensity": NaN}}', "0 to 1"),
    ],
)
async def test_a_message_that_cannot_be_followed_is_answered_and_the_conversation_goes_on(
    message: str, words: str
) -> None:
    async with serving() as server, socket_at(server.url) as socket:
        await socket.connection.send_str(message)
        assert words in (await socket.next("error"))["error"]
        await socket.send("text", text="still here?")
        assert (await socket.event("caption"))["text"] == "still here?"


async def test_sound_that_is_not_opus_is_refused_and_a_better_offer_is_answered() -> None:
    async with serving() as server, socket_at(server.url) as socket, browser(microphone=True) as person:
        await person.peer.setLocalDescription(await person.peer.createOffer())
        sdp = person.peer.localDescription.sdp
        without = "\r\n".join(line for line in sdp.split("\r\n") if "opus" not in line)
        await socket.send("offer", type="offer", sdp=without)
        assert "Opus" in (await socket.next("error"))["error"]
        await socket.send("offer", type="offer", sdp=sdp)
        answer = (await socket.next("answer"))["data"]["sdp"]
        assert [line for line in answer.split("\r\n") if "rtpmap" in line] == ["a=rtpmap:96 opus/48000/2"]


async def test_there_is_one_voice_however_many_are_offered() -> None:
    async with serving() as server, socket_at(server.url) as socket, browser(microphone=True) as person:
        person.peer.addTransceiver("audio", direction="sendrecv")
        sdp = await socket.answer_to(person.peer)
        ways = [line for line in sdp.split("\r\n") if line in ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive")]
        assert ways == ["a=sendrecv", "a=inactive"]
        await socket.send("text", text="hello")
        await person.hears_speech()


async def test_a_face_that_is_asked_for_later_is_shown() -> None:
    async with serving() as server, socket_at(server.url) as socket, browser(microphone=True) as person:
        await socket.answer_to(person.peer)
        await person.connected.wait()
        person.peer.addTransceiver("video", direction="recvonly")
        await socket.answer_to(person.peer)
        assert await person.sees() == (64, 64)


async def test_a_full_server_says_so_closes_and_has_room_again() -> None:
    async with serving(max_running=1) as server:
        async with socket_at(server.url) as first:
            await first.next("config")
            async with socket_at(server.url, legacy=True) as second:
                assert await second.rest() == [{"type": "error", "error": "Server full"}]
        await server.all_ended()
        async with socket_at(server.url) as third:
            await third.next("config")


async def test_an_address_that_asks_for_what_there_is_not_is_refused_in_words() -> None:
    async with serving() as server, socket_at(f"{server.url}?bad=1") as socket:
        assert await socket.rest() == [{"type": "error", "error": "there is no such reply"}]
        assert server.conversations.all() == []


async def test_a_message_over_the_limit_closes_the_socket() -> None:
    async with serving() as server, socket_at(server.url) as socket:
        await socket.connection.send_str(" " * (MAX_MESSAGE_BYTES + 1))
        await socket.rest()
        assert socket.connection.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
        await server.all_ended()


@pytest.mark.parametrize("talks", [False, True], ids=["in silence", "in mid-answer"])
async def test_a_conversation_ends_with_its_socket(talks: bool) -> None:
    async with serving() as server:
        async with socket_at(server.url) as socket, browser(microphone=True) as person:
            await socket.answer_to(person.peer)
            await person.connected.wait()
            if talks:
                await socket.send("text", text="one two three four five six seven eight nine ten")
                await person.hears_speech()
        await server.all_ended()
        (session,) = server.conversations.all()
        assert session.peer.closed.is_set()
        assert session.message(with_transcript=False).HasField("end_time")
        if talks:
            # What was heard until then stays.
            assert session.transcript.items[1].interrupted
            assert session.transcript.items[1].text.startswith("one")


async def test_a_client_that_leaves_at_once_leaves_nothing_behind() -> None:
    async with serving() as server:
        for message in (None, "offer", "text"):
            async with socket_at(server.url) as socket, browser(microphone=True, face=True) as person:
                if message is not None:
                    await person.peer.setLocalDescription(await person.peer.createOffer())
                    await socket.send(message, type="offer", sdp=person.peer.localDescription.sdp, text="hi")
        await server.signaling.close()
        await server.all_ended()
        assert all(session.peer.closed.is_set() for session in server.conversations.all())


async def test_a_place_is_not_held_by_a_browser_that_never_connects() -> None:
    async with serving(idle_timeout_s=0.1) as server, socket_at(server.url) as socket:
        ended = await socket.event("ended")
        assert "within 0.1 s" in ended["reason"]
        await socket.rest()


async def test_what_is_said_before_anybody_can_hear_it_waits() -> None:
    async with serving(reply="assistant") as server, socket_at(server.url) as socket:
        await socket.next("config")
        (session,) = server.conversations.all()
        session.say("first", "first", "")
        assert await session.interrupt() is None
        assert (await socket.event("utterance_ended"))["interrupted"]
        session.say("second", "second", "")
        async with browser(microphone=True) as person:
            await socket.answer_to(person.peer)
            assert (await socket.event("utterance_ended"))["heard_text"] == "second"


async def test_a_server_that_stops_takes_nobody_in_and_lets_pages_come_back() -> None:
    async with serving() as server, socket_at(server.url) as socket:
        await socket.next("config")
        server.signaling.drain()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with socket_at(server.url):
                pass
        assert refused.value.status == 503
        await server.signaling.close()
        # No ended event: a page that is told of an end does not come back.
        assert not any("ended" in message.get("data", {}) for message in await socket.rest())
        assert socket.connection.close_code == aiohttp.WSCloseCode.GOING_AWAY


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/main.js", 200),
        ("/session", 426),
        ("/../session.py", 404),
        ("/..%2fsession.py", 404),
        ("//etc/passwd", 404),
        ("/%00", 404),
        ("/" + "long" * 200, 404),
    ],
)
async def test_http_gives_the_pages_files_and_nothing_else(path: str, status: int) -> None:
    async with serving() as server:
        host, port = server.url.split("/")[2].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
    assert int(answer.split()[1]) == status
    if status == 404:
        assert json.loads(answer.split(b"\r\n\r\n")[1])["code"] == 5


@pytest.mark.parametrize("path", ["/", "/index.html"])
async def test_the_page_carries_what_the_operator_chose(path: str) -> None:
    async with (
        serving() as server,
        aiohttp.ClientSession() as client,
        client.get(server.url.removesuffix("/session") + path) as answer,
    ):
        page = await answer.text()
        assert answer.content_type == "text/html"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert 'data-avatar="avatars/bo" data-language="de" data-voice="a&quot;&gt;&lt;script&gt;"' in page


async def test_the_page_learns_what_listens_and_which_languages_it_understands() -> None:
    async with serving() as server, aiohttp.ClientSession() as client:
        url = server.url.removesuffix("/session")
        async with client.get(f"{url}/hearing") as answer:
            assert await answer.json() == {"engine": "scripted", "language_codes": ["en", "de"]}
        await server.services.stt.close()
        async with client.get(f"{url}/hearing") as answer:
            assert answer.status == 503
            assert (await answer.json())["code"] == 14


async def test_the_legacy_port_asks_for_an_upgrade() -> None:
    async with serving() as server, aiohttp.ClientSession() as client:
        url = server.url.removesuffix("/session")
        async with client.get(f"{url}/health", headers={"x-avatar-listener": "legacy"}) as answer:
            assert (answer.status, await answer.text()) == (426, "Upgrade Required")


async def test_a_page_that_comes_by_no_port_of_envoys_is_refused() -> None:
    foreign = {"origin": "https://evil.example"}
    async with serving() as server:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with socket_at(server.url, headers=foreign):
                pass
        assert refused.value.status == 403
        assert not server.conversations.all()
        # Where Envoy let it in, it was one of ours.
        async with socket_at(server.url, headers=foreign | {"x-avatar-listener": "page"}) as socket:
            await socket.next("config")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_a_file_can_only_be_read(method: str) -> None:
    async with serving() as server, aiohttp.ClientSession() as client:
        url = server.url.removesuffix("/session")
        async with client.request(method, f"{url}/index.html") as answer:
            assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
        async with client.head(f"{url}/index.html") as answer:
            assert answer.status == 200
