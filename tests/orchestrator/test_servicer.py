"""Conversations over real gRPC, as a program sees them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import pytest
from avatar.conversation.v1 import conversation_pb2 as pb
from avatar.conversation.v1 import conversation_pb2_grpc

from orchestrator.conversations import Conversations
from orchestrator.servicer import ConversationServicer
from orchestrator.session import Session
from orchestrator.session_config import Channels, SessionConfig
from orchestrator.voice import MAX_WAITING_UTTERANCES
from services.common.server import Server
from services.common.settings import DrainSettings, ServerSettings
from tests.fakes.conversing_services import Services, scripted_services

TIMEOUT_S = 10.0
SETTINGS = ServerSettings(drain=DrainSettings(announce_s=0.0, grace_s=2.0))
CONFIG = SessionConfig("avatars/default", "", "en", "assistant", 25, "ultrafast")


@dataclass(frozen=True)
class Orchestrator:
    stub: conversation_pb2_grpc.ConversationServiceAsyncStub
    conversations: Conversations

    @contextlib.asynccontextmanager
    async def conversation(self) -> AsyncIterator[Session]:
        """A conversation whose person listens."""
        async with self.conversations.conversation(CONFIG) as session, asyncio.TaskGroup() as tasks:
            session.peer.connected.set()
            session.peer.speech_asked.set()
            tasks.create_task(session.run())
            listening = tasks.create_task(listen(session))
            try:
                yield session
            finally:
                session.end("The test is over.")
                listening.cancel()


async def listen(session: Session) -> None:
    """Pull the session's sound as a browser does."""
    while True:
        await session.peer.speech.recv()


@contextlib.asynccontextmanager
async def serving(*, without: frozenset[str] = frozenset(), kept: int = 4) -> AsyncIterator[Orchestrator]:
    async with asyncio.timeout(TIMEOUT_S), scripted_services(without=without) as services:
        conversations = Conversations(channels(services), max_running=4, kept=kept)
        server = Server(SETTINGS, ["avatar.conversation.v1.ConversationService"])
        await server.start()
        ways = {"stt": services.stt, "tts": services.tts, "render": services.render}
        conversation_pb2_grpc.add_ConversationServiceServicer_to_server(
            ConversationServicer(conversations, ways), server.grpc
        )
        await server.ready()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                yield Orchestrator(conversation_pb2_grpc.ConversationServiceStub(channel), conversations)
        finally:
            await server.stop()


def channels(services: Services) -> Channels:
    return Channels(services.stt, services.tts, services.render)


async def test_what_is_said_is_told_to_who_watches_and_kept() -> None:
    async with serving() as server, server.conversation() as session:
        watch = server.stub.WatchConversation(pb.WatchConversationRequest(name=session.name))
        await watch.initial_metadata()
        said = await server.stub.Say(pb.SayRequest(name=session.name, text="good day", expression="happy"))
        events = []
        async for event in watch:
            events.append(event)
            if event.HasField("utterance_ended"):
                break
        assert events[-1].utterance_ended.utterance_id == said.utterance_id
        assert events[-1].utterance_ended.heard_text == "good day"
        kept = await server.stub.GetConversation(pb.GetConversationRequest(name=session.name))
        assert [item.text for item in kept.transcript] == ["good day"]
        (listed,) = (await server.stub.ListConversations(pb.ListConversationsRequest())).conversations
        assert listed.name == session.name
        assert not listed.transcript


async def test_interrupt_answers_once_nothing_of_it_follows() -> None:
    async with serving() as server, server.conversation() as session:
        with session.events.follow() as follower:
            request = pb.SayRequest(name=session.name, text="one two three four five six", utterance_id="count")
            await server.stub.Say(request)
            async for event in follower.events():
                if event.HasField("utterance_started"):
                    break
            stopped = await server.stub.Interrupt(pb.InterruptRequest(name=session.name))
            assert stopped.utterance_id == "count"
            assert stopped.heard_duration.ToMilliseconds() > 0
            assert session.transcript.items[0].interrupted
            nothing = await server.stub.Interrupt(pb.InterruptRequest(name=session.name))
            assert nothing == pb.InterruptResponse()


async def test_interrupt_stops_what_was_asked_for_but_is_not_heard_yet() -> None:
    async with serving() as server, server.conversation() as session:
        with session.events.follow() as follower:
            for text in ("first", "second"):
                await server.stub.Say(pb.SayRequest(name=session.name, text=text, utterance_id=text))
            await server.stub.Interrupt(pb.InterruptRequest(name=session.name))
            await server.stub.Say(pb.SayRequest(name=session.name, text="third", utterance_id="third"))
            ended = {}
            async for event in follower.events():
                if event.HasField("utterance_ended"):
                    ended[event.utterance_ended.utterance_id] = event.utterance_ended
                    if "third" in ended:
                        break
        assert [ended[name].interrupted for name in ("first", "second", "third")] == [True, True, False]
        assert [item.text for item in session.transcript.items if not item.interrupted] == ["third"]


