"""Starts the text-to-speech process: settings, server, engine, warm-up, ready."""

from __future__ import annotations

import asyncio

from avatar.media.v1 import media_pb2
from avatar.tts.v1 import legacy_pb2, legacy_pb2_grpc, tts_pb2, tts_pb2_grpc

from services.common import start
from services.common.log import configure, get_logger
from services.common.server import running
from services.common.settings import read_or_exit
from services.tts import engines
from services.tts.legacy_servicer import LegacyTextToSpeechServicer
from services.tts.servicer import TextToSpeechServicer
from services.tts.settings import TtsSettings
from services.tts.studio import Studio

SERVICE_NAMES = [
    tts_pb2.DESCRIPTOR.services_by_name["TextToSpeechService"].full_name,
    legacy_pb2.DESCRIPTOR.services_by_name["LegacyTextToSpeechService"].full_name,
]
log = get_logger("services.tts")


async def serve(settings: TtsSettings) -> None:
    """Serve until SIGTERM. Raises: NotReadyError, EngineError if the engine cannot run here."""
    async with running(settings, SERVICE_NAMES) as server:
        selection = await asyncio.to_thread(engines.load, settings)
        path = selection.engine.capabilities.path or None
        info = media_pb2.EngineInfo(name=selection.name, reason=selection.reason, path=path)
        studio = await asyncio.to_thread(
            Studio, selection.engine, info, settings.data_dir, settings.max_voices, settings.default_voice
        )
        await studio.warm_up()
        log.info("engine_ready", engine=selection.name, reason=selection.reason)
        servicer = TextToSpeechServicer(studio, idle_timeout_s=settings.idle_timeout_s)
        tts_pb2_grpc.add_TextToSpeechServiceServicer_to_server(servicer, server.grpc)
        older = LegacyTextToSpeechServicer(servicer, studio)
        legacy_pb2_grpc.add_LegacyTextToSpeechServiceServicer_to_server(older, server.grpc)
        await server.ready()
        await server.stop_requested()
    await asyncio.to_thread(studio.close)


def main() -> None:
    """Entry point of `python -m services.tts`."""
    settings = read_or_exit(TtsSettings)
    configure("tts", settings.log_level)
    start.run(serve(settings))


if __name__ == "__main__":
    main()
