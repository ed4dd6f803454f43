"""Starts the speech-to-text process: settings, server, engine, warm-up, ready."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

import numpy as np
from avatar.media.v1 import media_pb2
from avatar.stt.v1 import legacy_pb2, legacy_pb2_grpc, stt_pb2, stt_pb2_grpc

from services.common import start
from services.common.log import configure, get_logger
from services.common.models import model_path
from services.common.server import running
from services.common.settings import read_or_exit
from services.stt import engines
from services.stt.engine import Hearing, SpeechEngine
from services.stt.legacy_servicer import LegacySpeechToTextServicer
from services.stt.servicer import SpeechToTextServicer
from services.stt.settings import CanarySettings, SttSettings
from services.stt.turn_model import SmartTurn
from services.stt.vad import FRAME_SAMPLES, SAMPLE_RATE_HZ, SileroVoiceDetector, VoiceDetector, load_session

SERVICE_NAMES = [
    stt_pb2.DESCRIPTOR.services_by_name["SpeechToTextService"].full_name,
    legacy_pb2.DESCRIPTOR.services_by_name["LegacySpeechToTextService"].full_name,
]
log = get_logger("services.stt")


def _warm_up(engine: SpeechEngine, voice: VoiceDetector, turn_model: SmartTurn) -> None:
    """Let every model answer once, so that the first caller waits for none."""
    voice.probability(np.zeros(FRAME_SAMPLES, np.float32))
    noise = np.random.default_rng(0).normal(0, 0.01, 2 * SAMPLE_RATE_HZ).astype(np.float32)
    turn_model.probability(noise)
    stream = engine.open_stream(engine.capabilities.check(Hearing()))
    stream.push(noise)
    stream.finish()
    stream.close()


async def serve(settings: SttSettings, load: Callable[[SttSettings], engines.Selection] = engines.load) -> None:
    """Serve until SIGTERM.

    Args: load: makes the engine.
    Raises: EngineError if the engine cannot run here, NotReadyError without the models.
    """
    with contextlib.ExitStack() as opened:
        async with running(settings, SERVICE_NAMES) as server:
            selection = await asyncio.to_thread(load, settings)
            opened.callback(selection.engine.close)
            vad = await asyncio.to_thread(load_session, model_path(settings.data_dir, "silero_vad.onnx"))
            turn_model = await asyncio.to_thread(SmartTurn, model_path(settings.data_dir, "smart-turn-v3.2-cpu.onnx"))
            opened.callback(turn_model.close)
            await asyncio.to_thread(_warm_up, selection.engine, SileroVoiceDetector(vad), turn_model)
            log.info("engine_ready", engine=selection.name, reason=selection.reason)
            info = media_pb2.EngineInfo(name=selection.name, reason=selection.reason)
            detectors = partial(SileroVoiceDetector, vad)
            servicer = SpeechToTextServicer(selection.engine, info, detectors, turn_model, settings)
            stt_pb2_grpc.add_SpeechToTextServiceServicer_to_server(servicer, server.grpc)
            older = LegacySpeechToTextServicer(servicer, selection.name, selection.engine.capabilities)
            legacy_pb2_grpc.add_LegacySpeechToTextServiceServicer_to_server(older, server.grpc)
            await server.ready()
            await server.stop_requested()


def main() -> None:
    """Entry point of `python -m services.stt`, and of the second recogniser as `python -m services.stt canary`."""
    parser = argparse.ArgumentParser(prog="python -m services.stt", description=__doc__)
    kinds: dict[str, type[SttSettings]] = {"stt": SttSettings, "canary": CanarySettings}
    parser.add_argument("section", nargs="?", choices=kinds, default="stt", help="of avatar.toml")
    section = parser.parse_args().section
    settings = read_or_exit(kinds[section])
    configure(section, settings.log_level)
    start.run(serve(settings))


if __name__ == "__main__":
    main()
