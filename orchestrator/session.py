"""One conversation: hears, takes turns, answers and shows; owns every task that it starts."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import assert_never

from avatar.conversation.v1 import conversation_pb2 as pb
from avatar.stt.v1.stt_pb2 import RecognitionResult, StreamingRecognizeResponse, TurnEvent

from orchestrator import metrics
from orchestrator.availability import Availability
from orchestrator.clients.tts import Voice
from orchestrator.ear import Ear, event_offset_s
from orchestrator.events import Events
from orchestrator.face import Face, expression_kind
from orchestrator.media_clock import MediaClock
from orchestrator.peer import Peer
from orchestrator.playout import Playout
from orchestrator.replies import Piece, Replier
from orchestrator.session_config import Channels, SessionConfig
from orchestrator.tracks import Picture
from orchestrator.transcript import Transcript
from orchestrator.turn import (
    Action,
    Answer,
    AvatarEnded,
    AvatarStarted,
    Backchannel,
    BargeIn,
    Duck,
    EndOfTurn,
    Event,
    Restore,
    SpeechStarted,
    State,
    Stop,
    StopAsked,
    TurnMachine,
    Typed,
)
from orchestrator.turn_report import TurnReport
from orchestrator.turn_trace import TurnTrace
from orchestrator.user_turn import UserTurn
from orchestrator.voice import Speaker, Utterance
from services.common import telemetry
from services.common.errors import InvalidRequestError, OverloadedError, ProtocolError
from services.common.log import get_logger
from services.common.timing import duration_of_s

MAX_TEXT_CHARACTERS = 20_000
_MAX_ID_CHARACTERS = 128
_STATES = {
    State.LISTENING: pb.TURN_STATE_LISTENING,
    State.USER_SPEAKING: pb.TURN_STATE_USER_SPEAKING,
    State.THINKING: pb.TURN_STATE_THINKING,
    State.AVATAR_SPEAKING: pb.TURN_STATE_AVATAR_SPEAKING,
    State.DUCKED: pb.TURN_STATE_DUCKED,
}
log = get_logger(__name__)


class Session:
    """A conversation from its first message to its last."""

    def __init__(self, config: SessionConfig, channels: Channels, replier: Replier) -> None:
        self.session_id = uuid.uuid4().hex
        self.name = f"conversations/{self.session_id}"
        self.config = config
        self.events = Events()
        self.transcript = Transcript(self._publish)
        self._created = datetime.now(UTC)
        self._ended: datetime | None = None
        self._end_reason = ""
        self._replier = replier
        self._tracer = channels.tracer
        self._traceparent = telemetry.traceparent.get()
        self._clock = MediaClock()
        self._playout = Playout()
        self._turn = TurnMachine()
        self._face = Face(
            channels.render,
            self.session_id,
            config.avatar,
            config.frame_rate_hz,
            self._clock,
            self._playout,
            self._availability("render", "The face is unavailable at the moment; the picture stands still."),
            self._show,
        )
        self._speaker = Speaker(
            channels.tts,
            self.session_id,
            Voice(config.voice, config.language_code),
            self._clock,
            self._playout,
            self._face,
            self._availability("tts", "The voice is unavailable at the moment; answers are shown as text."),
        )
        self._speaker.on_started = self._avatar_started
        self._speaker.on_words = self.transcript.hear_utterance
        self._speaker.on_ended = self._avatar_ended
        self._ear = Ear(
            channels.stt,
            self.session_id,
            config.language_code,
            self._clock,
            self._availability("stt", "Speech recognition is unavailable at the moment; please type."),
            self._heard,
        )
        self.peer = Peer(
            self._clock,
            self._speaker.pull,
            self._ear.hear,
            preset=config.preset,
            frame_rate_hz=config.frame_rate_hz,
            ice=config.ice,
            name=self.session_id,
        )
        self.peer.face.may_show = self._face.may_show
        self.peer.face.on_sent = self._picture_sent
        self.peer.on_broken = self._speaker.end_stopped
        self._user = UserTurn()
        # When the turn was over that awaits its answer; what is said after the first one answers it no more.
        self._asked_s: float | None = None
        self._seen_utterances: dict[str, None] = {}

    # --- life ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Converse until `end`, or until the connection is closed for good."""
        log.info("session_started", conversation=self.name, reply=self.config.reply)
        try:
            async with asyncio.TaskGroup() as tasks:
                parts = (self._ear.run(), self._speak(), self._show_face(), self._meet())
                running = [tasks.create_task(part) for part in parts]
                await self.peer.closed.wait()
                for task in running:
                    task.cancel()
        finally:
            self._speaker.stop()
            self._ended = datetime.now(UTC)
            is_lost = not self._end_reason
            reason = self._end_reason or "The connection to the browser was lost."
            ended = pb.ConversationEvent.Ended(reason=reason, connection_lost=is_lost)
            self._publish(pb.ConversationEvent(ended=ended))
            await self.peer.close()
            log.info(
                "session_ended",
                conversation=self.name,
                skipped_slots=self._face.skipped_slots,
                gap_ticks=self._playout.gap_ticks,
                skipped_ticks=self.peer.speech.skipped_ticks,
                dropped_chunks=self._ear.dropped_chunks,
            )

    def end(self, reason: str) -> None:
        """Let `run` return. Args: reason: one sentence, for those who follow."""
        self._end_reason = reason
        self.peer.closed.set()

    async def _speak(self) -> None:
        # What is said before anybody can hear it waits.
        await self.peer.connected.wait()
        await self.peer.speech_asked.wait()
        await self._speaker.run()

    async def _show_face(self) -> None:
        await self.peer.connected.wait()
        await self.peer.face_asked.wait()
        await self._face.run()

    async def _meet(self) -> None:
        try:
            async with asyncio.timeout(self.config.idle_timeout_s):
                await self.peer.connected.wait()
        except TimeoutError:
            self.end(f"No sound or picture was connected within {self.config.idle_timeout_s:g} s.")
            return
        greeting = self._replier.greeting()
        if greeting is not None and self._turn.state is State.LISTENING and not self._speaker.waiting:
            self._speaker.say(Utterance(uuid.uuid4().hex, greeting))

    # --- what others ask for ------------------------------------------------------------------------------------

    def type(self, text: str) -> None:
        """The person typed a turn. Raises: InvalidRequestError if it is empty or too long."""
        text = _checked(text)
        self._asked_s = self._clock.media_s
        self.transcript.add_user_turn(self._user.type(text, self._asked_s))
        self._apply(Typed(text))

    def say(self, text: str, utterance_id: str, expression: str) -> str:
        """Make the avatar say a text, after what it says now. Returns: the utterance's id.

        Raises: InvalidRequestError on a text that is empty or too long, an id that is too long, or an expression that
        there is not; ProtocolError once the conversation is over; OverloadedError when too much waits already.
        """
        text = _checked(text)
        if expression:
            expression_kind(expression)
        if len(utterance_id) > _MAX_ID_CHARACTERS:
            raise InvalidRequestError(f"utterance_id has at most {_MAX_ID_CHARACTERS} characters")
        if self._ended is not None:
            raise ProtocolError(f"{self.name} is over; start another conversation")
        utterance_id = utterance_id or uuid.uuid4().hex
        if utterance_id not in self._seen_utterances:
            self._speaker.say(Utterance(utterance_id, _one(Piece(text, expression)), self._report()))
            self._seen_utterances[utterance_id] = None
        return utterance_id

    def stop(self) -> Utterance | None:
        """Stop what the avatar says, without waiting. Returns: what was said, if anything."""
        current = self._speaker.current
        self._apply(StopAsked())
        return current

    async def interrupt(self) -> Utterance | None:
        """Stop what the avatar says. Returns: what was stopped, once nothing of it follows."""
        current = self.stop()
        if current is None:
            return None
        await current.ended.wait()
        return current if current.stopped else None

    def set_expression(self, kind: str, intensity: float) -> None:
        """Change the face's expression. Raises: InvalidRequestError."""
        self._face.set_expression(kind, intensity)

    async def switch_avatar(self, avatar: str) -> None:
        """Show another face. Raises: NotFoundError."""
        await self._face.switch(avatar)

    def message(self, *, with_transcript: bool) -> pb.Conversation:
        """The conversation as it is now."""
        message = pb.Conversation(
            name=self.name,
            avatar=self._face.avatar,
            voice=self.config.voice,
            language_code=self.config.language_code,
            reply=self.config.reply,
            turn_state=_STATES[self._turn.state],
            transcript=self.transcript.items if with_transcript else None,
        )
        message.create_time.FromDatetime(self._created)
        if self._ended is not None:
            message.end_time.FromDatetime(self._ended)
        return message

    # --- turns --------------------------------------------------------------------------------------------------

    def _apply(self, event: Event) -> None:
        before = self._turn.state
        for action in self._turn.on(event):
            self._do(action)
        if self._turn.state is not before:
            changed = pb.ConversationEvent.TurnChanged(state=_STATES[self._turn.state])
            self._publish(pb.ConversationEvent(turn_changed=changed))

    def _do(self, action: Action) -> None:
        match action:
            case Duck():
                self._playout.duck(ducked=True)
            case Restore():
                self._playout.duck(ducked=False)
            case Stop():
                self._speaker.stop(is_heard=not self.peer.is_broken)
            case Answer(text):
                pieces = self._replier.answer(text)
                if pieces is not None:
                    try:
                        self._speaker.say(Utterance(uuid.uuid4().hex, pieces, self._report()))
                    except OverloadedError as full:
                        # An assistant says more than can be heard; it goes on, and so does the conversation.
                        log.warning("answer_dropped", error=str(full))
            case _:
                assert_never(action)

    def _report(self) -> TurnReport | None:
        """Of the first answer to a turn; whatever else is said answers none."""
        asked_s, self._asked_s = self._asked_s, None
        if asked_s is None:
            return None
        began_ns = time.time_ns() - round((self._clock.media_s - self._user.end_s) * 1e9)
        trace = TurnTrace(self._tracer, self.session_id, self._traceparent, began_ns)
        report = TurnReport(self._user.end_s, trace)
        if self._user.end_s:
            report.note("end_of_turn", asked_s)
            if self._user.final_s is not None:
                report.note("transcript", self._user.final_s)
        return report

    # --- what is heard of the person ----------------------------------------------------------------------------

    def _heard(self, response: StreamingRecognizeResponse) -> None:
        match response.WhichOneof("response"):
            case "result":
                self._heard_words(response.result)
            case "turn_event":
                self._heard_turn(response)
            case "warning":
                log.warning("recogniser_warned", message=response.warning.message)

    def _heard_words(self, result: RecognitionResult) -> None:
        words = self._user.hear(result.transcript, self._clock.media_s, is_final=result.is_final)
        self.transcript.hear_user(self._user.turn_id, words)

    def _heard_turn(self, response: StreamingRecognizeResponse) -> None:
        at_s = self._ear.media_s(event_offset_s(response))
        match response.turn_event.kind:
            case TurnEvent.KIND_SPEECH_STARTED:
                self._user.begin(at_s)
                self._apply(SpeechStarted())
            case TurnEvent.KIND_SPEECH_ENDED:
                self._user.end_s = at_s
            case TurnEvent.KIND_BACKCHANNEL:
                self._apply(Backchannel())
            case TurnEvent.KIND_BARGE_IN:
                self._apply(BargeIn())
            case TurnEvent.KIND_END_OF_TURN:
                turn = self._user.end()
                if turn is not None:
                    self.transcript.add_user_turn(turn)
                    self._asked_s = self._clock.media_s
                self._apply(EndOfTurn(turn.text if turn is not None else ""))

    # --- what is heard of the avatar ----------------------------------------------------------------------------

    def _avatar_started(self, utterance: Utterance) -> None:
        self.transcript.begin_utterance(utterance)
        started = pb.ConversationEvent.UtteranceStarted(utterance_id=utterance.utterance_id, text=utterance.spoken.text)
        self._publish(pb.ConversationEvent(utterance_started=started))
        if utterance.report is not None and utterance.report.is_sent:
            self._report_turn(utterance)
        self._ear.set_assistant(utterance.spoken)
        self._apply(AvatarStarted())

    def _avatar_ended(self, utterance: Utterance) -> None:
        ended = self.transcript.end_utterance(utterance, self._clock.media_s)
        self._publish(pb.ConversationEvent(utterance_ended=ended))
        self._report_turn(utterance)
        end = "cut" if utterance.stopped else "completed" if utterance.begun else "unspoken"
        metrics.UTTERANCES.labels(end).inc()
        self._ear.set_assistant(None)
        # Whoever stopped an answer said what comes next.
        if not utterance.stopped and not self._speaker.waiting:
            self._apply(AvatarEnded())

    # --- pictures and events ------------------------------------------------------------------------------------

    def _show(self, picture: Picture) -> None:
        self.peer.face.offer(picture)

    def _picture_sent(self, picture: Picture) -> None:
        current = self._speaker.current
        if current is not None and current.report is not None and picture.utterance_id == current.utterance_id:
            current.report.note("video_sent", self._clock.media_s)
            if current.report.is_sent:
                self._report_turn(current)

    def _report_turn(self, utterance: Utterance) -> None:
        """Tell the turn's times once: when sound and picture are on their way, or at its end."""
        report, utterance.report = utterance.report, None
        if report is None:
            return
        report.close(utterance.utterance_id, stopped=utterance.stopped)
        if utterance.begun:
            self._publish(pb.ConversationEvent(turn_report=report.message(utterance.utterance_id)))

    def _publish(self, event: pb.ConversationEvent) -> None:
        event.event_offset.CopyFrom(duration_of_s(self._clock.media_s))
        self.events.publish(event)

    def _availability(self, service: str, without_it: str) -> Availability:
        def announce(changed: pb.ConversationEvent.ServiceChanged) -> None:
            self._publish(pb.ConversationEvent(service_changed=changed))

        return Availability(service, without_it, announce)


def _checked(text: str) -> str:
    text = text.strip()
    if not 1 <= len(text) <= MAX_TEXT_CHARACTERS:
        raise InvalidRequestError(f"a text has 1 to {MAX_TEXT_CHARACTERS} characters, not {len(text)}")
    return text


async def _one(piece: Piece) -> AsyncIterator[Piece]:
    yield piece
