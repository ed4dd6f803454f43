"""What the conversation hears: the microphone goes to the recogniser, its results and turn events come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
from avatar.stt.v1.stt_pb2 import StreamingRecognizeResponse

from orchestrator import metrics
from orchestrator.availability import Availability, keep_serving
from orchestrator.clients.stt import Listening, listening
from orchestrator.media_clock import MediaClock
from orchestrator.microphone import RECOGNISER_RATE_HZ
from orchestrator.spoken_text import SpokenText
from services.common.timing import seconds_of

# 20 ms each: when the recogniser is a second behind, the oldest sound is dropped.
_MAX_WAITING = 50
# Without sound for so long (no microphone, say) the stream is given back, well before the recogniser would end it.
_IDLE_TIMEOUT_S = 60.0


class Ear:
    """One conversation's recogniser stream, reopened when it is lost."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        session_id: str,
        language_code: str,
        clock: MediaClock,
        availability: Availability,
        on_response: Callable[[StreamingRecognizeResponse], None],
    ) -> None:
        self._channel = channel
        self._session_id = session_id
        self._language_code = language_code
        self._clock = clock
        self._availability = availability
        self._on_response = on_response
        # Nothing at all stands for a change of `_assistant_says`.
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(_MAX_WAITING)
        self._assistant_says: SpokenText | None = None
        self._stream_start_s = 0.0
        self.dropped_chunks = 0

    def hear(self, pcm: bytes) -> None:
        """Take sound: LINEAR16 at 16 kHz."""
        if self._waiting.full():
            metrics.MICROPHONE_DROPPED_SECONDS.inc(len(self._waiting.get_nowait()) / 2 / RECOGNISER_RATE_HZ)
            self.dropped_chunks += 1
        self._waiting.put_nowait(pcm)

    def set_assistant(self, says: SpokenText | None) -> None:
        """Tell what the avatar is heard to say; reaches the recogniser before the sound that follows.

        Args: says: may grow meanwhile; None while it is silent.
        """
        self._assistant_says = says
        self.hear(b"")

    def media_s(self, stream_s: float) -> float:
        """When a place in the recogniser's stream was spoken, on the conversation's clock."""
        return self._stream_start_s + stream_s

    async def run(self) -> None:
        """Hear until cancelled."""
        await keep_serving(self._attempt, self._availability)

    async def _attempt(self) -> None:
        # A conversation without a microphone takes no stream from the others.
        while not await self._waiting.get():
            pass
        async with listening(self._channel, self._session_id, self._language_code) as stream:
            self._availability.came()
            # What was said while nobody listened is not heard late.
            while not self._waiting.empty():
                self._waiting.get_nowait()
            async with asyncio.TaskGroup() as tasks:
                feeding = tasks.create_task(self._feed(stream))
                async for response in stream.responses():
                    self._on_response(response)
                feeding.cancel()

    async def _feed(self, stream: Listening) -> None:
        sent_s = 0.0
        told: str | None = None
        self._stream_start_s = self._clock.media_s
        while True:
            says = None if self._assistant_says is None else self._assistant_says.text
            if told != says:
                told = says
                await stream.set_assistant(speaking=says is not None, text=says or "")
            try:
                async with asyncio.timeout(_IDLE_TIMEOUT_S):
                    pcm = await self._waiting.get()
            except TimeoutError:
                await stream.finish()
                return
            if pcm:
                sent_s += len(pcm) / 2 / RECOGNISER_RATE_HZ
                # Sound is at most as old as the least delay says; a chunk that waited does not shift the clock.
                self._stream_start_s = min(self._stream_start_s, self._clock.media_s - sent_s)
                await stream.send_audio(pcm)


def event_offset_s(response: StreamingRecognizeResponse) -> float:
    """Place of a turn event, from the start of the recogniser's stream."""
    return seconds_of(response.turn_event.event_offset)
