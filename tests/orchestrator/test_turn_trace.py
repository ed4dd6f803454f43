"""One trace per turn, sent to a real OTLP receiver; the services are told which trace they work for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from avatar.stt.v1.stt_pb2 import TurnEvent
from prometheus_client import REGISTRY

from services.common.telemetry import Untraced, open_tracer
from tests.fakes.browser import Socket, browser, socket_at
from tests.fakes.collector import Collector, collecting, ids_of
from tests.orchestrator.test_signaling import Orchestrator, serving

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STAGES = {"stt.end_of_turn", "stt.transcript", "reply", "tts.first_chunk", "audio.sent", "render.first_frame"}


@contextlib.asynccontextmanager
async def conversing(traceparent: str = "") -> AsyncIterator[tuple[Orchestrator, Socket, Collector]]:
    """A browser that hears and sees, in a conversation whose turns are traced."""
    async with collecting() as collector:
        tracer = open_tracer("conversation", collector.endpoint)
        async with (
            serving(tracer=tracer) as server,
            socket_at(server.url, headers={"traceparent": traceparent}) as socket,
            browser(microphone=True, face=True) as person,
        ):
            await socket.answer_to(person.peer)
            await person.connected.wait()
            await person.sees()
            yield server, socket, collector
        # It waits for the collector, which is on this loop.
        await asyncio.to_thread(tracer.close)


async def test_a_spoken_turn_is_a_trace_with_a_span_for_each_stage() -> None:
    async with conversing() as (server, socket, collector):
        server.services.ears.hear_turn("good morning")
        await socket.event("utterance_ended")
        turn = await collector.named("turn")
        spans = collector.of_trace(turn.trace_id)
    assert set(spans) == STAGES | {"turn"}
    assert turn.parent_span_id == b""
    for name in STAGES:
        assert spans[name].parent_span_id == turn.span_id
        assert turn.start_time_unix_nano <= spans[name].start_time_unix_nano
        assert spans[name].start_time_unix_nano <= spans[name].end_time_unix_nano <= turn.end_time_unix_nano
    assert spans["reply"].start_time_unix_nano == spans["stt.end_of_turn"].end_time_unix_nano
    assert spans["tts.first_chunk"].start_time_unix_nano == spans["reply"].end_time_unix_nano
    attributes = {one.key: one.value.string_value for one in turn.attributes}
    assert attributes["session.id"]
    assert attributes["utterance.id"]


async def test_the_voice_works_for_the_turn_and_the_other_services_for_the_conversation() -> None:
    async with conversing(PARENT) as (server, socket, collector):
        server.services.ears.hear_turn("good morning")
        await socket.event("utterance_ended")
        turn = await collector.named("turn")
        traceparents = server.services.traceparents
    (conversation,) = [span for span in collector.spans if span.name == "conversation"]
    told = {name: {tuple(one.split("-")[1:3]) for one in given} for name, given in traceparents.items()}
    assert told == {"tts": {ids_of(turn)}, "stt": {ids_of(conversation)}, "render": {ids_of(conversation)}}
    assert (conversation.trace_id.hex(), conversation.parent_span_id.hex()) == tuple(PARENT.split("-")[1:3])
    assert [link.span_id for link in turn.links] == [conversation.span_id]


async def test_no_words_of_a_turn_are_in_its_trace() -> None:
    async with conversing() as (server, socket, collector):
        server.services.ears.hear_turn("my password is xylophone")
        await socket.event("utterance_ended")
        await collector.named("turn")
    assert "xylophone" not in " ".join(map(str, collector.spans))


async def test_without_a_collector_a_programs_traceparent_is_passed_on_as_it_came() -> None:
    async with (
        serving(tracer=Untraced()) as server,
        socket_at(server.url, headers={"traceparent": PARENT}) as socket,
        browser(microphone=True) as person,
    ):
        await socket.answer_to(person.peer)
        await person.connected.wait()
        await socket.send("text", text="hello")
        await socket.event("utterance_ended")
        assert server.services.traceparents["tts"] == [PARENT]


async def test_a_turn_is_counted_once_for_each_stage_and_an_utterance_by_its_end() -> None:
    def count(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    async with serving() as server, socket_at(server.url) as socket, browser(microphone=True, face=True) as person:
        await socket.answer_to(person.peer)
        await person.connected.wait()
        await person.sees()
        assert count("avatar_conversations_active") == 1
        audio = count("avatar_turn_seconds_count", stage="audio_sent")
        cut = count("avatar_utterances_total", end="cut")
        completed = count("avatar_utterances_total", end="completed")
        server.services.ears.hear_turn("good morning")
        await socket.event("utterance_ended")
        server.services.ears.hear_turn("one two three four five six seven eight nine ten")
        await socket.event("utterance_started")
        server.services.ears.hear(TurnEvent.KIND_SPEECH_STARTED, TurnEvent.KIND_BARGE_IN)
        await socket.event("utterance_ended")
        assert count("avatar_turn_seconds_count", stage="audio_sent") == audio + 2
        assert count("avatar_utterances_total", end="completed") == completed + 1
        assert count("avatar_utterances_total", end="cut") == cut + 1
        assert count("avatar_video_frames_sent_total") > 0


async def test_noise_that_held_no_words_waits_for_no_answer() -> None:
    def turns() -> float:
        return REGISTRY.get_sample_value("avatar_turn_seconds_count", {"stage": "audio_sent"}) or 0.0

    async with serving() as server, socket_at(server.url) as socket, browser(microphone=True) as person:
        await socket.answer_to(person.peer)
        await person.connected.wait()
        before = turns()
        (session,) = server.conversations.all()
        server.services.ears.hear(
            TurnEvent.KIND_SPEECH_STARTED, TurnEvent.KIND_SPEECH_ENDED, TurnEvent.KIND_END_OF_TURN
        )
        while (await socket.event("turn_changed"))["state"] != "TURN_STATE_LISTENING":
            pass
        session.say("something else", "", "")
        await socket.event("utterance_ended")
        assert turns() == before
