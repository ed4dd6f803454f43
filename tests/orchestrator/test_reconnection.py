"""A conversation outlives its WebRTC connection as long as its socket stands."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aioice.ice
import grpc
import pytest
from avatar.conversation.v1 import conversation_pb2 as pb
from avatar.conversation.v1 import conversation_pb2_grpc

from orchestrator import peer
from orchestrator.conversations import Conversations
from orchestrator.servicer import ConversationServicer
from tests.fakes.browser import Browser, browser, socket_at
from tests.orchestrator.test_signaling import serving


@contextlib.asynccontextmanager
async def program_at(
    conversations: Conversations,
) -> AsyncIterator[conversation_pb2_grpc.ConversationServiceAsyncStub]:
    """A program that takes part in the conversations."""
    server = grpc.aio.server()
    conversation_pb2_grpc.add_ConversationServiceServicer_to_server(ConversationServicer(conversations, {}), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield conversation_pb2_grpc.ConversationServiceStub(channel)
    finally:
        await server.stop(None)


async def go_silent(person: Browser) -> None:
    """As a browser whose network is gone: it closes nothing, and answers no check any more."""
    for sender in person.peer.getSenders():
        await sender.transport.transport.stop()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser that answers no check counts as gone after a fraction of a second instead of half a minute."""
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.2)
    monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", 1)


async def test_a_page_asks_for_a_fresh_config_and_offers_anew() -> None:
    async with (
        serving() as server,
        socket_at(server.url) as socket,
        browser(microphone=True, face=True) as broken,
        browser(microphone=True, face=True) as healed,
    ):
        first = await socket.next("config")
        await socket.answer_to(broken.peer)
        await broken.connected.wait()
        await go_silent(broken)
        await socket.send("config")
        assert await socket.next("config") == first
        await socket.answer_to(healed.peer)
        await socket.send("text", text="hello again")
        await healed.hears_speech()
        assert await healed.sees() == (64, 64)
        server.services.ears.hear_turn("still the same")
        assert (await socket.event("utterance_ended"))["heard_text"] == "hello again"
        assert [session.name for session in server.conversations.all()] == [first["data"]["conversation"]]


async def test_a_stop_that_is_asked_for_while_nobody_hears_is_answered_at_once_and_nothing_of_it_follows() -> None:
    async with (
        serving() as server,
        program_at(server.conversations) as program,
        socket_at(server.url) as socket,
        browser(microphone=True) as broken,
        browser(microphone=True) as healed,
    ):
        await socket.answer_to(broken.peer)
        await broken.connected.wait()
        (session,) = server.conversations.all()
        await socket.send("text", text="one two three four five six seven eight nine ten")
        await socket.event("utterance_started")
        lost = asyncio.Event()
        session.peer._connection.on("connectionstatechange", lost.set)
        await broken.peer.close()
        await lost.wait()
        stopped = await program.Interrupt(pb.InterruptRequest(name=session.name))
        assert 0 < stopped.heard_duration.ToMilliseconds() < 1000
        ended = await socket.event("utterance_ended")
        assert (ended["utterance_id"], ended["interrupted"]) == (stopped.utterance_id, True)
        # A page's own stop keeps no new offer waiting.
        await socket.send("text", text="one two three")
        await socket.send("interrupt")
        assert (await socket.event("utterance_ended"))["interrupted"]
        await socket.answer_to(healed.peer)
        await socket.send("text", text="still here")
        assert (await socket.event("utterance_started"))["text"] == "still here"
        assert not (await socket.event("utterance_ended")).get("interrupted")
        spoken = [item.text for item in session.transcript.items if item.speaker == pb.SPEAKER_AVATAR]
        assert spoken == [ended["heard_text"], "still here"]


@pytest.mark.usefixtures("hasty")
async def test_a_browser_that_was_given_up_for_a_moment_comes_back() -> None:
    async with serving() as server, socket_at(server.url) as socket, browser(microphone=True) as broken:
        await socket.answer_to(broken.peer)
        await broken.connected.wait()
        (session,) = server.conversations.all()
        await session.peer.connected.wait()
        lost = asyncio.Event()
        connection = session.peer._connection
        connection.on("connectionstatechange", lost.set)
        await go_silent(broken)
        await lost.wait()
        assert session.peer._giving_up is not None
        async with browser(microphone=True) as healed:
            await socket.answer_to(healed.peer)
            stands = asyncio.Event()
            renewed = session.peer._connection
            renewed.on(
                "connectionstatechange", lambda: stands.set() if renewed.connectionState == "connected" else None
            )
            await stands.wait()
            assert not session.peer.closed.is_set()
            assert session.peer._giving_up is None


@pytest.mark.usefixtures("hasty")
async def test_a_browser_that_stays_away_ends_the_conversation_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "NEW_OFFER_S", 0.2)
    async with serving() as server, socket_at(server.url) as socket, browser(microphone=True) as person:
        await socket.answer_to(person.peer)
        await person.connected.wait()
        await go_silent(person)
        ended = await socket.event("ended")
        assert ended == {"reason": "The connection to the browser was lost.", "connection_lost": True}
        assert await socket.rest() == []


async def test_a_renewed_connection_that_never_stands_ends_the_conversation_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peer, "RENEWAL_S", 0.2)
    async with (
        serving() as server,
        socket_at(server.url) as socket,
        browser(microphone=True) as person,
        browser(microphone=True) as deaf,
    ):
        await socket.answer_to(person.peer)
        await person.connected.wait()
        await deaf.peer.setLocalDescription(await deaf.peer.createOffer())
        # The answer is not read, so that no check is ever answered.
        await socket.send("offer", sdp=deaf.peer.localDescription.sdp)
        assert (await socket.event("ended"))["connection_lost"]


async def test_a_conversation_that_was_closed_is_not_lost() -> None:
    async with serving() as server:
        async with socket_at(server.url) as socket:
            await socket.next("config")
            (session,) = server.conversations.all()
        with session.events.follow() as follower:
            (ended,) = [event.ended async for event in follower.events() if event.HasField("ended")]
        assert ended.reason == "The conversation was closed."
        assert not ended.connection_lost