@pytest.mark.parametrize(
    ("wrong", "code", "words"),
    [
        ({"text": ""}, grpc.StatusCode.INVALID_ARGUMENT, "1 to 20000 characters"),
        ({"text": "x" * 20_001}, grpc.StatusCode.INVALID_ARGUMENT, "1 to 20000 characters"),
        ({"utterance_id": "x" * 129}, grpc.StatusCode.INVALID_ARGUMENT, "at most 128"),
        ({"expression": "smug"}, grpc.StatusCode.INVALID_ARGUMENT, "there are neutral, happy"),
        ({"name": "conversations/none"}, grpc.StatusCode.NOT_FOUND, "conversations/none"),
        ({"name": "x" * 100_000}, grpc.StatusCode.NOT_FOUND, "list them"),
    ],
)
async def test_a_say_that_cannot_succeed_is_refused_in_words(
    wrong: dict[str, str], code: grpc.StatusCode, words: str
) -> None:
    async with serving() as server, server.conversation() as session:
        with pytest.raises(grpc.aio.AioRpcError, match=words) as refused:
            await server.stub.Say(pb.SayRequest(**{"name": session.name, "text": "hello"} | wrong))
        assert refused.value.code() is code
        assert session.message(with_transcript=True).turn_state == pb.TURN_STATE_LISTENING


async def test_more_than_waits_is_refused_and_the_conversation_goes_on() -> None:
    async with serving() as server, server.conversation() as session:
        request = pb.SayRequest(name=session.name, text="more " * 100)
        calls = [server.stub.Say(request) for _ in range(MAX_WAITING_UTTERANCES + 2)]
        with pytest.raises(grpc.aio.AioRpcError, match=f"{MAX_WAITING_UTTERANCES} utterances") as refused:
            await asyncio.gather(*calls)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await server.stub.Interrupt(pb.InterruptRequest(name=session.name))).utterance_id


@pytest.mark.parametrize("method", ["GetConversation", "WatchConversation", "Interrupt"])
async def test_a_conversation_that_there_is_not_is_not_found(method: str) -> None:
    requests = {
        "GetConversation": pb.GetConversationRequest(name="conversations/none"),
        "WatchConversation": pb.WatchConversationRequest(name="conversations/none"),
        "Interrupt": pb.InterruptRequest(name="conversations/none"),
    }
    async with serving() as server:
        call = getattr(server.stub, method)(requests[method])
        with pytest.raises(grpc.aio.AioRpcError, match="conversations/none") as refused:
            await (call.read() if method == "WatchConversation" else call)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watch_ends_with_its_conversation_and_one_that_comes_later_gets_the_end() -> None:
    async with serving() as server:
        async with server.conversation() as session:
            request = pb.WatchConversationRequest(name=session.name)
            watch = server.stub.WatchConversation(request)
            await watch.initial_metadata()
        last = [event async for event in watch][-1]
        assert last.ended.reason == "The test is over."
        assert [event async for event in server.stub.WatchConversation(request)] == [last]
        with pytest.raises(grpc.aio.AioRpcError, match="is over") as refused:
            await server.stub.Say(pb.SayRequest(name=session.name, text="hello?"))
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_watcher_who_leaves_is_forgotten() -> None:
    async with serving() as server, server.conversation() as session:
        watch = server.stub.WatchConversation(pb.WatchConversationRequest(name=session.name))
        await watch.initial_metadata()
        assert len(session.events._followers) == 1
        watch.cancel()
        # A call that comes after it on the same connection is served after it.
        while session.events._followers:
            await server.stub.GetConversation(pb.GetConversationRequest(name=session.name))


async def test_the_newest_conversation_is_listed_first_and_the_oldest_is_forgotten() -> None:
    async with serving(kept=2) as server:
        names = []
        for _ in range(3):
            async with server.conversation() as session:
                names.append(session.name)
        async with server.conversation() as running:
            listed = await server.stub.ListConversations(pb.ListConversationsRequest())
            assert [c.name for c in listed.conversations] == [running.name, names[2], names[1]]
            with pytest.raises(grpc.aio.AioRpcError, match="there is no conversation"):
                await server.stub.GetConversation(pb.GetConversationRequest(name=names[0]))


@pytest.mark.parametrize("missing", [frozenset(), frozenset({"tts"}), frozenset({"stt", "render"})])
async def test_health_names_the_services_that_are_missing(missing: frozenset[str]) -> None:
    async with serving(without=missing) as server:
        health = await server.stub.GetHealth(pb.GetHealthRequest())
        assert health.status == ("degraded" if missing else "healthy")
        assert set(health.missing_services) == missing
