"""A conversation from heard words to heard answer, over real gRPC with scripted services at the far end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from avatar.conversation.v1 import conversation_pb2 as pb
from avatar.stt.v1.stt_pb2 import TurnEvent

from orchestrator.events import Follower
from orchestrator.playout import Tick
from orchestrator.replies import replier_named
from orchestrator.session import Session
from orchestrator.session_config import Channels, SessionConfig
from orchestrator.settings import ReplyName
from orchestrator.voice import Utterance
from services.common.errors import InvalidRequestError, NotFoundError
from tests.fakes.conversing_services import WORD_S, Services, scripted_services

TIMEOUT_S = 10.0
SOUND = bytes(640)
COUNT = "one two three four five six seven eight nine ten"


class Listener:
    """Pulls the session's sound as a browser would, and keeps what it heard."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pulled: list[Any] = []
        pull = session.peer.speech._pull

        def noted(tick: int) -> Tick:
            sound = pull(tick)
            self._pulled.append(sound.samples)
            return sound

        session.peer.speech._pull = noted
        self.heard: list[np.ndarray[Any, np.dtype[np.int16]]] = []
        self.loud = asyncio.Event()
        self._tick = asyncio.Event()

    async def run(self) -> None:
        """Hear until the session ends its track, as it may before this task is cancelled."""
        with contextlib.suppress(MediaStreamError):
            while True:
                await self._session.peer.speech.recv()
                samples = self._pulled[-1]
                self.heard.append(samples)
                if samples.any():
                    self.loud.set()
                self._tick.set()

    async def ticked(self) -> None:
        """Wait until another 20 ms were heard."""
        self._tick.clear()
        await self._tick.wait()

    @property
    def loud_s(self) -> float:
        return float(sum(np.count_nonzero(samples) for samples in self.heard)) / 48_000


@contextlib.asynccontextmanager
async def conversing(
    services: Services, reply: ReplyName = "echo", avatar: str = "avatars/default", *, microphone: bool = True
) -> AsyncIterator[tuple[Session, Follower, Listener]]:
    config = SessionConfig(avatar, "", "en", reply, frame_rate_hz=25, preset="ultrafast")
    channels = Channels(services.stt, services.tts, services.render)
    session = Session(config, channels, replier_named(reply, "en"))
    listener = Listener(session)
    # A browser, as far as the session sees it.
    for asked in (session.peer.connected, session.peer.speech_asked, session.peer.face_asked):
        asked.set()
    if microphone:
        session._ear.hear(SOUND)
    with session.events.follow() as follower:
        async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(session.run()), tasks.create_task(listener.run())]
            yield session, follower, listener
            for task in running:
                task.cancel()


async def event(follower: Follower, kind: str) -> Any:
    """The next event of a kind."""
    async for found in follower.events():
        if found.HasField(kind):  # type: ignore[arg-type]
            return getattr(found, kind)
    raise AssertionError(f"the conversation ended without {kind}")


async def test_what_was_heard_is_said_and_both_stand_in_the_transcript() -> None:
    async with scripted_services() as services, conversing(services) as (session, follower, listener):
        services.ears.hear_turn("good morning world")
        ended = await event(follower, "utterance_ended")
    assert services.mouth.texts == ["good morning world"]
    assert ended.heard_text == "good morning world"
    assert not ended.interrupted
    assert listener.loud_s == pytest.approx(3 * WORD_S, abs=0.001)
    said = [(item.speaker, item.text, item.interrupted) for item in session.transcript.items]
    assert said == [
        (pb.SPEAKER_USER, "good morning world", False),
        (pb.SPEAKER_AVATAR, "good morning world", False),
    ]
    assert services.ears.assistant_speaking == [True, False]
    assert services.ears.assistant_texts == ["good morning world", ""]


async def test_barge_in_ducks_then_cuts_and_the_transcript_ends_where_the_sound_did() -> None:
    async with scripted_services() as services, conversing(services) as (session, follower, listener):
        services.ears.hear_turn(COUNT)
        await listener.loud.wait()
        services.ears.hear(TurnEvent.KIND_SPEECH_STARTED, TurnEvent.KIND_BARGE_IN)
        ended = await event(follower, "utterance_ended")
        heard_ticks = len(listener.heard)
        services.ears.hear("stop please", TurnEvent.KIND_END_OF_TURN)
        await event(follower, "utterance_started")
        await services.face.interrupted.wait()
    assert ended.interrupted
    heard_s = ended.heard_duration.ToMilliseconds() / 1000
    words = min(10, int(np.ceil(round(heard_s / WORD_S, 6))))
    assert ended.heard_text == " ".join(COUNT.split()[:words])
    before = np.concatenate(listener.heard[:heard_ticks])
    assert np.count_nonzero(before) / 48_000 == pytest.approx(heard_s, abs=0.021)
    assert before[-1] == 0
    assert session.transcript.items[1].interrupted
    assert session.transcript.items[1].text == ended.heard_text
    assert services.mouth.texts[1] == "stop please"


