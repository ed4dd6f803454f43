"""Events reach everyone who follows, and nobody who is too far behind holds them up."""

from __future__ import annotations

from avatar.conversation.v1.conversation_pb2 import ConversationEvent

from orchestrator.events import MAX_BEHIND, Events


def ended() -> ConversationEvent:
    return ConversationEvent(ended=ConversationEvent.Ended(reason="over"))


async def test_a_reader_who_is_too_far_behind_gets_what_it_missed_nothing_of_and_is_let_go() -> None:
    events = Events()
    with events.follow() as slow, events.follow() as other:
        reading = other.events()
        for _ in range(MAX_BEHIND + 10):
            events.publish(ConversationEvent())
            await anext(reading)
        events.publish(ended())
        assert [event async for event in slow.events()] == [ConversationEvent()] * MAX_BEHIND
        assert [event async for event in reading] == [ended()]


async def test_who_comes_after_the_end_gets_the_end() -> None:
    events = Events()
    events.publish(ended())
    with events.follow() as late:
        assert [event async for event in late.events()] == [ended()]
