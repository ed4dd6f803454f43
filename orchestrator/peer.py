"""One browser's WebRTC connection: offer and answer, the microphone, the two tracks, a new start, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.sdp import candidate_from_sdp

from orchestrator import aiortc_adapter
from orchestrator.aiortc_adapter import Reach
from orchestrator.ice import Ice
from orchestrator.media_clock import MediaClock
from orchestrator.microphone import MicrophoneResampler
from orchestrator.playout import Tick
from orchestrator.tracks import HOLD_S, Encoded, FaceTrack, Picture, SpeechTrack
from orchestrator.video_encoder import VIDEO_CLOCK_HZ, VideoEncoder
from services.common.errors import AvatarError, InvalidRequestError, ProtocolError
from services.common.log import get_logger

# A receiver that loses much asks often; more key frames than this would only fill its way.
_MIN_KEY_FRAME_INTERVAL_S = 0.5
# How long a connection that broke waits for the browser to offer another, and how long that one may take to stand;
# longer than a page waits for it before it offers again.
NEW_OFFER_S, RENEWAL_S = 20.0, 30.0
_UFRAG = re.compile(r"^a=ice-ufrag:(\S+)", re.MULTILINE)
# What a browser hides behind a name can be asked for by multicast only; its own checks tell us anyway.
_HIDDEN_CANDIDATE = re.compile(r"^a=candidate:(?:\S+ ){4}\S+\.local .*\r?\n", re.MULTILINE)
# An agent that was told so, and that no candidate is left, would give up before the browser's first check.
_END_OF_CANDIDATES = re.compile(r"^a=end-of-candidates\r?\n", re.MULTILINE)
log = get_logger(__name__)


class Peer:
    """A connection that receives one microphone and sends one voice and one face.

    aiortc has no ICE restart: an offer with other ICE credentials than the one before gets a connection of its own,
    with tracks that go on where those of the old one are.
    """

    def __init__(
        self,
        clock: MediaClock,
        pull: Callable[[int], Tick],
        on_microphone: Callable[[bytes], None],
        *,
        preset: str,
        frame_rate_hz: int,
        ice: Ice | None = None,
        name: str = "orchestrator",
    ) -> None:
        """Args:
        on_microphone: takes LINEAR16 at 16 kHz.
        preset: of the encoder, as measured at the start.
        name: of the conversation, for the logs of TURN servers.
        """
        self._clock = clock
        self._pull = pull
        self._ice = ice or Ice()
        self._name = name
        self._on_microphone = on_microphone
        self._preset = preset
        self._frame_rate_hz = frame_rate_hz
        self._connection = self._new_connection()
        self._ufrag: str | None = None
        self._giving_up: asyncio.TimerHandle | None = None
        self._microphone: asyncio.Task[None] | None = None
        self._encoder: VideoEncoder | None = None
        self._encoder_thread = ThreadPoolExecutor(1, thread_name_prefix="video-encoder")
        self._video_sender: RTCRtpSender | None = None
        self._sends_h264 = False
        self._last_key_frame_s = -_MIN_KEY_FRAME_INTERVAL_S
        self._key_frame_wanted = True
        self.speech = SpeechTrack(clock, pull)
        self.face = FaceTrack(clock, self._encode)
        # Set once media can flow, and once it never will again.
        self.connected = asyncio.Event()
        self.closed = asyncio.Event()
        # Whether media flowed and does not now. `on_broken` is told when that begins.
        self.is_broken = False
        self.on_broken: Callable[[], None] = lambda: None
        # Whether an offer asked for the voice and the face; legacy clients may offer sound alone, or nothing.
        self.speech_asked = asyncio.Event()
        self.face_asked = asyncio.Event()

    def _new_connection(self) -> RTCPeerConnection:
        servers = [RTCIceServer(**server) for server in self._ice.servers(self._name)]
        connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        connection.on("track", self._on_track)
        connection.on("connectionstatechange", lambda: self._on_state(connection))
        return connection

    async def answer(self, sdp: str) -> str:
        """Answer an offer, the first or a later one. Returns: SDP with every candidate.

        Raises: InvalidRequestError if it is no offer, or one whose sound is not Opus; ProtocolError once the peer is
        closed; OverloadedError if every UDP port of the range is taken.
        """
        if self.closed.is_set():
            raise ProtocolError("the conversation is over; start another")
        # aiortc takes any text for SDP without media.
        if not sdp.startswith("v=0"):
            raise InvalidRequestError(f"the offer is not SDP: it begins with {sdp[:20]!r}, not with v=0")
        ufrag = found[1] if (found := _UFRAG.search(sdp)) else None
        if self._ufrag not in (None, ufrag):
            await self._renew()
        self._ufrag = ufrag
        try:
            await self._connection.setRemoteDescription(
                RTCSessionDescription(_END_OF_CANDIDATES.sub("", _HIDDEN_CANDIDATE.sub("", sdp)), "offer")
            )
            for transceiver in self._connection.getTransceivers():
                self._attach(transceiver)
            aiortc_adapter.gather_within(self._connection, self._reach())
            await self._connection.setLocalDescription(await self._connection.createAnswer())
        except AvatarError:
            raise
        except Exception as bad:
            # aiortc raises whatever a line of the text made it stumble over.
            log.warning("offer_refused", error=repr(bad)[:500])
            raise InvalidRequestError(f"the offer is not SDP that can be answered: {bad}") from bad
        return str(self._connection.localDescription.sdp)

    def _reach(self) -> Reach:
        settings = self._ice.settings
        first, last = settings.udp_port_min, settings.udp_port_max
        return Reach(
            machine_only=not self._ice.lan,
            announced=[str(address) for address in settings.announced_addresses],
            ports=range(first, last + 1) if first else range(0),
        )

    async def _renew(self) -> None:
        """Put a new connection in the place of the one that broke."""
        log.info("peer_renewed", state=self._connection.connectionState)
        broken, self._connection = self._connection, self._new_connection()
        self._give_up_in(RENEWAL_S)
        await self._stop_listening()
        self._encoder = self._video_sender = None
        self._key_frame_wanted, self._last_key_frame_s = True, -_MIN_KEY_FRAME_INTERVAL_S
        face, self.face = self.face, FaceTrack(self._clock, self._encode)
        self.face.may_show, self.face.on_sent = face.may_show, face.on_sent
        speech, self.speech = self.speech, SpeechTrack(self._clock, self._pull)
        self.speech.skipped_ticks = speech.skipped_ticks
        speech.stop()
        face.stop()
        self._break()
        await broken.close()

    def _attach(self, transceiver: RTCRtpTransceiver) -> None:
        """Put our tracks into the first sound and the first picture that are offered; there is one of each."""
        if transceiver.kind == "audio" and not aiortc_adapter.keep_opus_only(transceiver):
            raise InvalidRequestError("the offer's sound is not Opus; offer opus/48000/2")
        if transceiver.sender.track is not None:
            return
        attached = {sender.track for sender in self._connection.getSenders()}
        if transceiver.kind == "audio" and self.speech not in attached:
            transceiver.sender.replaceTrack(self.speech)
            transceiver.direction = "sendrecv"
            aiortc_adapter.use_prompt_microphone(transceiver.receiver)
            self.speech_asked.set()
        elif transceiver.kind == "video" and self.face not in attached:
            transceiver.sender.replaceTrack(self.face)
            transceiver.direction = "sendonly"
            aiortc_adapter.report_as_sent_earlier(transceiver.sender, HOLD_S)
            self._video_sender = transceiver.sender
            self._sends_h264 = aiortc_adapter.sends_h264(transceiver)
            self.face_asked.set()
        else:
            transceiver.direction = "inactive"

    async def add_candidate(self, data: dict[str, Any]) -> None:
        """Add one of the browser's candidates; an empty one, which ends them, is nothing to wait for.

        Raises: InvalidRequestError if it is no candidate.
        """
        line = str(data.get("candidate") or "")
        if not line or _HIDDEN_CANDIDATE.match(f"a={line}\n"):
            return
        try:
            candidate = candidate_from_sdp(line.removeprefix("candidate:"))
            candidate.sdpMid = data.get("sdpMid")
            candidate.sdpMLineIndex = data.get("sdpMLineIndex")
            await self._connection.addIceCandidate(candidate)
        except (ValueError, AssertionError, IndexError) as bad:
            raise InvalidRequestError(f"this is no ICE candidate of a medium that was offered: {line[:100]!r}") from bad

    async def close(self) -> None:
        """End the connection and everything it started."""
        self.closed.set()
        self._stay()
        self.speech.stop()
        self.face.stop()
        try:
            await self._connection.close()
        finally:
            self._encoder_thread.shutdown(wait=False)
            # An ended conversation is remembered, its encoder is not.
            self._encoder = None
            await self._stop_listening()

    async def _stop_listening(self) -> None:
        listening, self._microphone = self._microphone, None
        if listening:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening

    def _on_state(self, connection: RTCPeerConnection) -> None:
        if connection is not self._connection:
            return
        state = connection.connectionState
        log.info("peer_state", state=state)
        if state == "connected":
            self._stay()
            self.is_broken = False
            self.connected.set()
        elif state in ("failed", "closed") and not self.closed.is_set():
            # aiortc cannot tell a browser that left from one whose network did; that one is there and offers again.
            self._give_up_in(NEW_OFFER_S)
            self._break()

    def _break(self) -> None:
        self.is_broken = True
        self.on_broken()

    def _give_up_in(self, seconds: float) -> None:
        self._stay()
        self._giving_up = asyncio.get_running_loop().call_later(seconds, self.closed.set)

    def _stay(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio" and self._microphone is None:
            self._microphone = asyncio.create_task(self._listen(track))

    async def _listen(self, track: MediaStreamTrack) -> None:
        resampler = MicrophoneResampler()
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.AudioFrame)
                self._on_microphone(resampler.push(frame))

    async def _encode(self, picture: Picture, pts: int) -> Encoded:
        if not self._sends_h264:
            # aiortc encodes VP8 itself.
            planes = np.frombuffer(picture.i420, np.uint8).reshape(picture.size * 3 // 2, picture.size)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = pts, Fraction(1, VIDEO_CLOCK_HZ)
            return frame
        assert self._video_sender is not None
        if self._encoder is None:
            self._encoder = VideoEncoder(picture.size, self._frame_rate_hz, self._preset)
        elif (bitrate := aiortc_adapter.estimated_bitrate(self._video_sender)) is not None:
            self._encoder.set_bitrate(bitrate)
        self._key_frame_wanted |= aiortc_adapter.take_key_frame_request(self._video_sender)
        key_frame = self._key_frame_wanted and picture.media_s - self._last_key_frame_s >= _MIN_KEY_FRAME_INTERVAL_S
        if key_frame:
            self._key_frame_wanted, self._last_key_frame_s = False, picture.media_s
        loop = asyncio.get_running_loop()
        encoder = self._encoder
        return await loop.run_in_executor(
            self._encoder_thread, lambda: encoder.encode(picture.i420, pts, key_frame=key_frame)
        )