async def test_a_cough_over_the_answer_only_ducks_it() -> None:
    async with scripted_services() as services, conversing(services) as (_, follower, listener):
        services.ears.hear_turn("one two three four five")
        await listener.loud.wait()
        services.ears.hear(TurnEvent.KIND_SPEECH_STARTED, TurnEvent.KIND_BACKCHANNEL, TurnEvent.KIND_END_OF_TURN)
        ended = await event(follower, "utterance_ended")
    assert (ended.heard_text, ended.interrupted) == ("one two three four five", False)
    assert services.mouth.texts == ["one two three four five"]


async def test_typed_words_interrupt_and_are_answered() -> None:
    async with scripted_services() as services, conversing(services) as (session, follower, listener):
        session.type("one two three four five six")
        await listener.loud.wait()
        session.type("next")
        first = await event(follower, "utterance_ended")
        second = await event(follower, "utterance_ended")
    assert (first.interrupted, second.interrupted, second.heard_text) == (True, False, "next")
    # In the order in which they began, as a reader understands them.
    assert [(item.speaker, item.interrupted) for item in session.transcript.items] == [
        (pb.SPEAKER_USER, False),
        (pb.SPEAKER_AVATAR, True),
        (pb.SPEAKER_USER, False),
        (pb.SPEAKER_AVATAR, False),
    ]


async def test_what_is_typed_over_an_answer_stands_after_it_whatever_else_waited_to_be_said() -> None:
    async with scripted_services() as services, conversing(services, "assistant") as (session, follower, listener):
        for text in (COUNT, "what is never heard"):
            session.say(text, "", "")
        await listener.loud.wait()
        session.type("no")
        while (await event(follower, "utterance_ended")).heard_text == "":
            pass
    assert [(item.speaker, item.interrupted) for item in session.transcript.items] == [
        (pb.SPEAKER_AVATAR, True),
        (pb.SPEAKER_USER, False),
    ]


async def test_what_has_ended_can_not_be_stopped_once_more() -> None:
    async with scripted_services() as services, conversing(services) as (session, follower, _):
        left: list[Utterance | None] = []
        told = session._speaker.on_ended

        def ended(utterance: Utterance) -> None:
            left.append(session.stop())
            told(utterance)

        session._speaker.on_ended = ended
        services.ears.hear_turn("good morning world")
        await event(follower, "utterance_ended")
    assert left == [None]


async def test_interrupt_answers_once_nothing_follows() -> None:
    async with scripted_services() as services, conversing(services) as (session, _, listener):
        session.type("one two three four five six")
        await listener.loud.wait()
        stopped = await session.interrupt()
        assert stopped is not None
        loud_s = listener.loud_s
        assert await session.interrupt() is None
        listener.loud.clear()
        session.type("x")
        await listener.loud.wait()
    assert stopped.heard_s == pytest.approx(loud_s, abs=0.021)


async def test_what_waits_for_its_fade_ends_with_the_connection_that_would_carry_it() -> None:
    async with scripted_services() as services, conversing(services) as (session, _, listener):
        session.type(COUNT)
        await listener.loud.wait()
        stopped = session.stop()
        assert stopped is not None
        assert not stopped.ended.is_set()
        session.peer.on_broken()
        assert stopped.ended.is_set()
        assert stopped.heard_s == pytest.approx(listener.loud_s, abs=0.021)
        assert [item.interrupted for item in session.transcript.items] == [False, True]


async def test_without_a_voice_the_words_are_shown() -> None:
    async with (
        scripted_services(without=frozenset({"tts"})) as services,
        conversing(services) as (session, follower, _),
    ):
        session.type("still here")
        gone = await event(follower, "service_changed")
        ended = await event(follower, "utterance_ended")
    assert (gone.service, gone.available) == ("tts", False)
    assert "text" in gone.message
    assert ended.heard_text == "still here"


async def test_without_ears_typed_words_are_answered() -> None:
    async with (
        scripted_services(without=frozenset({"stt"})) as services,
        conversing(services) as (session, follower, _),
    ):
        gone = await event(follower, "service_changed")
        session.type("can you read this")
        ended = await event(follower, "utterance_ended")
    assert (gone.service, gone.available) == ("stt", False)
    assert ended.heard_text == "can you read this"


