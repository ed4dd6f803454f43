"""Everything that touches aiortc's private parts, for the one version that `pyproject.toml` pins.

Six things cannot be had by its public interface: a microphone path without 80 ms of delay that one lost packet turns
into 280 ms for good, the browser's requests for key frames when our own encoder makes the packets, the browser's
bandwidth estimate for it, reports that name the time of the media instead of that of its sending, sound that is
Opus or nothing, because Opus is what the voice's packets hold, and a say in which addresses and ports media takes.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import secrets
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import aioice
import aiortc
from aioice import stun, turn
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol, get_host_addresses, relayed_candidate, server_reflexive_candidate
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcicetransport import RTCIceGatherer
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtcrtptransceiver import RTCRtpTransceiver
from aiortc.rtp import RtcpSrPacket

from services.common.errors import OverloadedError
from services.common.log import get_logger

AIORTC_VERSION, AIOICE_VERSION = "1.16.0", "0.13.0"
# What STUN and TURN servers have not answered by then is left out; the answer to the browser waits for it.
GATHER_TIMEOUT_S = 2.0
_JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"
_DECODER_QUEUE = "_RTCRtpReceiver__decoder_queue"
_CODECS = "_RTCRtpReceiver__codecs"
_TIMESTAMP_MAPPER = "_RTCRtpReceiver__timestamp_mapper"
_ENCODER = "_RTCRtpSender__encoder"
_SEND_RTCP = "_send_rtcp"
_TRANSCEIVER_CODECS = "_codecs"
_PAYLOAD = "_data"
_FORCE_KEY_FRAME = "_RTCRtpSender__force_keyframe"
_ICE_TRANSPORTS = "_RTCPeerConnection__iceTransports"
_ICE_AGENT = "_connection"
_ICE_PROTOCOLS = "_protocols"
_RTP_PACKETS = 1 << 16
log = get_logger(__name__)


def check_version() -> None:
    """Raises: RuntimeError if another aiortc is installed than the one whose insides are known here."""
    if aiortc.__version__ != AIORTC_VERSION:
        raise RuntimeError(
            f"aiortc {aiortc.__version__} is installed; orchestrator/aiortc_adapter.py knows {AIORTC_VERSION}"
        )
    if aioice.__version__ != AIOICE_VERSION:
        raise RuntimeError(
            f"aioice {aioice.__version__} is installed; orchestrator/aiortc_adapter.py knows {AIOICE_VERSION}"
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


@dataclass(frozen=True, slots=True)
class Reach:
    """Where media may come from, and by which addresses and ports.

    Attributes:
        machine_only: packets of other machines are dropped unread.
        announced: IP addresses that browsers are told instead of our own.
        ports: UDP ports to choose from; empty leaves the choice to the system.
    """

    machine_only: bool = True
    announced: Sequence[str] = ()
    ports: range = range(0)


class _OwnMachineOnly(StunProtocol):
    """A UDP socket that reads nothing of other machines."""

    def __init__(self, agent: Any, own: Collection[str]) -> None:
        super().__init__(agent)
        self._own = own

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        if addr[0] in self._own:
            super().datagram_received(data, addr)


def gather_within(connection: aiortc.RTCPeerConnection, reach: Reach) -> None:
    """Let the connection listen as `reach` says; after the remote description was set, before the local one."""
    for transport in getattr(connection, _ICE_TRANSPORTS):
        agent = getattr(transport, _ICE_AGENT)
        agent.get_component_candidates = partial(_gather, agent, reach)


async def _gather(agent: Any, reach: Reach, component: int, addresses: Sequence[str]) -> list[aioice.Candidate]:
    """Stands where aioice has its own: binds sockets, and asks STUN and TURN servers how others see them.

    Raises: OverloadedError if every port of the range is taken.
    """
    del addresses
    own = get_host_addresses(use_ipv4=True, use_ipv6=True)
    if reach.machine_only:
        # A conversation over loopback outlives the network. Firefox pairs its addresses with others of their kind
        # only, so the machine's own follow.
        own = ["127.0.0.1", *own]
    protocols: list[StunProtocol] = getattr(agent, _ICE_PROTOCOLS)
    candidates: list[aioice.Candidate] = []
    for address in own:
        hosts = (
            [host for host in reach.announced if (":" in host) == (":" in address)] if reach.announced else [address]
        )
        protocol = await _bound(agent, reach, address, own) if hosts else None
        if protocol is None:
            continue
        offered = [
            aioice.Candidate(
                foundation=candidate_foundation("host", "udp", host),
                component=component,
                transport="udp",
                # Each has a preference of its own, the first the highest: RFC 8445, section 5.1.2.1.
                priority=candidate_priority(component, "host", 65535 - len(candidates) - rank),
                host=host,
                port=protocol.transport.get_extra_info("sockname")[1],
                type="host",
            )
            for rank, host in enumerate(hosts)
        ]
        protocol.local_candidate = offered[0]
        protocols.append(protocol)
        candidates += offered
    # Nothing that a STUN server sees of us could be answered.
    asked = [] if reach.machine_only or agent.stun_server is None else [p for p in protocols if _is_ipv4(p)]
    found = await asyncio.gather(
        *(_reflexive(protocol, agent.stun_server) for protocol in asked),
        *([_relayed(agent, component)] if agent.turn_server else []),
    )
    return candidates + [candidate for candidate in found if candidate is not None]


async def _bound(agent: Any, reach: Reach, address: str, own: Collection[str]) -> StunProtocol | None:
    """A socket at an address; None if the address has gone."""
    loop = asyncio.get_running_loop()
    first = secrets.randbelow(len(reach.ports)) if reach.ports else 0
    for port in [*reach.ports[first:], *reach.ports[:first]] or [0]:
        try:
            transport, protocol = await loop.create_datagram_endpoint(
                lambda: _OwnMachineOnly(agent, own) if reach.machine_only else StunProtocol(agent),
                local_addr=(address, port),
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            log.info("address_left_out", address=address, error=str(error))
            return None
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, turn.UDP_SOCKET_BUFFER_SIZE)
        return protocol
    raise OverloadedError(
        f"every UDP port from {reach.ports[0]} to {reach.ports[-1]} is taken; widen udp_port_min to udp_port_max",
        limit=f"udp_ports={len(reach.ports)}",
        retry_after_s=10.0,
    )


def _is_ipv4(protocol: StunProtocol) -> bool:
    return ":" not in protocol.local_candidate.host


async def _reflexive(protocol: StunProtocol, server: tuple[str, int]) -> aioice.Candidate | None:
    try:
        async with asyncio.timeout(GATHER_TIMEOUT_S):
            candidate, _ = await server_reflexive_candidate(protocol, server)
            return candidate
    except (OSError, TimeoutError, stun.TransactionError) as error:
        log.warning("stun_failed", server=f"{server[0]}:{server[1]}", error=repr(error))
        return None


async def _relayed(agent: Any, component: int) -> aioice.Candidate | None:
    host, port = agent.turn_server
    try:
        async with asyncio.timeout(GATHER_TIMEOUT_S):
            candidate, protocol = await relayed_candidate(
                component=component,
                hide_related_address=False,
                protocol_factory=lambda: StunProtocol(agent),
                turn_server=agent.turn_server,
                turn_username=agent.turn_username,
                turn_password=agent.turn_password,
                turn_ssl=agent.turn_ssl,
                turn_transport=agent.turn_transport,
            )
    except stun.TransactionFailed as refused:
        code, reason = refused.response.attributes.get("ERROR-CODE", (0, ""))
        hint = "is turn_secret its static-auth-secret, and do both clocks agree?" if code == 401 else ""
        log.warning("turn_refused", server=f"{host}:{port}", code=code, reason=reason, hint=hint)
        return None
    except (OSError, TimeoutError, stun.TransactionError) as error:
        log.warning("turn_failed", server=f"{host}:{port}", error=repr(error))
        return None
    getattr(agent, _ICE_PROTOCOLS).append(protocol)
    return candidate


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
        "the agent's candidates come from one place": lambda: (
            "self.get_component_candidates(component=component, addresses=addresses)"
            in inspect.getsource(aioice.Connection)
        ),
        "the agent keeps its sockets": lambda: (
            "self._protocols += host_protocols" in inspect.getsource(aioice.Connection)
        ),
        "the gatherer asks the agent": lambda: (
            "await self._connection.gather_candidates()" in inspect.getsource(RTCIceGatherer)
        ),
        "the connection keeps its ICE transports": lambda: (
            "self.__iceTransports.add(iceTransport)" in inspect.getsource(aiortc.RTCPeerConnection)
        ),
        "the sender packs packets": lambda: "self.__encoder.pack(data)" in sender_source,
    }
