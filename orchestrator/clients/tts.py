"""Client of the text-to-speech service: one stream speaks one utterance."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
from avatar.media.v1 import media_pb2
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc

from orchestrator.clients.channel import domain_errors, prompt_answer, session_metadata
from orchestrator.media_clock import SAMPLE_RATE_HZ
from services.common.errors import EngineError

Request = tts_pb2.StreamingSynthesizeRequest
Response = tts_pb2.StreamingSynthesizeResponse


@dataclass(frozen=True, slots=True)
class Voice:
    """How the avatar speaks; empty fields take the service's defaults."""

    name: str
    language_code: str


class Speaking:
    """One open stream, written to by one task. Every method raises AvatarError once the stream is gone."""

    def __init__(self, call: grpc.aio.StreamStreamCall[Request, Response], utterance_id: str) -> None:
        self._call = call
        self._utterance_id = utterance_id

    async def say(self, text: str, *, last: bool) -> None:
        """Add a piece of the text."""
        chunk = Request.TextChunk(utterance_id=self._utterance_id, text=text, last=last)
        with domain_errors():
            await self._call.write(Request(text=chunk))

    async def parts(self) -> AsyncIterator[tts_pb2.Timing | media_pb2.AudioChunk]:
        """Timing and sound, until the utterance ends. Raises: EngineError if the engine failed in it."""
        with domain_errors():
            while (response := await self._call.read()) is not grpc.aio.EOF:
                assert isinstance(response, Response)
                match response.WhichOneof("response"):
                    case "timing":
                        yield response.timing
                    case "audio":
                        yield response.audio
                    case "utterance_end":
                        if response.utterance_end.reason == tts_pb2.UtteranceEnd.REASON_FAILED:
                            raise EngineError("the voice failed in mid-sentence")
                        return


@contextlib.asynccontextmanager
async def speaking(
    channel: grpc.aio.Channel, session_id: str, utterance_id: str, voice: Voice
) -> AsyncIterator[Speaking]:
    """Open a stream at 48 kHz; it has been accepted when the body runs. Raises: AvatarError."""
    config = tts_pb2.SynthesisConfig(
        voice=voice.name,
        language_code=voice.language_code,
        audio_format=media_pb2.AudioFormat(
            encoding=media_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=SAMPLE_RATE_HZ, channel_count=1
        ),
    )
    stub = tts_pb2_grpc.TextToSpeechServiceStub(channel)
    call = stub.StreamingSynthesize(metadata=session_metadata(session_id))
    try:
        async with prompt_answer():
            await call.write(Request(config=config))
            await call.read()
        yield Speaking(call, utterance_id)
    finally:
        call.cancel()
