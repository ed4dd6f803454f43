"""The gRPC edge of text to speech: messages in, messages out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from avatar.tts.v1 import tts_pb2, tts_pb2_grpc
from google.protobuf.empty_pb2 import Empty

from services.common.audio import wav_of
from services.common.errors import EngineError, InvalidRequestError, ProtocolError
from services.common.server import MAX_MESSAGE_BYTES
from services.common.streaming import write_within
from services.common.timing import duration_of
from services.tts.engine import Style
from services.tts.messages import (
    audio_of,
    begins_something,
    config_of,
    end_of,
    output_rate_of,
    style_of,
    timing_of,
)
from services.tts.narration import Chunk
from services.tts.recital import Recital
from services.tts.slots import Slot
from services.tts.stream import SynthesisStream
from services.tts.studio import Studio
from services.tts.text import Segmenter
from services.tts.utterances import MAX_TEXT_CHARACTERS, segmenter_for
from services.tts.voice_calls import VoiceCalls

# What is left of a message for the timing.
_MAX_WAV_BYTES = MAX_MESSAGE_BYTES - 2 * 1024 * 1024


class TextToSpeechServicer(tts_pb2_grpc.TextToSpeechServiceServicer):
    """Serves one engine; a call holds one of its speakers from beginning to end."""

    def __init__(self, studio: Studio, *, idle_timeout_s: float) -> None:
        self._capabilities = studio.capabilities
        self._slots = studio.slots
        self._voices = studio.voices
        self._voice_calls = VoiceCalls(studio.capabilities, studio.voices, studio.store, studio.maker)
        self._info = studio.info
        self._idle_timeout_s = idle_timeout_s

    # The generated base class knows streamed answers only as generators.
    async def StreamingSynthesize(  # type: ignore[override]
        self, request_iterator: AsyncIterator[tts_pb2.StreamingSynthesizeRequest], context: Any
    ) -> None:
        requests = aiter(request_iterator)
        config = await self._first_config(requests)
        style, rate_hz = await self._style_and_rate(config)
        with self._slots.lend() as slot:
            started = tts_pb2.StreamingSynthesizeResponse.Started(config=config_of(style, rate_hz), engine=self._info)
            await context.write(tts_pb2.StreamingSynthesizeResponse(started=started))
            stream = SynthesisStream(
                context, slot, self._capabilities, self._voices, style, rate_hz, self._idle_timeout_s
            )
            await stream.run(requests)

    async def _style_and_rate(self, config: tts_pb2.SynthesisConfig) -> tuple[Style, int]:
        return await style_of(config, self._voices), output_rate_of(config, self._capabilities)

    async def _first_config(
        self, requests: AsyncIterator[tts_pb2.StreamingSynthesizeRequest]
    ) -> tts_pb2.SynthesisConfig:
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                first = await anext(requests, None)
        except TimeoutError as error:
            raise ProtocolError(f"no config came in {self._idle_timeout_s:g} s; it is the first message") from error
        if first is None or first.WhichOneof("request") != "config":
            sent = "nothing" if first is None else first.WhichOneof("request") or "an empty message"
            raise ProtocolError(f"the first message is config, not {sent}")
        return first.config

    async def Synthesize(self, request: tts_pb2.SynthesizeRequest, context: Any) -> tts_pb2.SynthesizeResponse:
        style, rate_hz = await self._style_and_rate(request.config)
        return await self.speak_whole(request.text, style, rate_hz)

    async def speak_whole(self, text: str, style: Style, rate_hz: int) -> tts_pb2.SynthesizeResponse:
        """A text as one file. Args: rate_hz: of its audio.

        Raises: InvalidRequestError, OverloadedError, EngineError.
        """
        segments = self._segmented(text, style.language)
        chunks: list[Chunk] = []
        size = 0
        with self._slots.lend() as slot:
            async with contextlib.aclosing(self._recited(slot, style, segments, rate_hz)) as recited:
                async for chunk in recited:
                    chunks.append(chunk)
                    size += len(chunk.pcm)
                    if size > _MAX_WAV_BYTES:
                        raise InvalidRequestError(
                            f"this text is more than {size // 2 // rate_hz} s of speech, too long for one answer; "
                            "use SynthesizeStream, a lower sample_rate_hertz or less text"
                        )
        return tts_pb2.SynthesizeResponse(
            audio=await asyncio.to_thread(lambda: wav_of(b"".join(chunk.pcm for chunk in chunks), rate_hz)),
            timing=timing_of("", chunks, rate_hz, exact=self._capabilities.has_exact_timing),
            config=config_of(style, rate_hz),
            audio_duration=duration_of(size // 2, rate_hz),
        )

    async def SynthesizeStream(  # type: ignore[override]
        self, request: tts_pb2.SynthesizeStreamRequest, context: Any
    ) -> None:
        style, rate_hz = await self._style_and_rate(request.config)
        segments = self._segmented(request.text, style.language)
        exact = self._capabilities.has_exact_timing
        sent = 0

        async def write(**part: Any) -> None:
            await write_within(context, tts_pb2.SynthesizeStreamResponse(**part), self._idle_timeout_s)

        with self._slots.lend() as slot:
            config = config_of(style, rate_hz)
            await write(started=tts_pb2.StreamingSynthesizeResponse.Started(config=config, engine=self._info))
            sequence = 0
            try:
                async with contextlib.aclosing(self._recited(slot, style, segments, rate_hz)) as recited:
                    async for chunk in recited:
                        if begins_something(chunk):
                            await write(timing=timing_of("", [chunk], rate_hz, exact=exact))
                        await write(audio=audio_of("", sequence, chunk, rate_hz))
                        sequence += 1
                        sent += len(chunk.pcm) // 2
            except EngineError:
                # HTTP/1.1 cannot show the status that follows; this can be seen there.
                await write(utterance_end=end_of("", tts_pb2.UtteranceEnd.REASON_FAILED, sent, rate_hz))
                raise
            await write(utterance_end=end_of("", tts_pb2.UtteranceEnd.REASON_COMPLETED, sent, rate_hz))

    def _segmented(self, text: str, language: str) -> Segmenter:
        if not 1 <= len(text) <= MAX_TEXT_CHARACTERS:
            raise InvalidRequestError(f"text has 1 to {MAX_TEXT_CHARACTERS} characters, not {len(text)}")
        segments = segmenter_for(self._capabilities, language)
        segments.add(text)
        segments.complete()
        return segments

    async def _recited(
        self, slot: Slot, style: Style, segments: Segmenter, rate_hz: int
    ) -> AsyncGenerator[Chunk, None]:
        """All chunks of a whole text."""
        recital = Recital(slot, style, segments, self._capabilities.sample_rate_hz, rate_hz)
        try:
            while (chunk := await recital.next()) is not None:
                yield chunk
                # A part may have hundreds of chunks, and others take their turn between two.
                await asyncio.sleep(0)
        finally:
            await recital.close()

    async def ListVoices(self, request: tts_pb2.ListVoicesRequest, context: Any) -> tts_pb2.ListVoicesResponse:
        return self._voice_calls.list(request)

    async def GetVoice(self, request: tts_pb2.GetVoiceRequest, context: Any) -> tts_pb2.Voice:
        return self._voice_calls.get(request)

    async def CreateVoice(self, request: tts_pb2.CreateVoiceRequest, context: Any) -> tts_pb2.Voice:
        return await self._voice_calls.create(request)

    async def RemakeVoice(self, request: tts_pb2.RemakeVoiceRequest, context: Any) -> tts_pb2.Voice:
        return await self._voice_calls.remake(request)

    async def DeleteVoice(self, request: tts_pb2.DeleteVoiceRequest, context: Any) -> Empty:
        await self._voice_calls.delete(request)
        return Empty()

    async def GetHealth(self, request: tts_pb2.GetHealthRequest, context: Any) -> tts_pb2.GetHealthResponse:
        return tts_pb2.GetHealthResponse(
            status="healthy",
            engine=self._info,
            language_codes=self._capabilities.languages,
            can_clone_voices=self._capabilities.can_clone,
        )
