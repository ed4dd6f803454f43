"""The gRPC edge of the conversations: messages in, messages out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from avatar.conversation.v1 import conversation_pb2 as pb
from avatar.conversation.v1 import conversation_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.conversations import Conversations
from services.common.errors import OverloadedError
from services.common.timing import duration_of_s

_HEALTH_TIMEOUT_S = 1.0


class ConversationServicer(conversation_pb2_grpc.ConversationServiceServicer):
    """Follows conversations and takes part in them."""

    def __init__(self, conversations: Conversations, services: Mapping[str, grpc.aio.Channel]) -> None:
        """Args: services: ways to the services whose health is told, by name."""
        self._conversations = conversations
        self._services = services

    async def ListConversations(
        self, request: pb.ListConversationsRequest, context: Any
    ) -> pb.ListConversationsResponse:
        sessions = self._conversations.all()
        return pb.ListConversationsResponse(conversations=[s.message(with_transcript=False) for s in sessions])

    async def GetConversation(self, request: pb.GetConversationRequest, context: Any) -> pb.Conversation:
        return self._conversations.get(request.name).message(with_transcript=True)

    async def WatchConversation(
        self, request: pb.WatchConversationRequest, context: Any
    ) -> AsyncIterator[pb.ConversationEvent]:
        session = self._conversations.get(request.name)
        with session.events.follow() as follower:
            # Tells the caller that it follows from here on, however long nothing happens.
            await context.send_initial_metadata(())
            async for event in follower.events():
                yield event
                if event.HasField("ended"):
                    return
        raise OverloadedError("this reader was too far behind; read faster and watch again")

    async def Say(self, request: pb.SayRequest, context: Any) -> pb.SayResponse:
        session = self._conversations.get(request.name)
        return pb.SayResponse(utterance_id=session.say(request.text, request.utterance_id, request.expression))

    async def Interrupt(self, request: pb.InterruptRequest, context: Any) -> pb.InterruptResponse:
        stopped = await self._conversations.get(request.name).interrupt()
        if stopped is None:
            return pb.InterruptResponse()
        return pb.InterruptResponse(utterance_id=stopped.utterance_id, heard_duration=duration_of_s(stopped.heard_s))

    async def GetHealth(self, request: pb.GetHealthRequest, context: Any) -> pb.GetHealthResponse:
        serving = await asyncio.gather(*(_serves(channel) for channel in self._services.values()))
        missing = [name for name, serves in zip(self._services, serving, strict=True) if not serves]
        return pb.GetHealthResponse(status="degraded" if missing else "healthy", missing_services=missing)


async def _serves(channel: grpc.aio.Channel) -> bool:
    try:
        reply = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=_HEALTH_TIMEOUT_S
        )
    except grpc.aio.AioRpcError:
        return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
