"""Signalling over WebSocket, one conversation per socket.

Text frames of JSON with a `type`. The types of the older stack keep their names and fields (config, offer, answer,
ice-candidate, error, ping, pong). A page also sends text, interrupt, avatar and expression, and config, which asks for
a fresh one before it offers anew; it receives event (a ConversationEvent as JSON) and avatar.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web
from google.protobuf.json_format import MessageToDict

from orchestrator.conversations import Conversations
from orchestrator.session import Session
from orchestrator.session_config import SessionConfig
from services.common import telemetry
from services.common.errors import AvatarError, InvalidRequestError, OverloadedError
from services.common.log import get_logger

# Both by a message of the older stack, and by a frame that a client must answer or be taken for gone.
PING_INTERVAL_S = 30.0
# How long a client has to answer the close frame.
_CLOSE_TIMEOUT_S = 2.0
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
        self._draining = False

    async def serve(self, request: web.Request, *, legacy: bool) -> web.StreamResponse:
        """Run a socket from its handshake to its end. Once it drains, the answer is 503."""
        if self._draining:
            return web.Response(status=503, text="the server is stopping; another replica may serve")
        socket = web.WebSocketResponse(
            max_msg_size=MAX_MESSAGE_BYTES, heartbeat=PING_INTERVAL_S, timeout=_CLOSE_TIMEOUT_S
        )
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            async with self._conversations.conversation(self._configure(request.query), _trace(request)) as session:
                await self._converse(socket, session, legacy=legacy)
        except OverloadedError as full:
            log.warning("server_full", error=str(full))
            await _send(socket, {"type": "error", "error": "Server full"})
        except InvalidRequestError as bad:
            await _send(socket, {"type": "error", "error": str(bad)})
        finally:
            self._sockets.discard(socket)
            await socket.close()
        return socket

    def drain(self) -> None:
        """Begin no more conversations."""
        self._draining = True

    async def close(self) -> None:
        """End every socket, and with it its conversation."""
        await asyncio.gather(*(socket.close(code=1001, message=b"the server stops") for socket in self._sockets))

    async def _converse(self, socket: web.WebSocketResponse, session: Session, *, legacy: bool) -> None:
        await self._send_config(socket, session, legacy=legacy)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run(socket, session, legacy=legacy))
            pinging = tasks.create_task(self._ping(socket))
            if not legacy:
                tasks.create_task(self._tell(socket, session))
            await self._listen(socket, session, legacy=legacy)
            pinging.cancel()
            # Not cancelled: a task that is cancelled before its first step would never clean up.
            session.end("The conversation was closed.")

    async def _send_config(self, socket: web.WebSocketResponse, session: Session, *, legacy: bool) -> None:
        ice_servers = session.config.ice.servers(session.session_id)
        data: dict[str, Any] = {"iceServers": ice_servers, "videoCodec": "H264", "audioCodec": "opus"}
        if not legacy:
            data["conversation"] = session.name
        await _send(socket, {"type": "config", "peerId": _peer_id(session, legacy=legacy), "data": data})

    async def _listen(self, socket: web.WebSocketResponse, session: Session, *, legacy: bool) -> None:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                parsed = _parsed(message.data)
                await self._act(socket, session, _unwrapped(parsed) if legacy else parsed, legacy=legacy)
            except AvatarError as error:
                await _send(socket, {"type": "error", "error": str(error)})

    async def _act(
        self, socket: web.WebSocketResponse, session: Session, message: dict[str, Any], *, legacy: bool
    ) -> None:
        data = message.get("data")
        match message.get("type"):
            case "offer":
                await self._answer(socket, session, _field(data, "sdp", str), legacy=legacy)
            case "ice-candidate":
                if isinstance(data, dict):
                    await session.peer.add_candidate(data)
            case "config" if not legacy:
                # Before a new offer: the TURN credentials of the first config may have expired.
                await self._send_config(socket, session, legacy=legacy)
            case "text" if not legacy:
                session.type(_field(data, "text", str))
            case "interrupt" if not legacy:
                # Acknowledged by the utterance_ended event, for which the next message need not wait.
                session.stop()
            case "avatar" if not legacy:
                avatar = _field(data, "avatar", str)
                await session.switch_avatar(avatar)
                await _send(socket, {"type": "avatar", "data": {"avatar": avatar}})
            case "expression" if not legacy:
                session.set_expression(_field(data, "kind", str), _field(data, "intensity", int | float))
            case _:
                # Unknown types have never been answered.
                log.debug("message_ignored", type=str(message.get("type"))[:40])

    async def _answer(self, socket: web.WebSocketResponse, session: Session, offer: str, *, legacy: bool) -> None:
        head = {"type": "answer", "peerId": _peer_id(session, legacy=legacy)}
        await _send(socket, head | {"data": {"type": "answer", "sdp": await session.peer.answer(offer)}})
        if legacy and "\nm=application " in offer and not session.peer.face_asked.is_set():
            # Only clients built on simple-peer open a data channel. They never ask for the face, and offer what they
            # are asked to offer, by a signal of that library.
            wanted = {"kind": "video", "init": {"direction": "recvonly"}}
            await _send(socket, head | {"data": {"type": "transceiverRequest", "transceiverRequest": wanted}})

    async def _run(self, socket: web.WebSocketResponse, session: Session, *, legacy: bool) -> None:
        await session.run()
        if legacy:
            # A page is told why before its socket is closed.
            await socket.close()

    async def _ping(self, socket: web.WebSocketResponse) -> None:
        while True:
            await asyncio.sleep(PING_INTERVAL_S)
            await _send(socket, {"type": "ping"})

    async def _tell(self, socket: web.WebSocketResponse, session: Session) -> None:
        with session.events.follow() as follower:
            async for event in follower.events():
                await _send(socket, {"type": "event", "data": MessageToDict(event, preserving_proto_field_name=True)})
        # The conversation is over, or this page is too far behind to follow it.
        await socket.close()


def _trace(request: web.Request) -> str:
    """The span that a program calls from; empty for none."""
    given = request.headers.get(telemetry.TRACEPARENT_KEY, "")
    return given if telemetry.is_traceparent(given) else ""


async def _send(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
    """Send, unless the client has gone: then the reading ends, and the conversation with it."""
    with contextlib.suppress(ConnectionError):
        await socket.send_json(message)


def _parsed(text: str) -> dict[str, Any]:
    """Raises: InvalidRequestError in the older stack's words."""
    try:
        message = json.loads(text)
        # JSON may hold half of a character, which is no text.
        json.dumps(message, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise InvalidRequestError("Invalid message format")
    return message


def _unwrapped(message: dict[str, Any]) -> dict[str, Any]:
    """A message of an older client as what it is: some send every signal of their library (simple-peer) as an offer.

    What such a signal asks of the side that answers, `renegotiate` and the like, is for the side that offers.
    """
    signal = message.get("data")
    if message.get("type") != "offer" or not isinstance(signal, dict):
        return message
    if signal.get("type", "offer") == "offer":
        return message
    if signal["type"] == "candidate":
        return {"type": "ice-candidate", "data": signal.get("candidate")}
    return {"type": signal["type"]}


def _peer_id(session: Session, *, legacy: bool) -> str:
    """The conversation's id; in the older stack's spelling for its clients."""
    return str(uuid.UUID(session.session_id)) if legacy else session.session_id


def _field(data: Any, name: str, kind: Any) -> Any:
    value = data.get(name) if isinstance(data, dict) else None
    if not isinstance(value, kind):
        raise InvalidRequestError(f"Invalid message format: data.{name} is missing or of the wrong type")
    return value
