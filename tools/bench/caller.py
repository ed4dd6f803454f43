"""A person at the orchestrator without a browser: a WebRTC client of aiortc that speaks, hears, sees and keeps times.

Times are of time.monotonic, which all processes of a machine share. What arrives is timed at the socket: a browser
keeps sound and pictures for some more time before it plays them.
"""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import av
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtp import RtcpSrPacket
from numpy.typing import NDArray

from orchestrator.aiortc_adapter import use_prompt_microphone
from tools.bench.speech import SAMPLE_RATE_HZ

_FRAME = SAMPLE_RATE_HZ // 50
_FRAME_S = _FRAME / SAMPLE_RATE_HZ
_CLOCK_HZ = {"audio": SAMPLE_RATE_HZ, "video": 90_000}
_CONNECT_S = 30.0
# Between the epochs of NTP and Unix.
_NTP_EPOCH_S = 2_208_988_800


class Microphone(MediaStreamTrack):
    """Silence, and what is said, in frames of 20 ms."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._due_s: float | None = None
        self._frames: deque[NDArray[np.int16]] = deque()
        self._sent = 0

    def say(self, speech: NDArray[np.float32]) -> float:
        """Speak. Args: speech: shape (n,), in [-1, 1], 48 kHz. Returns: when its first sample sounds."""
        padded = np.pad(speech, (0, -len(speech) % _FRAME))
        pcm = (padded * 32767).astype(np.int16)
        self._frames.extend(pcm.reshape(-1, _FRAME))
        # A frame is sent once the last of its samples has sounded.
        return (self._due_s or time.monotonic()) - _FRAME_S

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        now_s = time.monotonic()
        self._due_s = now_s if self._due_s is None else self._due_s
        await asyncio.sleep(max(0.0, self._due_s - now_s))
        self._due_s += _FRAME_S
        samples = self._frames.popleft() if self._frames else np.zeros(_FRAME, np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, self._sent
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE_HZ)
        self._sent += _FRAME
        return frame


@dataclass
class Arrivals:
    """Packets of one kind of media as they came; `began` is set with the first.

    Attributes:
        came_s: when the last packet of each frame came.
        stamps: RTP timestamps of the frames, unwrapped, in the media's clock.
        reported: of each sender report, the time that it names in seconds since the Unix epoch, and its RTP timestamp.
    """

    kind: str
    came_s: list[float] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    reported: list[tuple[float, int]] = field(default_factory=list)
    began: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, stamp: int) -> None:
        """The last packet of a frame has come. Args: stamp: of 32 bits."""
        self.stamps.append(self._unwrapped(stamp))
        self.came_s.append(time.monotonic())
        self.began.set()

    def report(self, ntp: int, stamp: int) -> None:
        """A sender's report has come. Args: ntp: 32.32 bits; stamp: of 32 bits."""
        if self.stamps:
            self.reported.append((ntp / (1 << 32) - _NTP_EPOCH_S, self._unwrapped(stamp)))

    def _unwrapped(self, stamp: int) -> int:
        if not self.stamps:
            return stamp
        ahead = (stamp - self.stamps[-1] + (1 << 31)) % (1 << 32) - (1 << 31)
        return self.stamps[-1] + ahead

    def places_s(self) -> NDArray[np.float64]:
        """Each frame's place in its stream, in seconds."""
        return np.asarray(self.stamps, np.float64) / _CLOCK_HZ[self.kind]

    def captured_s(self) -> NDArray[np.float64]:
        """When each frame was captured, by the sender's reports, on time.monotonic. Raises: ValueError without any."""
        if not self.reported:
            raise ValueError(f"no report of the {self.kind}'s sender has come")
        offsets = [epoch_s - stamp / _CLOCK_HZ[self.kind] for epoch_s, stamp in self.reported]
        return self.places_s() + float(np.median(offsets)) - (time.time() - time.monotonic())


@dataclass
class Heard:
    """The voice. Attributes: samples: frames, shape (960,), in [-1, 1]; came_s: when each could be played."""

    samples: list[NDArray[np.float32]] = field(default_factory=list)
    came_s: list[float] = field(default_factory=list)

    def since(self, at_s: float) -> tuple[NDArray[np.float32], list[float]]:
        """What has come since a time. Returns: samples, 48 kHz, as one run; and when each 960 of them came."""
        first = int(np.searchsorted(self.came_s, at_s))
        frames = self.samples[first:]
        return (np.concatenate(frames) if frames else np.zeros(0, np.float32)), self.came_s[first:]


