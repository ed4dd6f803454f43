"""One bidirectional stream: a reader that notes what the caller wants, a writer that speaks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from avatar.tts.v1 import tts_pb2

from services.common.errors import EngineError, ProtocolError
from services.common.log import get_logger
from services.common.status import status_of
from services.common.streaming import write_within
from services.tts.engine import Capabilities, Style
from services.tts.messages import audio_of, begins_something, end_of, timing_of
from services.tts.narration import Chunk
from services.tts.recital import Recital
from services.tts.slots import Slot
from services.tts.utterances import Utterance, UtteranceQueue
from services.tts.voices import Voices

log = get_logger(__name__)
_Response = tts_pb2.StreamingSynthesizeResponse


class _Speech:
    """The head of the queue while it is spoken."""

    def __init__(self, utterance: Utterance, recital: Recital) -> None:
        self.utterance = utterance
        self.recital = recital
        self.sequence = 0


class SynthesisStream:
    """Speaks the utterances of one call in their order.

    The writer alone sends, one message at a time, and looks for dropped utterances before each. So nothing of an
    utterance can follow its end, and a cancel waits for no more than the message that is on its way.
    """

    def __init__(
        self,
        context: Any,
        slot: Slot,
        capabilities: Capabilities,
        voices: Voices,
        style: Style,
        rate_hz: int,
        idle_timeout_s: float,
    ) -> None:
        """Args: voices: knows whether that of the style is still there; rate_hz: of the audio that is sent."""
        self._context = context
        self._slot = slot
        self._capabilities = capabilities
        self._voices = voices
        self._style = style
        self._rate_hz = rate_hz
        self._idle_timeout_s = idle_timeout_s
        self._queue = UtteranceQueue(capabilities, style.language)
        self._changed = asyncio.Event()
        self._speech: _Speech | None = None
        # The end of what was spoken last, on the engine's thread.
        self._closing: asyncio.Task[None] | None = None
        self._reading: asyncio.Timeout | None = None

    async def run(self, requests: AsyncIterator[tts_pb2.StreamingSynthesizeRequest]) -> None:
        """Serve until the caller has sent everything and has been told everything.

        Raises: InvalidRequestError, ProtocolError, OverloadedError; NotFoundError once the voice is gone.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(requests))
                tasks.create_task(self._write())
        finally:
            self._drop_speech()
            await self._closed()

    async def _read(self, requests: AsyncIterator[tts_pb2.StreamingSynthesizeRequest]) -> None:
        try:
            async with asyncio.timeout(self._idle_timeout_s) as self._reading:
                async for request in requests:
                    self._note_activity()
                    self._accept(request)
                    self._changed.set()
        except TimeoutError as error:
            raise ProtocolError(f"nothing came for {self._idle_timeout_s:g} s; open another stream to go on") from error
        finally:
            # The writer may still have something to say.
            self._reading = None
        self._queue.close()
        self._changed.set()

    def _note_activity(self) -> None:
        if self._reading is not None:
            self._reading.reschedule(asyncio.get_running_loop().time() + self._idle_timeout_s)

    def _accept(self, request: tts_pb2.StreamingSynthesizeRequest) -> None:
        match request.WhichOneof("request"):
            case "text":
                text = request.text
                self._queue.add_text(text.utterance_id, text.text, is_last=text.last)
            case "flush":
                self._queue.flush(request.flush.utterance_id)
            case "cancel":
                self._queue.cancel(request.cancel.utterance_id)
                if self._speech is not None and self._speech.utterance.is_cancelled:
                    self._speech.recital.interrupt()
            case "config":
                raise ProtocolError("config came twice; it is the first message and no other")
            case None:
                raise ProtocolError("a message was empty; send text, flush or cancel")

    async def _write(self) -> None:
        while True:
            self._changed.clear()
            if dropped := self._queue.take_cancelled():
                await self._end(dropped, tts_pb2.UtteranceEnd.REASON_CANCELLED)
            elif self._queue.head is not None:
                if not await self._advance(self._queue.head):
                    await self._changed.wait()
            elif self._queue.is_closed:
                return
            else:
                await self._changed.wait()

    async def _advance(self, utterance: Utterance) -> bool:
        """Take one step in the utterance. Returns: whether there was one to take; else it waits for text."""
        speech = self._speech
        if speech is None or speech.utterance is not utterance:
            self._drop_speech()
            await self._closed()
            self._voices.check_current(self._style)
            rates_hz = self._capabilities.sample_rate_hz, self._rate_hz
            speech = self._speech = _Speech(utterance, Recital(self._slot, self._style, utterance.text, *rates_hz))
        try:
            chunk = await speech.recital.next()
        except EngineError as error:
            await self._fail(utterance, error)
            return True
        if chunk is not None:
            await self._send(speech, chunk)
        elif speech.recital.is_over and not utterance.is_cancelled:
            self._queue.end(utterance)
            await self._end(utterance, tts_pb2.UtteranceEnd.REASON_COMPLETED)
        else:
            return utterance.is_cancelled
        return True

    async def _send(self, speech: _Speech, chunk: Chunk) -> None:
        """Send a chunk, its timing first, unless its utterance was dropped meanwhile."""
        utterance = speech.utterance
        if begins_something(chunk) and not utterance.is_cancelled:
            exact = self._capabilities.has_exact_timing
            await self._respond(_Response(timing=timing_of(utterance.id, [chunk], self._rate_hz, exact=exact)))
        if not utterance.is_cancelled:
            # Counted before it is sent: a cancel that comes meanwhile finds it on its way.
            utterance.sent_samples = chunk.start + len(chunk.pcm) // 2
            await self._respond(_Response(audio=audio_of(utterance.id, speech.sequence, chunk, self._rate_hz)))
            speech.sequence += 1

    async def _fail(self, utterance: Utterance, error: EngineError) -> None:
        log.warning("synthesis_failed", reason=error.reason, pii_error=str(error))
        if not utterance.is_cancelled:
            self._queue.end(utterance)
            await self._respond(_Response(warning=status_of(error)))
            await self._end(utterance, tts_pb2.UtteranceEnd.REASON_FAILED)

    async def _end(self, utterance: Utterance, reason: tts_pb2.UtteranceEnd.Reason.ValueType) -> None:
        if self._speech is not None and self._speech.utterance is utterance:
            self._drop_speech()
        end = end_of(utterance.id, reason, utterance.sent_samples, self._rate_hz)
        await self._respond(_Response(utterance_end=end))

    async def _respond(self, response: tts_pb2.StreamingSynthesizeResponse) -> None:
        await write_within(self._context, response, self._idle_timeout_s)
        self._note_activity()

    def _drop_speech(self) -> None:
        """Give up what is spoken, without waiting for the part of it that the engine may still be making."""
        speech, self._speech = self._speech, None
        if speech is not None:
            assert self._closing is None
            self._closing = asyncio.create_task(speech.recital.close())

    async def _closed(self) -> None:
        """Wait until the engine has put down what was given up."""
        if self._closing is not None:
            # Not awaited itself: what cancels this must not keep the engine from being told.
            await asyncio.wait([self._closing])
            closing, self._closing = self._closing, None
            closing.result()
