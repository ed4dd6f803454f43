"""A browser as the orchestrator sees it: a WebSocket, and a WebRTC client that hears and sees."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack


async def connections_settled() -> None:
    """Return once aiortc's own tasks are done: they end a moment after their connection was closed."""
    tasks = [task for task in asyncio.all_tasks() if "RTCPeerConnection" in repr(task.get_coro())]
    if tasks:
        await asyncio.wait(tasks)


class Socket:
    """The WebSocket of one conversation."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self.connection = connection

    async def send(self, kind: str, /, **data: Any) -> None:
        await self.connection.send_json({"type": kind, "data": data})

    async def next(self, *kinds: str) -> dict[str, Any]:
        """The next message, or the next of some types."""
        while True:
            message: dict[str, Any] = await self.connection.receive_json()
            if not kinds or message["type"] in kinds:
                return message

    async def event(self, kind: str) -> dict[str, Any]:
        """The next event of a kind."""
        while True:
            event = (await self.next("event"))["data"]
            if kind in event:
                found: dict[str, Any] = event[kind]
                return found

    async def rest(self) -> list[dict[str, Any]]:
        """Everything until the server closes."""
        return [message.json() async for message in self.connection]

    async def answer_to(self, peer: RTCPeerConnection) -> str:
        """Offer, and take the answer. Returns: its SDP."""
        await peer.setLocalDescription(await peer.createOffer())
        await self.send("offer", type="offer", sdp=peer.localDescription.sdp)
        answer: dict[str, str] = (await self.next("answer"))["data"]
        await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        return answer["sdp"]


@contextlib.asynccontextmanager
async def socket_at(
    url: str, *, legacy: bool = False, headers: Mapping[str, str] | None = None
) -> AsyncIterator[Socket]:
    """A socket as Envoy lets it through, to the page's or to the legacy listener."""
    sent = dict(headers or {}) | ({"x-avatar-listener": "legacy"} if legacy else {})
    async with aiohttp.ClientSession() as client, client.ws_connect(url, headers=sent) as connection:
        yield Socket(connection)


class Browser:
    """A WebRTC client. `connected` is set once media can flow."""

    def __init__(self, *, microphone: bool = False, face: bool = False, data: bool = False) -> None:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.tracks: dict[str, MediaStreamTrack] = {}
        self.connected = asyncio.Event()
        self.peer.on("track", lambda track: self.tracks.setdefault(track.kind, track))
        self.peer.on("connectionstatechange", self._changed)
        if microphone:
            self.peer.addTrack(AudioStreamTrack())
        if face:
            self.peer.addTransceiver("video", direction="recvonly")
        if data:
            self.peer.createDataChannel("data")

    def _changed(self) -> None:
        if self.peer.connectionState == "connected":
            self.connected.set()

    async def hears_speech(self) -> None:
        """Return with the first loud frame."""
        while True:
            frame: Any = await self.tracks["audio"].recv()
            if np.abs(frame.to_ndarray().astype(int)).max() > 1000:
                return

    async def sees(self) -> tuple[int, int]:
        """Width and height of the next picture."""
        frame: Any = await self.tracks["video"].recv()
        return frame.width, frame.height


@contextlib.asynccontextmanager
async def browser(**offers: bool) -> AsyncIterator[Browser]:
    """Args: as of Browser."""
    made = Browser(**offers)
    try:
        yield made
    finally:
        await made.peer.close()
