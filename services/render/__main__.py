"""The face service: `python -m services.render`."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import cv2
from avatar.render.v1 import legacy_pb2_grpc, render_pb2_grpc

from services.common import log, start
from services.common.server import running
from services.common.settings import read_or_exit
from services.render import engines
from services.render.avatar_servicer import AvatarServicer
from services.render.avatars import AvatarStore
from services.render.legacy_servicer import LegacyRenderServicer
from services.render.rehearsal import rehearse
from services.render.servicer import RenderServicer
from services.render.settings import RenderSettings
from services.render.stage import Stage

SERVICES = (
    "avatar.render.v1.RenderService",
    "avatar.render.v1.AvatarService",
    "avatar.render.v1.LegacyRenderService",
)


def _load(settings: RenderSettings) -> tuple[engines.Chosen, AvatarStore]:
    chosen = engines.load(settings)
    log.get_logger(__name__).info(
        "engine_chosen",
        engine=chosen.engine.name,
        reason=chosen.reason,
        path=chosen.engine.path,
        fallback=chosen.fallback.name if chosen.fallback else "",
        prepared_mb=round(chosen.engine.capabilities.prepared_bytes / 1e6, 1),
    )
    return chosen, AvatarStore(settings.data_dir, settings.max_avatars)


async def serve(settings: RenderSettings) -> None:
    """Run until SIGTERM."""
    with ExitStack() as after_drain:
        async with running(settings, SERVICES) as server:
            stage = Stage(settings, *await asyncio.to_thread(_load, settings))
            # Streams draw until they have drained.
            after_drain.callback(stage.close)
            await stage.warm_up()
            renderer = RenderServicer(settings, stage)
            render_pb2_grpc.add_RenderServiceServicer_to_server(renderer, server.grpc)
            render_pb2_grpc.add_AvatarServiceServicer_to_server(AvatarServicer(stage), server.grpc)
            older = LegacyRenderServicer(renderer, stage)
            legacy_pb2_grpc.add_LegacyRenderServiceServicer_to_server(older, server.grpc)
            async with server.rehearsal() as (channel, metadata):
                await rehearse(channel, metadata)
            async with asyncio.TaskGroup() as tasks:
                keeping = tasks.create_task(stage.keep())
                await server.ready()
                await server.stop_requested()
                keeping.cancel()


if __name__ == "__main__":
    settings = read_or_exit(RenderSettings)
    log.configure("render", settings.log_level)
    # What is wrong with a picture is told to its sender; OpenCV would put lines of its own between those of the log.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    start.run(serve(settings))
