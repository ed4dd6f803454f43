"""Signalling over WebSocket, one conversation per socket.

Text frames of JSON with a `type`. The types of the older stack keep their names and fields (config, offer, answer,
ice-candidate, error, ping, pong). A page also sends text, interrupt, avatar and expression, and receives event (a
ConversationEvent as JSON) and avatar.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web
from google.protobuf.json_format import MessageToDict

from orchestrator.conversations import Conversations
from orchestrator.session import Session, SessionConfig
from services.common.errors import AvatarError, InvalidRequestError, OverloadedError
from services.common.log import get_logger

PING_INTERVAL_S = 30.0
# An offer has some 10 KB; a typed turn at most 20,000 characters.
MAX_MESSAGE_BYTES = 256 * 1024
log = get_logger(__name__)


class Signaling:
    """Answers WebSockets. `legacy` sockets get the old messages only."""

    def __init__(self, conversations: Conversations, configure: Callable[[Any], SessionConfig]) -> None:
        """Args: configure: makes a conversation's config from the query of its address.

        Raises: InvalidRequestError on a query that it cannot read.
        """
        self._conversations = conversations
        self._configure = configure
        self._sockets: set[web.WebSocketResponse] = set()

    async def serve(self, request: web.Request, *, legacy: bool) -> web.WebSocketResponse:
        """Run a socket from its handshake to its end."""
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            async with self._conversations.conversation(self._configure(request.query)) as session:
                await self._converse(socket, session, legacy=legacy)
        except OverloadedError as full:
            log.warning("server_full", error=str(full))
            await socket.send_json({"type": "error", "error": "Server full"})
        except InvalidRequestError as bad:
            await socket.send_json({"type": "error", "error": str(bad)})
        finally:
            self._sockets.discard(socket)
            await socket.close()
        return socket

    async def close(self) -> None:
        """End every socket, and with it its conversation."""
        await asyncio.gather(*(socket.close(code=1001, message=b"the server stops") for socket in self._sockets))

    async def _converse(self, socket: web.WebSocketResponse, session: Session, *, legacy: bool) -> None:
        data = {"iceServers": [], "videoCodec": "H264", "audioCodec": "opus"}
        if not legacy:
            data["conversation"] = session.name
        await socket.send_json({"type": "config", "peerId": session.session_id, "data": data})
        async with asyncio.TaskGroup() as tasks:
            ending = [tasks.create_task(self._run(socket, session)), tasks.create_task(self._ping(socket))]
            if not legacy:
                tasks.create_task(self._tell(socket, session))
            await self._listen(socket, session, legacy=legacy)
            for task in ending:
                task.cancel()

    async def _listen(self, socket: web.WebSocketResponse, session: Session, *, legacy: bool) -> None:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                await self._act(socket, session, _parsed(message.data), legacy=legacy)
            except AvatarError as error:
                await socket.send_json({"type": "error", "error": str(error)})

    async def _act(
        self, socket: web.WebSocketResponse, session: Session, message: dict[str, Any], *, legacy: bool
    ) -> None:
        data = message.get("data")
        match message.get("type"):
            case "offer":
                sdp = await session.peer.answer(_field(data, "sdp", str))
                answer = {"type": "answer", "sdp": sdp}
                await socket.send_json({"type": "answer", "peerId": session.session_id, "data": answer})
            case "ice-candidate":
                if isinstance(data, dict):
                    await session.peer.add_candidate(data)
            case "text" if not legacy:
                session.type(_field(data, "text", str))
            case "interrupt" if not legacy:
                # Acknowledged by the utterance_ended event.
                await session.interrupt()
            case "avatar" if not legacy:
                avatar = _field(data, "avatar", str)
                await session.switch_avatar(avatar)
                await socket.send_json({"type": "avatar", "data": {"avatar": avatar}})
            case "expression" if not legacy:
                await session.set_expression(_field(data, "kind", str), float(_field(data, "intensity", int | float)))
            case _:
                # Unknown types have never been answered.
                log.debug("message_ignored", type=str(message.get("type"))[:40])

    async def _run(self, socket: web.WebSocketResponse, session: Session) -> None:
        await session.run()
        await socket.close()

    async def _ping(self, socket: web.WebSocketResponse) -> None:
        while True:
            await asyncio.sleep(PING_INTERVAL_S)
            await socket.send_json({"type": "ping"})

    async def _tell(self, socket: web.WebSocketResponse, session: Session) -> None:
        with session.events.follow() as follower:
            async for event in follower.events():
                if socket.closed:
                    return
                await socket.send_json(
                    {"type": "event", "data": MessageToDict(event, preserving_proto_field_name=True)}
                )


def _parsed(text: str) -> dict[str, Any]:
    """Raises: InvalidRequestError in the older stack's words."""
    try:
        message = json.loads(text)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise InvalidRequestError("Invalid message format")
    return message


def _field(data: Any, name: str, kind: Any) -> Any:
    value = data.get(name) if isinstance(data, dict) else None
    if not isinstance(value, kind):
        raise InvalidRequestError(f"Invalid message format: data.{name} is missing or of the wrong type")
    return value
