"""The far end of the page: the orchestrator's origin, with a real aiortc peer and a script in place of the services."""

from __future__ import annotations

import asyncio
import base64
import fractions
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from aiohttp import WSMsgType, web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray

from orchestrator.web import index

PAGE = Path(__file__).parents[2] / "orchestrator/page"
SIZE = 512
VIDEO_HZ = 25
AUDIO_HZ = 48_000
TICK = AUDIO_HZ // 50

VOICES = [
    {"name": "voices/en-us", "display_name": "American English", "language_codes": ["en"]},
    {"name": "voices/en-gb", "display_name": "British English", "language_codes": ["en"]},
    {"name": "voices/de", "display_name": "Deutsch", "language_codes": ["de"]},
]


def drawn_face() -> NDArray[np.uint8]:
    """A face of a few lines, shape (512, 512, 3), BGR."""
    image = np.full((SIZE, SIZE, 3), (150, 165, 150), np.uint8)
    cv2.ellipse(image, (256, 270), (150, 190), 0, 0, 360, (185, 205, 235), -1, cv2.LINE_AA)
    for x in (200, 312):
        cv2.circle(image, (x, 230), 14, (60, 60, 60), -1, cv2.LINE_AA)
    cv2.ellipse(image, (256, 350), (55, 22), 0, 0, 180, (90, 90, 170), 6, cv2.LINE_AA)
    return image


def landmarks_in(width: int, height: int) -> list[dict[str, float]]:
    """468 points on rings about the middle of the picture: the right number, in the right pixels, of no real face."""
    turns = np.linspace(0, 12 * 2 * math.pi, 468)
    radius = np.linspace(0.02, 0.3, 468) * min(width, height)
    xs, ys = width / 2 + radius * np.cos(turns), height / 2 + radius * np.sin(turns)
    return [{"x": round(float(x), 1), "y": round(float(y), 1)} for x, y in zip(xs, ys, strict=True)]


class Paced(MediaStreamTrack):
    """A track whose next frame is due at a fixed rate."""

    def __init__(self, rate_hz: float) -> None:
        super().__init__()
        self._rate_hz = rate_hz
        self._start_s = time.monotonic()
        self._count = 0

    async def tick(self) -> int:
        if self.readyState != "live":
            raise MediaStreamError
        index, self._count = self._count, self._count + 1
        await asyncio.sleep(max(0.0, self._start_s + index / self._rate_hz - time.monotonic()))
        return index


class FaceTrack(Paced):
    kind = "video"

    def __init__(self, face_bgr: NDArray[np.uint8]) -> None:
        super().__init__(VIDEO_HZ)
        self._face = face_bgr

    async def recv(self) -> av.VideoFrame:
        index = await self.tick()
        moved = np.roll(self._face, round(3 * math.sin(index / 20)), axis=1)
        frame = av.VideoFrame.from_ndarray(np.asarray(cv2.cvtColor(moved, cv2.COLOR_BGR2YUV_I420), np.uint8), "yuv420p")
        frame.pts, frame.time_base = index * 90_000 // VIDEO_HZ, fractions.Fraction(1, 90_000)
        return frame


