"""A text-to-speech server on loopback for a test, and the messages that tests send."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import grpc
from avatar.media.v1 import media_pb2
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc

from services.common.server import Server
from services.common.settings import DrainSettings, ServerSettings
from services.tts.engine import SpeechEngine
from services.tts.servicer import TextToSpeechServicer
from services.tts.slots import Slots
from services.tts.voices import Voices

NAME = "avatar.tts.v1.TextToSpeechService"
SETTINGS = ServerSettings(drain=DrainSettings(announce_s=0.0, grace_s=2.0))
INFO = media_pb2.EngineInfo(name="fake", reason="a test asked for it")
Request = tts_pb2.StreamingSynthesizeRequest
End = tts_pb2.UtteranceEnd
# Known to the type checker only.
Stub: TypeAlias = "tts_pb2_grpc.TextToSpeechServiceAsyncStub"


@asynccontextmanager
async def serving(engine: SpeechEngine, idle_timeout_s: float = 30.0) -> AsyncIterator[Stub]:
    """A stub whose calls reach the engine over real gRPC."""
    server = Server(SETTINGS, [NAME])
    await server.start()
    slots = Slots(engine.speakers)
    voices = Voices(engine.capabilities)
    servicer = TextToSpeechServicer(engine, slots, voices, INFO, idle_timeout_s=idle_timeout_s)
    tts_pb2_grpc.add_TextToSpeechServiceServicer_to_server(servicer, server.grpc)
    await server.ready()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield tts_pb2_grpc.TextToSpeechServiceStub(channel)
    finally:
        await server.stop()
        slots.close()


def config(*, sample_rate_hz: int = 0, **fields: str | float) -> tts_pb2.StreamingSynthesizeRequest:
    synthesis = tts_pb2.SynthesisConfig(**fields)  # type: ignore[arg-type]
    if sample_rate_hz:
        synthesis.audio_format.sample_rate_hertz = sample_rate_hz
    return Request(config=synthesis)


def text(utterance_id: str, text: str, *, last: bool = False) -> tts_pb2.StreamingSynthesizeRequest:
    return Request(text=Request.TextChunk(utterance_id=utterance_id, text=text, last=last))


def flush(utterance_id: str) -> tts_pb2.StreamingSynthesizeRequest:
    return Request(flush=Request.Flush(utterance_id=utterance_id))


def cancel(utterance_id: str = "") -> tts_pb2.StreamingSynthesizeRequest:
    return Request(cancel=Request.Cancel(utterance_id=utterance_id))