async def test_an_assistant_speaks_by_say_and_a_repeated_call_says_it_once() -> None:
    async with scripted_services() as services, conversing(services, "assistant") as (session, follower, _):
        services.ears.hear_turn("what time is it")
        await event(follower, "turn_changed")
        for _ in range(2):
            assert session.say("noon", "answer-1", "") == "answer-1"
        assert (await event(follower, "utterance_ended")).utterance_id == "answer-1"
        session.say("really", "answer-2", "happy")
        assert (await event(follower, "utterance_ended")).utterance_id == "answer-2"
    assert services.mouth.texts == ["noon", "really"]


async def test_the_first_answer_to_a_turn_is_reported_and_nothing_else_that_is_said() -> None:
    reports: list[pb.ConversationEvent.TurnReport] = []
    async with scripted_services() as services, conversing(services, "assistant") as (session, follower, listener):
        session.say("welcome", "greeting", "")
        await event(follower, "utterance_ended")
        session.type("what time is it")
        # The program thinks for a fifth of a second; the turn is over meanwhile.
        asked = len(listener.heard)
        while len(listener.heard) < asked + 10:
            await listener.ticked()
        for utterance_id in ("answer-1", "answer-2"):
            session.say("noon", utterance_id, "")
        async for found in follower.events():
            if found.HasField("turn_report"):
                reports.append(found.turn_report)
            if found.utterance_ended.utterance_id == "answer-2":
                break
    assert [report.utterance_id for report in reports] == ["answer-1"]
    assert reports[0].end_of_turn_duration.ToMilliseconds() == 0
    assert reports[0].reply_duration.ToMilliseconds() > 100


async def test_a_face_that_there_is_not_can_be_changed_for_one_that_there_is() -> None:
    async with (
        scripted_services() as services,
        conversing(services, avatar="avatars/gone") as (session, follower, _),
    ):
        gone = await event(follower, "service_changed")
        assert (gone.service, gone.available) == ("render", False)
        assert "avatars/gone" in gone.message
        with pytest.raises(NotFoundError, match="avatars/other"):
            await session.switch_avatar("avatars/other")
        await session.switch_avatar("avatars/default")
        back = await event(follower, "service_changed")
        assert (back.service, back.available) == ("render", True)


async def test_without_a_microphone_the_recogniser_is_left_to_others() -> None:
    async with (
        scripted_services() as services,
        conversing(services, microphone=False) as (session, follower, _),
    ):
        session.type("hello")
        await event(follower, "utterance_ended")
        assert services.ears.languages == []


async def test_a_microphone_that_falls_silent_gives_the_stream_back_and_nobody_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orchestrator.ear._IDLE_TIMEOUT_S", 0.05)
    async with scripted_services() as services, conversing(services, "assistant") as (session, follower, _):
        while len(services.ears.languages) < 2:
            session._ear.hear(SOUND)
            await services.ears.ended.wait()
            services.ears.ended.clear()
        session.end("The test is over.")
        kinds = {found.WhichOneof("event") async for found in follower.events()}
    assert kinds == {"ended"}


async def test_typed_words_that_stop_what_waits_are_thought_about() -> None:
    async with scripted_services() as services, conversing(services) as (session, follower, listener):
        for name in ("first", "second"):
            session.say(COUNT, name, "")
        await listener.loud.wait()
        session.type("next")
        assert session.message(with_transcript=False).turn_state == pb.TURN_STATE_THINKING
        ended = [(await event(follower, "utterance_ended")).interrupted for _ in range(3)]
    assert ended == [True, True, False]


async def test_an_end_in_mid_answer_keeps_what_was_heard_and_lets_go_of_who_waits() -> None:
    async with scripted_services() as services, conversing(services) as (session, _, listener):
        session.type(COUNT)
        await listener.loud.wait()
        current = session._speaker.current
        assert current is not None
        session.end("The test is over.")
        await current.ended.wait()
    assert session.transcript.items[1].interrupted
    assert COUNT.startswith(session.transcript.items[1].text)


@pytest.mark.parametrize("text", ["", "   ", "x" * 20_001])
async def test_a_text_that_is_empty_or_too_long_is_refused(text: str) -> None:
    async with scripted_services() as services, conversing(services) as (session, _, _):
        with pytest.raises(InvalidRequestError, match="1 to 20000"):
            session.type(text)


async def test_the_last_event_says_that_the_conversation_is_over() -> None:
    async with scripted_services() as services, conversing(services) as (session, follower, _):
        session.type("hello")
        await event(follower, "utterance_started")
    events = [found async for found in follower.events()]
    assert events[-1].HasField("ended")
    assert session.message(with_transcript=False).HasField("end_time")