class VoiceTrack(Paced):
    """A quiet tone while `speaks`, else silence."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__(50)
        self.speaks = False

    async def recv(self) -> av.AudioFrame:
        index = await self.tick()
        samples = np.arange(index * TICK, (index + 1) * TICK)
        tone = 2_000 * np.sin(2 * np.pi * 220 * samples / AUDIO_HZ) * self.speaks
        frame = av.AudioFrame.from_ndarray(tone.astype(np.int16).reshape(1, -1), "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_HZ, index * TICK, fractions.Fraction(1, AUDIO_HZ)
        return frame


class Session:
    """One conversation: what the page sent, and what the test sends it."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        query: dict[str, str],
        face_bgr: NDArray[np.uint8],
        ice_servers: list[dict[str, Any]],
    ) -> None:
        self.query = query
        self.ice_servers = ice_servers
        # Whether the answers name no address of ours.
        self.is_unreachable = False
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.voice = VoiceTrack()
        self.silent_frames = 0
        self.loud_frames = 0
        self._socket = socket
        self._face = face_bgr
        self._inbox: dict[str, asyncio.Queue[Any]] = {}
        self._hearing: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.connected = asyncio.Event()
        self.ended = asyncio.Event()

    async def serve(self) -> None:
        self._follow()
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await self._receive(json.loads(message.data))
        finally:
            await self._stop_hearing()
            await self.pc.close()
            self.ended.set()

    def _follow(self) -> None:
        self.pc.on("track", self._hear)
        self.pc.on("connectionstatechange", self._connection)

    async def configure(self) -> None:
        config = {"iceServers": self.ice_servers, "videoCodec": "VP8", "audioCodec": "opus"}
        config["conversation"] = "conversations/test"
        await self.send("config", config, peerId="6f4c7b1e-0000-4000-8000-000000000001")

    async def hears(self, condition: Callable[[], bool]) -> None:
        """Waits until what came from the microphone is as the condition asks."""
        async with asyncio.timeout(15):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def send(self, kind: str, data: Any = None, **rest: Any) -> None:
        await self._socket.send_json({"type": kind, **({"data": data} if data is not None else {}), **rest})

    async def event(self, **event: Any) -> None:
        await self.send("event", {"event_offset": "1.000s", **event})

    async def says(self, text: str, utterance_id: str = "a1") -> None:
        """The avatar begins: the first half of `text` has been heard."""
        self.voice.speaks = True
        await self.event(utterance_started={"utterance_id": utterance_id, "text": text})
        await self.event(turn_changed={"state": "TURN_STATE_AVATAR_SPEAKING"})
        words = text.split()
        heard = " ".join(words[: (len(words) + 1) // 2])
        await self.event(caption={"speaker": "SPEAKER_AVATAR", "utterance_id": utterance_id, "text": heard})

    async def ends(self, heard: str, utterance_id: str = "a1", *, interrupted: bool = False) -> None:
        self.voice.speaks = False
        cut = {"interrupted": True} if interrupted else {}
        await self.event(
            utterance_ended={"utterance_id": utterance_id, "heard_text": heard, "heard_duration": "1.2s", **cut}
        )
        await self.event(turn_changed={"state": "TURN_STATE_LISTENING"})

    async def user(self, text: str, utterance_id: str = "u1", *, final: bool = True) -> None:
        done = {"is_final": True} if final else {}
        await self.event(caption={"speaker": "SPEAKER_USER", "utterance_id": utterance_id, "text": text, **done})

    async def received(self, kind: str) -> Any:
        """The data of the next message of this kind that the page sent."""
        return await asyncio.wait_for(self._queue(kind).get(), 10)

    async def lose(self) -> None:
        await self._socket.close(code=1011)

    async def lose_media(self) -> None:
        """As if every packet were lost from now on; the socket stands."""
        self.connected.clear()
        await self._stop_hearing()
        for transport in {sender.transport.transport for sender in self.pc.getSenders()}:
            await transport.stop()

    def _queue(self, kind: str) -> asyncio.Queue[Any]:
        return self._inbox.setdefault(kind, asyncio.Queue(maxsize=1_000))

    async def _receive(self, message: dict[str, Any]) -> None:
        if message["type"] == "config":
            await self.configure()
        if message["type"] == "offer":
            await self._answer(message["data"])
        self._queue(message["type"]).put_nowait(message.get("data"))

    async def _stop_hearing(self) -> None:
        if self._hearing:
            self._hearing.cancel()
            with suppress(asyncio.CancelledError):
                await self._hearing

    async def _answer(self, offer: dict[str, str]) -> None:
        if self.pc.remoteDescription:
            await self._stop_hearing()
            await self.pc.close()
            self.pc, self.voice = RTCPeerConnection(RTCConfiguration(iceServers=[])), VoiceTrack()
            self._follow()
        await self.pc.setRemoteDescription(RTCSessionDescription(offer["sdp"], offer["type"]))
        self.pc.addTrack(self.voice)
        self.pc.addTrack(FaceTrack(self._face))
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        sdp = self.pc.localDescription.sdp
        if self.is_unreachable:
            sdp = "".join(line for line in sdp.splitlines(keepends=True) if not line.startswith("a=candidate:"))
        await self.send("answer", {"type": "answer", "sdp": sdp})

    def _connection(self) -> None:
        if self.pc.connectionState == "connected":
            self.connected.set()

    def _hear(self, track: MediaStreamTrack) -> None:
        async def hear() -> None:
            with suppress(MediaStreamError):
                while True:
                    frame = await track.recv()
                    assert isinstance(frame, av.AudioFrame)
                    is_loud = int(np.abs(frame.to_ndarray()).max()) > 100
                    self.loud_frames += is_loud
                    self.silent_frames = 0 if is_loud else self.silent_frames + 1
                    self._changed.set()

        self._hearing = asyncio.create_task(hear())


class FakeOrchestrator:
    """Serves the page and answers as the services would; attributes say how."""

    def __init__(self, face_bgr: NDArray[np.uint8] | None = None, port: int = 0) -> None:
        self.face = drawn_face() if face_bgr is None else face_bgr
        self.port = port
        self.avatars: dict[str, dict[str, Any]] = {
            "avatars/default": {"name": "avatars/default", "display_name": "Ada"}
        }
        self.stills: dict[str, NDArray[np.uint8]] = {}
        self.created: list[dict[str, Any]] = []
        self.landmarks = landmarks_in
        self.warnings = ["the head is turned by about 20 degrees; a face to the front looks better"]
        self.refuse_avatar = ""
        # Why a face may not be a person's; it is then made only when it is confirmed.
        self.doubts: list[str] = []
        self.refuse_session = ""
        self.is_full = False
        self.is_unreachable = False
        self.ice_servers: list[dict[str, Any]] = []
        self.voices: list[dict[str, Any]] = list(VOICES)
        self.can_clone = False
        # What was sent to make voices of, and why the next one is refused.
        self.created_voices: list[dict[str, Any]] = []
        self.refuse_voice = ""
        self.voices_missing = False
        # What the recogniser understands, None while it is away; and what it is.
        self.heard: list[str] | None = ["de", "en"]
        self.recogniser = "whisper"
        # What the operator chose for pages whose person has not.
        self.chosen: dict[str, str] = {}
        self._sessions: asyncio.Queue[Session] = asyncio.Queue(maxsize=100)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeOrchestrator]:
        app = web.Application(client_max_size=64 * 2**20)
        app.add_routes(
            [
                web.get("/session", self._session),
                web.get("/v1/avatars", self._list),
                web.post("/v1/avatars", self._create),
                web.delete("/v1/avatars/{id}", self._delete),
                web.get("/v1/avatars/{id}:renderStill", self._still),
                web.get("/v1/voices", self._voices),
                web.post("/v1/voices", self._create_voice),
                web.delete("/v1/voices/{id}", self._delete_voice),
                web.get("/hearing", self._hearing),
                web.get("/", self._index),
                web.static("/", PAGE),
            ]
        )
        app.on_response_prepare.append(self._headers)
        runner = web.AppRunner(app, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/"

    async def session(self) -> Session:
        """The next conversation that a page opens, once sound and picture flow."""
        async with asyncio.timeout(20):
            session = await self._sessions.get()
            await session.connected.wait()
        return session

    async def _headers(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers["Cache-Control"] = "no-store"
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    async def _index(self, _: web.Request) -> web.Response:
        return web.Response(text=index(self.chosen), content_type="text/html", charset="utf-8")

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response({"avatars": list(self.avatars.values())})

    async def _voices(self, _: web.Request) -> web.Response:
        if self.voices_missing:
            return web.json_response({"code": 14, "message": "tts is loading", "details": []}, status=503)
        return web.json_response({"voices": self.voices} | ({"can_clone_voices": True} if self.can_clone else {}))

    async def _create_voice(self, request: web.Request) -> web.Response:
        if self.refuse_voice:
            return web.json_response({"code": 3, "message": self.refuse_voice, "details": []}, status=400)
        body = await request.json()
        self.created_voices.append(body)
        name = f"voices/made-{len(self.created_voices)}"
        quality = {
            "speech_duration": "8.400s",
            "warnings": ["The speech is quiet, at -42 dB; -40 dB or more is better."],
        }
        made = {"name": name, "display_name": body.get("display_name", name), "language_codes": ["en", "de"]}
        self.voices = [*self.voices, made | {"kind": "KIND_CLONED", "recording_quality": quality}]
        return web.json_response(self.voices[-1])

    async def _delete_voice(self, request: web.Request) -> web.Response:
        name = f"voices/{request.match_info['id']}"
        self.voices = [voice for voice in self.voices if voice["name"] != name]
        return web.json_response({})

    async def _hearing(self, _: web.Request) -> web.Response:
        if self.heard is None:
            return web.json_response({"code": 14, "message": "stt is loading"}, status=503)
        return web.json_response({"engine": self.recogniser, "language_codes": self.heard})

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.refuse_avatar:
            return web.json_response({"code": 3, "message": self.refuse_avatar, "details": []}, status=400)
        is_look = request.query.get("validate_only") == "true"
        if self.doubts and not is_look and request.query.get("confirm_doubtful_face") != "true":
            detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "CONFIRMATION_NEEDED"}
            return web.json_response({"code": 9, "message": "look at it", "details": [detail]}, status=400)
        height, width = _size(body["portrait"])
        made = {"display_name": body.get("display_name", ""), "width": width, "height": height}
        made["name"] = f"avatars/{request.query.get('avatar_id') or f'made-{len(self.created) + 1}'}"
        if not is_look:
            self.created.append(body)
            self.avatars[made["name"]] = made
        found = {"landmarks": self.landmarks(width, height), "detection_score": 0.93, "warnings": self.warnings}
        return web.json_response({**made, **found, "doubts": self.doubts})

    async def _delete(self, request: web.Request) -> web.Response:
        if self.avatars.pop(f"avatars/{request.match_info['id']}", None) is None:
            return web.json_response({"code": 5, "message": "there is no such avatar"}, status=404)
        return web.json_response({})

    async def _still(self, request: web.Request) -> web.Response:
        face = self.stills.get(request.match_info["id"], self.face)
        size = int(request.query.get("size", SIZE))
        _, jpeg = cv2.imencode(".jpg", cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA))
        return web.Response(body=jpeg.tobytes(), content_type="image/jpeg")

    async def _session(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if self.is_full or self.refuse_session:
            await socket.send_json({"type": "error", "error": "Server full" if self.is_full else self.refuse_session})
            await socket.close()
            return socket
        session = Session(socket, dict(request.query), self.face, self.ice_servers)
        session.is_unreachable = self.is_unreachable
        await session.configure()
        await session.event(turn_changed={"state": "TURN_STATE_LISTENING"})
        self._sessions.put_nowait(session)
        await session.serve()
        return socket


def _size(portrait_base64: str) -> tuple[int, int]:
    """Height and width of a picture, in pixels."""
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(portrait_base64), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture.shape[0], picture.shape[1]
