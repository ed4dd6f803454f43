"""Client of the speech-to-text service: one stream hears one conversation."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
from avatar.media.v1 import media_pb2
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc

from orchestrator.clients.channel import domain_errors, prompt_answer, session_metadata
from orchestrator.microphone import RECOGNISER_RATE_HZ

Request = stt_pb2.StreamingRecognizeRequest
Response = stt_pb2.StreamingRecognizeResponse
# The contract's bound of AssistantState.text.
_MOST_ASSISTANT_CHARACTERS = 4000


class Listening:
    """One open stream, written to by one task. Every method raises AvatarError once the stream is gone."""

    def __init__(self, call: grpc.aio.StreamStreamCall[Request, Response]) -> None:
        self._call = call

    async def _write(self, request: Request) -> None:
        with domain_errors():
            await self._call.write(request)

    async def send_audio(self, pcm: bytes) -> None:
        """Args: pcm: LINEAR16 at 16 kHz, mono."""
        await self._write(Request(audio=pcm))

    async def set_assistant(self, *, speaking: bool, text: str) -> None:
        """Tell whether the avatar is being heard, and what it says. Args: text: its end is left out if it is long."""
        state = Request.AssistantState(speaking=speaking, text=text[:_MOST_ASSISTANT_CHARACTERS])
        await self._write(Request(assistant_state=state))

    async def finish(self) -> None:
        """Say that nothing more is sent; the stream ends once everything was answered."""
        with domain_errors():
            await self._call.done_writing()

    async def responses(self) -> AsyncIterator[Response]:
        """Results and turn events, until the stream ends."""
        with domain_errors():
            while (response := await self._call.read()) is not grpc.aio.EOF:
                assert isinstance(response, Response)
                yield response


@dataclass(frozen=True, slots=True)
class Recogniser:
    """What listens. Args: engine: its name as in the settings; language_codes: BCP-47 tags of what it understands."""

    engine: str
    language_codes: tuple[str, ...]


async def recogniser(channel: grpc.aio.Channel) -> Recogniser:
    """What listens now. Raises: AvatarError."""
    async with prompt_answer():
        health = await stt_pb2_grpc.SpeechToTextServiceStub(channel).GetHealth(stt_pb2.GetHealthRequest())
        return Recogniser(health.engine.name, tuple(health.language_codes))


@contextlib.asynccontextmanager
async def listening(channel: grpc.aio.Channel, session_id: str, language_code: str) -> AsyncIterator[Listening]:
    """Open a stream; it has been accepted when the body runs. Raises: AvatarError."""
    config = stt_pb2.StreamingRecognitionConfig(
        recognition=stt_pb2.RecognitionConfig(language_code=language_code),
        audio_format=media_pb2.AudioFormat(
            encoding=media_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=RECOGNISER_RATE_HZ, channel_count=1
        ),
        interim_results=True,
    )
    stub = stt_pb2_grpc.SpeechToTextServiceStub(channel)
    call = stub.StreamingRecognize(metadata=session_metadata(session_id))
    try:
        async with prompt_answer():
            await call.write(Request(config=config))
            await call.read()
        yield Listening(call)
    finally:
        call.cancel()
