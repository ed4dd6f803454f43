"""Everything that touches aiortc's private parts, for the one version that `pyproject.toml` pins.

Five things cannot be had by its public interface: a microphone path without 80 ms of delay that one lost packet turns
into 280 ms for good, the browser's requests for key frames when our own encoder makes the packets, the browser's
bandwidth estimate for it, reports that name the time of the media instead of that of its sending, and sound that is
Opus or nothing, because Opus is what the voice's packets hold.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import aiortc
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtcrtptransceiver import RTCRtpTransceiver
from aiortc.rtp import RtcpSrPacket

AIORTC_VERSION = "1.16.0"
_JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"
_DECODER_QUEUE = "_RTCRtpReceiver__decoder_queue"
_CODECS = "_RTCRtpReceiver__codecs"
_TIMESTAMP_MAPPER = "_RTCRtpReceiver__timestamp_mapper"
_ENCODER = "_RTCRtpSender__encoder"
_SEND_RTCP = "_send_rtcp"
_TRANSCEIVER_CODECS = "_codecs"
_PAYLOAD = "_data"
_FORCE_KEY_FRAME = "_RTCRtpSender__force_keyframe"
_RTP_PACKETS = 1 << 16


def check_version() -> None:
    """Raises: RuntimeError if another aiortc is installed than the one whose insides are known here."""
    if aiortc.__version__ != AIORTC_VERSION:
        raise RuntimeError(
            f"aiortc {aiortc.__version__} is installed; orchestrator/aiortc_adapter.py knows {AIORTC_VERSION}"
        )


class PacketOrder:
    """Puts packets in order with the least delay: one that is in order passes at once.

    After a gap, packets are held until the missing one comes or `depth` of them wait; then the gap is given up and
    all that wait are let go together, so that a loss leaves no delay behind.
    """

    def __init__(self, depth: int = 3) -> None:
        self._depth = depth
        self._next: int | None = None
        self._held: dict[int, Any] = {}

    def add(self, sequence_number: int, packet: Any) -> list[Any]:
        """Take a packet with its 16-bit number. Returns: those that may be used now, in order."""
        if self._next is None:
            self._next = sequence_number
        ahead = (sequence_number - self._next) % _RTP_PACKETS
        if ahead >= _RTP_PACKETS // 2:
            # Late or double: its place has passed.
            return []
        if ahead > 100:
            # The sender started over.
            self._held.clear()
            self._next = sequence_number
        self._held[sequence_number] = packet
        if len(self._held) > self._depth and self._next not in self._held:
            first = self._next
            self._next = min(self._held, key=lambda number: (number - first) % _RTP_PACKETS)
        ready = []
        while self._next in self._held:
            ready.append(self._held.pop(self._next))
            self._next = (self._next + 1) % _RTP_PACKETS
        return ready


class _MicrophoneBuffer:
    """Stands where aiortc has its jitter buffer and hands packets to its decoder itself."""

    def __init__(self, receiver: RTCRtpReceiver) -> None:
        self._receiver = receiver
        self._order = PacketOrder()

    def add(self, packet: Any) -> tuple[bool, None]:
        for ready in self._order.add(packet.sequence_number, packet):
            codec = getattr(self._receiver, _CODECS)[ready.payload_type]
            timestamp = getattr(self._receiver, _TIMESTAMP_MAPPER).map(ready.timestamp)
            getattr(self._receiver, _DECODER_QUEUE).put((codec, JitterFrame(getattr(ready, _PAYLOAD), timestamp)))
        return False, None


def use_prompt_microphone(receiver: RTCRtpReceiver) -> None:
    """Replace the receiver's jitter buffer, before media flows. Packets lost show as a jump in `frame.pts`."""
    assert hasattr(receiver, _JITTER_BUFFER)
    setattr(receiver, _JITTER_BUFFER, _MicrophoneBuffer(receiver))


def take_key_frame_request(sender: RTCRtpSender) -> bool:
    """Whether the receiver asked for a key frame since the last call."""
    asked: bool = getattr(sender, _FORCE_KEY_FRAME)
    setattr(sender, _FORCE_KEY_FRAME, False)
    return asked


def estimated_bitrate(sender: RTCRtpSender) -> int | None:
    """The receiver's estimate of what the way to it can carry, in bits per second; None while there is none."""
    encoder = getattr(sender, _ENCODER)
    return None if encoder is None else int(encoder.target_bitrate)


def report_as_sent_earlier(sender: RTCRtpSender, held_s: float) -> None:
    """Make sender reports name the media's own time, for a track whose packets are held back by `held_s`.

    A browser takes the time in a report for the time of capture and would keep the hold as an offset to the sound.
    """
    send = getattr(sender, _SEND_RTCP)
    held = round(held_s * (1 << 32))

    async def send_shifted(packets: list[Any]) -> None:
        for packet in packets:
            if isinstance(packet, RtcpSrPacket):
                packet.sender_info.ntp_timestamp -= held
        await send(packets)

    setattr(sender, _SEND_RTCP, send_shifted)


def keep_opus_only(transceiver: RTCRtpTransceiver) -> bool:
    """Take every codec but Opus out of what was agreed on, before the answer. Returns: False if there is no Opus."""
    opus = [codec for codec in getattr(transceiver, _TRANSCEIVER_CODECS) if codec.mimeType == "audio/opus"]
    setattr(transceiver, _TRANSCEIVER_CODECS, opus)
    return bool(opus)


def sends_h264(transceiver: RTCRtpTransceiver) -> bool:
    """Whether H.264 was agreed on for what this transceiver sends."""
    codecs = getattr(transceiver, _TRANSCEIVER_CODECS)
    return bool(codecs) and codecs[0].mimeType == "video/H264"


def private_parts() -> dict[str, Callable[[], bool]]:
    """What this module relies on, each with a check; the test of the adapter runs them."""
    receiver_source = inspect.getsource(RTCRtpReceiver)
    sender_source = inspect.getsource(RTCRtpSender)
    return {
        "the receiver feeds one buffer": lambda: "self.__jitter_buffer.add(packet)" in receiver_source,
        "the receiver decodes from a queue": lambda: (
            "self.__decoder_queue.put((codec, encoded_frame))" in receiver_source
        ),
        "the receiver maps timestamps": lambda: "self.__timestamp_mapper.map(" in receiver_source,
        "the sender notes key frame requests": lambda: "self.__force_keyframe = True" in sender_source,
        "the sender notes the estimate": lambda: "self.__encoder.target_bitrate = bitrate" in sender_source,
        "the transceiver keeps its codecs": lambda: "self._codecs" in inspect.getsource(RTCRtpTransceiver),
        "the sender sends its reports in one place": lambda: "await self._send_rtcp(packets)" in sender_source,
        "the sender packs packets": lambda: "self.__encoder.pack(data)" in sender_source,
    }
