"""A speech-to-text server on loopback for a test, and the messages that tests send."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc
import numpy as np
from avatar.media.v1 import media_pb2
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc
from numpy.typing import NDArray

from services.common.audio import pcm16_of
from services.common.server import Server
from services.common.settings import DrainSettings
from services.stt.engine import SpeechEngine
from services.stt.servicer import SpeechToTextServicer
from services.stt.settings import SttSettings
from services.stt.turn_model import TurnModel
from services.stt.vad import VoiceDetector
from tests.fakes.hearing_engine import HearingEngine, LoudnessDetector, ScriptedTurnModel

NAME = "avatar.stt.v1.SpeechToTextService"
INFO = media_pb2.EngineInfo(name="fake", reason="a test asked for it")
Request = stt_pb2.StreamingRecognizeRequest
Response = stt_pb2.StreamingRecognizeResponse
Event = stt_pb2.TurnEvent
# Known to the type checker only.
Stub: TypeAlias = "stt_pb2_grpc.SpeechToTextServiceAsyncStub"


@asynccontextmanager
async def serving(
    engine: SpeechEngine | None = None,
    turn_model: TurnModel | None = None,
    new_voice_detector: Callable[[], VoiceDetector] = LoudnessDetector,
    **settings: Any,
) -> AsyncIterator[Stub]:
    """A stub whose calls reach the engine over real gRPC; what is not given is a fake."""
    options = SttSettings(port=0, drain=DrainSettings(announce_s=0.0, grace_s=2.0), **settings)
    server = Server(options, [NAME])
    await server.start()
    servicer = SpeechToTextServicer(
        engine or HearingEngine(), INFO, new_voice_detector, turn_model or ScriptedTurnModel(0.9), options
    )
    stt_pb2_grpc.add_SpeechToTextServiceServicer_to_server(servicer, server.grpc)
    await server.ready()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield stt_pb2_grpc.SpeechToTextServiceStub(channel)
    finally:
        await server.stop()


def config(
    *,
    language_code: str = "",
    language_codes: Sequence[str] = (),
    translation_language_code: str = "",
    phrases: Sequence[str] = (),
    sample_rate_hz: int = 16_000,
    channel_count: int = 1,
    encoding: media_pb2.AudioEncoding.ValueType = media_pb2.AUDIO_ENCODING_LINEAR16,
    interim_results: bool = False,
    turn: stt_pb2.TurnConfig | None = None,
) -> Request:
    """The first message of a stream."""
    audio_format = media_pb2.AudioFormat(
        encoding=encoding, sample_rate_hertz=sample_rate_hz, channel_count=channel_count
    )
    return Request(
        config=stt_pb2.StreamingRecognitionConfig(
            recognition=stt_pb2.RecognitionConfig(
                language_code=language_code,
                language_codes=language_codes,
                translation_language_code=translation_language_code,
                phrases=phrases,
            ),
            audio_format=audio_format,
            interim_results=interim_results,
            turn=turn,
        )
    )


def audio(*sounds: NDArray[np.float32]) -> list[Request]:
    """The sounds as messages of 20 ms."""
    pcm = pcm16_of(np.concatenate(sounds))
    return [Request(audio=pcm[begin : begin + 640]) for begin in range(0, len(pcm), 640)]


def assistant(*, speaking: bool, text: str = "") -> Request:
    """What the assistant does, and says."""
    return Request(assistant_state=Request.AssistantState(speaking=speaking, text=text))


async def converse(stt: Stub, requests: Iterable[Request]) -> list[Response]:
    """Everything that the server answers when the requests are sent and the stream is closed."""

    async def send() -> AsyncIterator[Request]:
        for request in requests:
            yield request

    return [response async for response in stt.StreamingRecognize(send())]


def told(responses: list[Response]) -> list[str]:
    """Events by name and finals in quotes, in order; partials left out."""
    names = []
    for response in responses:
        if response.HasField("turn_event"):
            names.append(Event.Kind.Name(response.turn_event.kind).removeprefix("KIND_"))
        elif response.result.is_final:
            names.append(f'"{response.result.transcript}"')
    return names
