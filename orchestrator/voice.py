"""What the conversation says: utterances in order, each from its text to the last sample that is heard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from functools import partial

import grpc
import numpy as np
from avatar.tts.v1 import tts_pb2

from orchestrator.availability import Availability
from orchestrator.clients.tts import Speaking, Voice, speaking
from orchestrator.face import Face
from orchestrator.media_clock import SAMPLE_RATE_HZ, MediaClock
from orchestrator.playout import End, Playout, Tick
from orchestrator.replies import Piece
from orchestrator.spoken_text import SpokenText, SpokenWord
from orchestrator.turn_report import TurnReport
from services.common import telemetry
from services.common.errors import AvatarError, NotFoundError, OverloadedError, UnsupportedError
from services.common.log import get_logger
from services.common.status import only_member
from services.common.timing import seconds_of

# Speech made ahead of what is heard; more would only have to be thrown away at an interruption.
_MAX_AHEAD_S = 2.0
MAX_WAITING_UTTERANCES = 16
log = get_logger(__name__)


@dataclass(slots=True)
class Utterance:
    """Something that is said, from its text to its end."""

    utterance_id: str
    pieces: AsyncIterator[Piece]
    report: TurnReport | None = None
    spoken: SpokenText = field(default_factory=SpokenText)
    stopped: bool = False
    begun: bool = False
    heard_s: float = 0.0
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Speaker:
    """One conversation's voice. `on_started`, `on_words` and `on_ended` tell of what is heard."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        session_id: str,
        voice: Voice,
        clock: MediaClock,
        playout: Playout,
        face: Face,
        availability: Availability,
    ) -> None:
        self._channel = channel
        self._session_id = session_id
        self._voice = voice
        self._clock = clock
        self._playout = playout
        self._face = face
        self._availability = availability
        self._waiting: asyncio.Queue[Utterance] = asyncio.Queue(MAX_WAITING_UTTERANCES)
        self._current: Utterance | None = None
        self._making: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self.on_started: Callable[[Utterance], None] = lambda _: None
        self.on_words: Callable[[Utterance], None] = lambda _: None
        self.on_ended: Callable[[Utterance], None] = lambda _: None

    @property
    def waiting(self) -> bool:
        """Whether anything is to be said after what is said now."""
        return not self._waiting.empty()

    @property
    def current(self) -> Utterance | None:
        """What is heard or being made."""
        return self._current if self._current is not None and not self._current.ended.is_set() else None

    def say(self, utterance: Utterance) -> None:
        """Say it after what is said now. Raises: OverloadedError if too much waits already."""
        try:
            self._waiting.put_nowait(utterance)
        except asyncio.QueueFull:
            raise OverloadedError(
                f"{MAX_WAITING_UTTERANCES} utterances wait to be said already; wait until one has ended",
                limit=f"waiting_utterances={MAX_WAITING_UTTERANCES}",
            ) from None

    def stop(self, *, is_heard: bool = True) -> None:
        """Drop everything that is heard, being made or waiting.

        Args: is_heard: whether anybody fetches the sound, and with it the fade that ends what is heard.
        """
        current = self._current
        if current is not None and not current.stopped and not current.ended.is_set():
            current.stopped = True
            self._playout.cut(current.utterance_id)
            self._face.stop(current.utterance_id)
            if self._making is not None:
                self._making.cancel()
        while not self._waiting.empty():
            waiting = self._waiting.get_nowait()
            waiting.stopped = True
            self._end(waiting)
        if not is_heard:
            self.end_stopped()

    def end_stopped(self) -> None:
        """Nobody fetches the sound any more: what was stopped has ended where it was last heard."""
        current = self.current
        if current is not None and current.stopped:
            self._playout.drop(current.utterance_id)
            self._end(current)

    async def run(self) -> None:
        """Speak until cancelled; what is heard then ends where it is."""
        while True:
            utterance = await self._waiting.get()
            self._current = utterance
            self._making = asyncio.create_task(self._make(utterance))
            try:
                await asyncio.wait([self._making])
                if not self._making.cancelled():
                    self._making.result()
                if not utterance.begun:
                    self._end(utterance)
                await utterance.ended.wait()
            finally:
                self._making.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._making
                if not utterance.ended.is_set():
                    utterance.stopped = True
                    self._end(utterance)
                self._making = self._current = None

    async def _make(self, utterance: Utterance) -> None:
        """Text to sound in the playout. Without a voice the words are shown."""
        if utterance.report is not None and utterance.report.traceparent:
            # This task makes one utterance and nothing else.
            telemetry.traceparent.set(utterance.report.traceparent)
        try:
            async with contextlib.AsyncExitStack() as held:
                stream = await self._open(held, utterance.utterance_id)
                tasks = await held.enter_async_context(asyncio.TaskGroup())
                tasks.create_task(self._write(utterance, stream))
                await self._hear(utterance, stream)
            self._availability.came()
        except (AvatarError, ExceptionGroup) as raised:
            error = only_member(raised)
            if not isinstance(error, AvatarError):
                raise
            self._availability.went(error)
            if not utterance.begun:
                async for piece in utterance.pieces:
                    utterance.spoken.text += piece.text
                utterance.heard_s = float("inf")
        finally:
            self._playout.complete(utterance.utterance_id)

    async def _open(self, held: contextlib.AsyncExitStack, utterance_id: str) -> Speaking:
        """A stream in the conversation's voice, or once that is gone, in the default one. Raises: AvatarError."""
        opened = partial(speaking, self._channel, self._session_id, utterance_id)
        try:
            return await held.enter_async_context(opened(self._voice))
        except (NotFoundError, UnsupportedError) as gone:
            if not self._voice.name:
                raise
            # Somebody deleted it, or the service came back with another engine: the conversation is heard all the same.
            log.warning("voice_gone", reason=gone.reason)
            self._voice = replace(self._voice, name="")
            return await held.enter_async_context(opened(self._voice))

    async def _write(self, utterance: Utterance, stream: Speaking) -> None:
        async for piece in utterance.pieces:
            self._note(utterance, "reply")
            if piece.expression:
                self._face.set_expression(piece.expression, 0.0 if piece.expression == "neutral" else 0.8)
            utterance.spoken.text += piece.text
            await stream.say(piece.text, last=False)
        await stream.say("", last=True)

    async def _hear(self, utterance: Utterance, stream: Speaking) -> None:
        async for part in stream.parts():
            if isinstance(part, tts_pb2.Timing):
                utterance.spoken.words.extend(
                    SpokenWord(word.text_begin, word.text_end, seconds_of(word.start_offset)) for word in part.words
                )
                self._face.add_visemes(utterance.utterance_id, part.visemes)
                continue
            if not utterance.begun:
                self._note(utterance, "synthesis")
                utterance.begun = True
                self._playout.begin(utterance.utterance_id, self._clock.tick + 1)
            self._playout.push(utterance.utterance_id, np.frombuffer(part.data, "<i2").astype(np.int16))
            while self._playout.buffered_s > _MAX_AHEAD_S:
                self._room.clear()
                await self._room.wait()

    def _note(self, utterance: Utterance, stage: str) -> None:
        if utterance.report is not None:
            utterance.report.note(stage, self._clock.media_s)

    def pull(self, tick: int) -> Tick:
        """The sound of a tick, with everything that it means for the utterance."""
        sound = self._playout.pull(tick)
        if self._playout.buffered_s <= _MAX_AHEAD_S:
            self._room.set()
        utterance = self._current
        if utterance is None:
            return sound
        if sound.utterance_id == utterance.utterance_id:
            utterance.heard_s = self._playout.played_samples / SAMPLE_RATE_HZ
            if sound.started:
                self._note(utterance, "audio_sent")
                self.on_started(utterance)
            self.on_words(utterance)
        if sound.ended is not None:
            _, end, played = sound.ended
            utterance.heard_s = played / SAMPLE_RATE_HZ
            utterance.stopped = end is End.CUT
            self._end(utterance)
        return sound

    def _end(self, utterance: Utterance) -> None:
        if not utterance.ended.is_set():
            utterance.ended.set()
            self.on_ended(utterance)
