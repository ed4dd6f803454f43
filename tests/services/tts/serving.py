"""A text-to-speech server on loopback for a test, and the messages that tests send."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import grpc
from avatar.media.v1 import media_pb2
from avatar.tts.v1 import legacy_pb2_grpc, tts_pb2, tts_pb2_grpc

from services.common.server import Server
from services.common.settings import DrainSettings, ServerSettings
from services.tts.engine import SpeechEngine
from services.tts.legacy_servicer import LegacyTextToSpeechServicer
from services.tts.servicer import TextToSpeechServicer
from services.tts.studio import Studio

NAME = "avatar.tts.v1.TextToSpeechService"
LEGACY_NAME = "avatar.tts.v1.LegacyTextToSpeechService"
SETTINGS = ServerSettings(drain=DrainSettings(announce_s=0.0, grace_s=2.0))
INFO = media_pb2.EngineInfo(name="fake", reason="a test asked for it")
Request = tts_pb2.StreamingSynthesizeRequest
End = tts_pb2.UtteranceEnd
# Known to the type checker only.
Stub: TypeAlias = "tts_pb2_grpc.TextToSpeechServiceAsyncStub"


@asynccontextmanager
async def served(
    engine: SpeechEngine, idle_timeout_s: float = 30.0, data_dir: Path | None = None, max_voices: int = 3
) -> AsyncIterator[int]:
    """The port of all of the service on loopback. Args: data_dir: None for one that is removed."""
    with tempfile.TemporaryDirectory() as passing:
        studio = Studio(engine, INFO, data_dir or Path(passing), max_voices)
        server = Server(SETTINGS, [NAME, LEGACY_NAME])
        await server.start()
        servicer = TextToSpeechServicer(studio, idle_timeout_s=idle_timeout_s)
        tts_pb2_grpc.add_TextToSpeechServiceServicer_to_server(servicer, server.grpc)
        older = LegacyTextToSpeechServicer(servicer, studio)
        legacy_pb2_grpc.add_LegacyTextToSpeechServiceServicer_to_server(older, server.grpc)
        await server.ready()
        try:
            yield server.port
        finally:
            await server.stop()
            studio.close()


@asynccontextmanager
async def channel_to(engine: SpeechEngine, **options: Any) -> AsyncIterator[grpc.aio.Channel]:
    """A channel by which all of the service is reached over real gRPC. Args: as of `served`."""
    async with served(engine, **options) as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


@asynccontextmanager
async def serving(engine: SpeechEngine, **options: Any) -> AsyncIterator[Stub]:
    """A stub whose calls reach the engine over real gRPC. Args: as of `served`."""
    async with channel_to(engine, **options) as channel:
        yield tts_pb2_grpc.TextToSpeechServiceStub(channel)


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
