"""Settings, then channels, then the two servers; nothing else starts anything."""

from __future__ import annotations

from typing import Any, cast, get_args

from aiohttp import web
from avatar.conversation.v1 import conversation_pb2_grpc

from orchestrator import aiortc_adapter
from orchestrator.clients.channel import open_channel
from orchestrator.clients.stt import recogniser
from orchestrator.conversations import Conversations
from orchestrator.ice import Ice
from orchestrator.servicer import ConversationServicer
from orchestrator.session_config import Channels, SessionConfig
from orchestrator.settings import OrchestratorSettings, ReplyName
from orchestrator.signaling import Signaling
from orchestrator.video_encoder import choose_preset
from orchestrator.web import application
from services.common import log as logs
from services.common import start
from services.common.errors import InvalidRequestError
from services.common.server import running
from services.common.settings import read_or_exit

SERVICE = "avatar.conversation.v1.ConversationService"
VIDEO_SIZE = 512
log = logs.get_logger(__name__)


def session_config(settings: OrchestratorSettings, preset: str, query: Any) -> SessionConfig:
    """A conversation's config: the settings, and what the query of its address says otherwise.

    Raises: InvalidRequestError if the query names a reply that there is not.
    """
    reply = query.get("reply") or settings.reply
    if reply not in get_args(ReplyName):
        raise InvalidRequestError(f"there is no reply {reply[:40]!r}; there are {', '.join(get_args(ReplyName))}")
    return SessionConfig(
        avatar=query.get("avatar") or settings.avatar,
        voice=query.get("voice") or settings.voice,
        language_code=query.get("language") or settings.language_code,
        reply=cast("ReplyName", reply),
        frame_rate_hz=settings.frame_rate_hz,
        preset=preset,
        idle_timeout_s=settings.idle_timeout_s,
        ice=Ice(settings.ice, lan=settings.lan),
    )


async def main() -> None:
    settings = read_or_exit(OrchestratorSettings)
    logs.configure("orchestrator", settings.log_level)
    aiortc_adapter.check_version()
    preset, measured_ms = choose_preset(VIDEO_SIZE, settings.frame_rate_hz)
    log.info(
        "encoder_chosen", codec="libx264", preset=preset, frame_ms={k: round(v, 2) for k, v in measured_ms.items()}
    )
    async with running(settings, [SERVICE]) as server:
        channels = Channels(
            stt=open_channel(settings.stt_address),
            tts=open_channel(settings.tts_address),
            render=open_channel(settings.render_address),
            tracer=server.tracer,
        )
        conversations = Conversations(channels, settings.max_streams, settings.kept_conversations)
        signaling = Signaling(conversations, lambda query: session_config(settings, preset, query))
        services = {"stt": channels.stt, "tts": channels.tts, "render": channels.render}
        conversation_pb2_grpc.add_ConversationServiceServicer_to_server(
            ConversationServicer(conversations, services), server.grpc
        )
        chosen = {"avatar": settings.avatar, "language": settings.language_code, "voice": settings.voice}
        page = application(signaling, chosen | {"reply": settings.reply}, lambda: recogniser(channels.stt))
        runner = web.AppRunner(page, access_log=None, shutdown_timeout=settings.drain.grace_s)
        await runner.setup()
        site = web.TCPSite(runner, settings.host, settings.http_port)
        await site.start()
        try:
            await server.ready()
            await server.stop_requested()
        finally:
            # First those who send people here hear of it, then the people.
            signaling.drain()
            await server.announce_stop()
            await signaling.close()
            await runner.cleanup()
            for channel in services.values():
                await channel.close()


if __name__ == "__main__":
    start.run(main())
