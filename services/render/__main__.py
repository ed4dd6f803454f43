"""The face service: `python -m services.render`."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from avatar.render.v1 import render_pb2_grpc

from services.common import log
from services.common.server import running
from services.render import engines
from services.render.avatar_servicer import AvatarServicer
from services.render.avatars import AvatarStore
from services.render.servicer import RenderServicer
from services.render.settings import RenderSettings
from services.render.stage import Stage

SERVICES = ("avatar.render.v1.RenderService", "avatar.render.v1.AvatarService")


def _load(settings: RenderSettings) -> Stage:
    chosen = engines.load(settings)
    log.get_logger(__name__).info("engine_chosen", engine=chosen.engine.name, reason=chosen.reason)
    return Stage(settings, chosen, AvatarStore(settings.data_dir, settings.max_avatars))


async def serve(settings: RenderSettings) -> None:
    """Run until SIGTERM."""
    with ExitStack() as after_drain:
        async with running(settings, SERVICES) as server:
            stage = await asyncio.to_thread(_load, settings)
            # Streams draw until they have drained.
            after_drain.callback(stage.close)
            await stage.warm_up()
            render_pb2_grpc.add_RenderServiceServicer_to_server(RenderServicer(settings, stage), server.grpc)
            render_pb2_grpc.add_AvatarServiceServicer_to_server(AvatarServicer(stage), server.grpc)
            await server.ready()
            await server.stop_requested()


if __name__ == "__main__":
    settings = RenderSettings()
    log.configure("render", settings.log_level)
    asyncio.run(serve(settings))