class Caller:
    """A conversation. Attributes: audio, video: what came, by packets; heard: the voice."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.microphone = Microphone()
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.audio, self.video = Arrivals("audio"), Arrivals("video")
        self.heard = Heard()
        self._events: list[tuple[float, dict[str, Any]]] = []
        self._news = asyncio.Event()

    async def type(self, text: str) -> None:
        """Make a turn without sound."""
        await self._socket.send_json({"type": "text", "data": {"text": text}})

    def events(self, kind: str) -> list[tuple[float, dict[str, Any]]]:
        """Every event of a kind so far, with the time of its arrival."""
        return [(at_s, event[kind]) for at_s, event in self._events if kind in event]

    async def event(
        self, kind: str, after_s: float, timeout_s: float, wanted: Callable[[dict[str, Any]], bool] = lambda _: True
    ) -> tuple[float, dict[str, Any]] | None:
        """The first event of a kind that came after a time; None when none comes within `timeout_s` from now."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while True:
                    for at_s, event in self.events(kind):
                        if at_s > after_s and wanted(event):
                            return at_s, event
                    self._news.clear()
                    await self._news.wait()
        return None

    async def connect(self) -> None:
        """Offer, and take the answer. Raises: TimeoutError; ConnectionError if the server is full."""
        self.peer.addTrack(self.microphone)
        # As a page does, which prefers what the orchestrator encodes itself.
        offered = RTCRtpReceiver.getCapabilities("video")
        assert offered is not None
        self.peer.addTransceiver("video", direction="recvonly").setCodecPreferences(
            [codec for codec in offered.codecs if codec.mimeType == "video/H264"]
        )
        for transceiver in self.peer.getTransceivers():
            if transceiver.kind == "audio":
                use_prompt_microphone(transceiver.receiver)
            _tap(transceiver.receiver, self.audio if transceiver.kind == "audio" else self.video)
        await self.peer.setLocalDescription(await self.peer.createOffer())
        offer = {"type": "offer", "sdp": self.peer.localDescription.sdp}
        await self._socket.send_json({"type": "offer", "data": offer})
        async with asyncio.timeout(_CONNECT_S):
            async for message in self._socket:
                content = message.json()
                if content["type"] == "error":
                    raise ConnectionError(content["error"])
                if content["type"] == "answer":
                    answer = content["data"]
                    break
            await self.peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))

    async def listen(self) -> None:
        """Keep events until cancelled."""
        async for message in self._socket:
            content = message.json()
            if content["type"] == "event":
                self._events.append((time.monotonic(), content["data"]))
                self._news.set()

    async def hear(self, track: MediaStreamTrack) -> None:
        """Keep sound until cancelled."""
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.AudioFrame)
                samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
                self.heard.samples.append(samples.astype(np.float32) * np.float32(1 / 32768))
                self.heard.came_s.append(time.monotonic())

    async def see(self, track: MediaStreamTrack) -> None:
        """Take pictures until cancelled."""
        with contextlib.suppress(MediaStreamError):
            while True:
                await track.recv()


def _tap(receiver: Any, arrivals: Arrivals) -> None:
    """Note what comes before the receiver has it; aiortc tells it to nobody else."""
    take_rtp, take_rtcp = receiver._handle_rtp_packet, receiver._handle_rtcp_packet  # noqa: SLF001

    async def rtp(packet: Any, arrival_time_ms: int) -> None:
        if packet.marker or arrivals.kind == "audio":
            arrivals.take(packet.timestamp)
        await take_rtp(packet, arrival_time_ms=arrival_time_ms)

    async def rtcp(packet: Any) -> None:
        if isinstance(packet, RtcpSrPacket):
            arrivals.report(packet.sender_info.ntp_timestamp, packet.sender_info.rtp_timestamp)
        await take_rtcp(packet)

    receiver._handle_rtp_packet, receiver._handle_rtcp_packet = rtp, rtcp  # noqa: SLF001


@contextlib.asynccontextmanager
async def calling(address: str) -> AsyncIterator[Caller]:
    """Somebody in a conversation, once sound and picture come. Args: address: of the socket, http://host:port/session."""
    async with contextlib.AsyncExitStack() as held:
        client = await held.enter_async_context(aiohttp.ClientSession())
        socket = await held.enter_async_context(client.ws_connect(address))
        caller = Caller(socket)
        held.push_async_callback(caller.peer.close)
        await caller.connect()
        tracks = {one.receiver.track.kind: one.receiver.track for one in caller.peer.getTransceivers()}
        doing: Mapping[str, Coroutine[Any, Any, None]] = {
            "events": caller.listen(),
            "sound": caller.hear(tracks["audio"]),
            "pictures": caller.see(tracks["video"]),
        }
        tasks = [asyncio.create_task(work, name=name) for name, work in doing.items()]
        try:
            async with asyncio.timeout(_CONNECT_S):
                await caller.audio.began.wait()
                await caller.video.began.wait()
            yield caller
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
