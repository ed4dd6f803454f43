"""The three services as a fuzzer meets them: the real edge on loopback, quick engines behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2_grpc
from avatar.stt.v1 import stt_pb2_grpc
from avatar.tts.v1 import tts_pb2_grpc

from services.common.server import Server
from services.common.settings import DrainSettings, ServerSettings
from services.render.__main__ import SERVICES
from services.render.avatar_servicer import AvatarServicer
from services.render.avatars import AvatarStore
from services.render.engines import Chosen
from services.render.servicer import RenderServicer
from services.render.settings import RenderSettings
from services.render.stage import Stage
from services.stt.servicer import SpeechToTextServicer
from services.stt.settings import SttSettings
from services.tts.servicer import TextToSpeechServicer
from services.tts.studio import Studio
from tests.fakes.drawing_flat import FlatEngine
from tests.fakes.hearing_engine import HearingEngine, LoudnessDetector, ScriptedTurnModel
from tests.fakes.speaking_engine import SpeakingEngine

MAX_STREAMS = 8
_INFO = media_pb2.EngineInfo(name="fake", reason="a test asked for it")
_SETTINGS: dict[str, Any] = {
    "port": 0,
    "max_streams": MAX_STREAMS,
    "idle_timeout_s": 5.0,
    "drain": DrainSettings(announce_s=0.0, grace_s=2.0),
}


@asynccontextmanager
async def _serving(
    settings: ServerSettings, names: Sequence[str], add: Callable[[Any], None]
) -> AsyncIterator[grpc.aio.Channel]:
    server = Server(settings, names)
    await server.start()
    add(server.grpc)
    await server.ready()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield channel
    finally:
        await server.stop()


@asynccontextmanager
async def serving_render(data_dir: Path) -> AsyncIterator[grpc.aio.Channel]:
    """The face service. Args: data_dir: with models in it."""
    settings = RenderSettings(**_SETTINGS)
    stage = Stage(settings, Chosen(FlatEngine(), "a test asked for it"), AvatarStore(data_dir, settings.max_avatars))

    def add(server: Any) -> None:
        render_pb2_grpc.add_RenderServiceServicer_to_server(RenderServicer(settings, stage), server)
        render_pb2_grpc.add_AvatarServiceServicer_to_server(AvatarServicer(stage), server)

    try:
        async with _serving(settings, SERVICES, add) as channel:
            yield channel
    finally:
        stage.close()


@asynccontextmanager
async def serving_stt(_: Path) -> AsyncIterator[grpc.aio.Channel]:
    """The ears."""
    settings = SttSettings(**_SETTINGS)
    servicer = SpeechToTextServicer(
        HearingEngine(), _INFO, LoudnessDetector, ScriptedTurnModel(0.2, 0.9, 0.4), settings
    )

    def add(server: Any) -> None:
        stt_pb2_grpc.add_SpeechToTextServiceServicer_to_server(servicer, server)

    async with _serving(settings, ["avatar.stt.v1.SpeechToTextService"], add) as channel:
        yield channel


@asynccontextmanager
async def serving_tts(data_dir: Path) -> AsyncIterator[grpc.aio.Channel]:
    """The voice, with an engine that takes on others."""
    studio = Studio(SpeakingEngine(MAX_STREAMS, clones_as="fake-1"), _INFO, data_dir, max_voices=3)
    servicer = TextToSpeechServicer(studio, idle_timeout_s=_SETTINGS["idle_timeout_s"])

    def add(server: Any) -> None:
        tts_pb2_grpc.add_TextToSpeechServiceServicer_to_server(servicer, server)

    try:
        async with _serving(ServerSettings(**_SETTINGS), ["avatar.tts.v1.TextToSpeechService"], add) as channel:
            yield channel
    finally:
        studio.close()
