"""Where a peer listens, what it offers, and how it goes on after its connection broke: real sockets, real WebRTC."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Address

import numpy as np
import pytest
from aioice.ice import get_host_addresses
from aiortc import RTCSessionDescription

from orchestrator import aiortc_adapter
from orchestrator.aiortc_adapter import Reach
from orchestrator.ice import Ice, IceSettings
from orchestrator.media_clock import TICK_SAMPLES, MediaClock
from orchestrator.peer import Peer
from orchestrator.playout import Tick
from services.common.errors import OverloadedError, ProtocolError
from tests.fakes.browser import Browser, browser, connections_settled
from tests.stack import free_ports

TONE = (8000 * np.sin(np.arange(TICK_SAMPLES) / 10)).astype(np.int16)


@contextlib.asynccontextmanager
async def peer(ice: Ice | None = None) -> AsyncIterator[Peer]:
    """A peer whose voice is a tone."""
    made = Peer(MediaClock(), lambda _: Tick(TONE, None), lambda _: None, preset="ultrafast", frame_rate_hz=25, ice=ice)
    try:
        async with asyncio.timeout(20):
            yield made
    finally:
        await made.close()
        await connections_settled()


async def offer_of(person: Browser) -> str:
    await person.peer.setLocalDescription(await person.peer.createOffer())
    return str(person.peer.localDescription.sdp)


async def connect(person: Browser, to: Peer) -> str:
    """Offer and answer, media flowing. Returns: the answer."""
    sdp = await to.answer(await offer_of(person))
    await person.peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
    await person.hears_speech()
    return sdp


def candidates(sdp: str) -> list[tuple[str, int, str]]:
    """Address, port and type of each, the best first."""
    lines = [line.split() for line in sdp.splitlines() if line.startswith("a=candidate:")]
    return [(line[4], int(line[5]), line[7]) for line in sorted(lines, key=lambda line: -int(line[3]))]


async def test_loopback_comes_first_and_the_machines_own_addresses_follow_for_firefox() -> None:
    async with peer() as ours, browser(microphone=True) as person:
        offered = candidates(await ours.answer(await offer_of(person)))
    assert [address for address, _, _ in offered] == ["127.0.0.1", *get_host_addresses(use_ipv4=True, use_ipv6=True)]
    assert {kind for _, _, kind in offered} == {"host"}


async def test_without_other_devices_a_packet_from_elsewhere_is_dropped_unread() -> None:
    received: list[bytes] = []

    class Agent:
        def data_received(self, data: bytes, component: int) -> None:
            received.append(data)

    protocol = aiortc_adapter._OwnMachineOnly(Agent(), ["127.0.0.1", "192.0.2.2"])
    protocol.local_candidate = type("Candidate", (), {"component": 1})()
    for source in ("192.0.2.3", "198.51.100.1", "127.0.0.1", "192.0.2.2"):
        protocol.datagram_received(source.encode(), (source, 4000))
    assert received == [b"127.0.0.1", b"192.0.2.2"]


async def test_with_other_devices_loopback_is_not_offered() -> None:
    async with peer(Ice(lan=True)) as ours, browser(microphone=True) as person:
        offered = candidates(await ours.answer(await offer_of(person)))
    assert [address for address, _, _ in offered] == get_host_addresses(use_ipv4=True, use_ipv6=True)


async def test_media_takes_the_ports_of_the_range_only() -> None:
    (port,) = free_ports(1)
    ice = Ice(IceSettings(udp_port_min=port, udp_port_max=port + 1))
    async with peer(ice) as ours, peer(ice) as others, browser(microphone=True) as one, browser(microphone=True) as two:
        first = {port for _, port, _ in candidates(await connect(one, ours))}
        second = {port for _, port, _ in candidates(await connect(two, others))}
    assert first | second == {port, port + 1}


async def test_a_range_that_is_used_up_is_said_and_nothing_stays_bound() -> None:
    (port,) = free_ports(1)
    ice = Ice(IceSettings(udp_port_min=port, udp_port_max=port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        async with peer(ice) as ours, browser(microphone=True) as person:
            with pytest.raises(OverloadedError, match=f"every UDP port from {port} to {port} is taken"):
                await ours.answer(await offer_of(person))
    for address in ("127.0.0.1", *get_host_addresses(use_ipv4=True, use_ipv6=False)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind((address, port))


async def test_announced_addresses_stand_in_the_answer_and_no_other_does() -> None:
    ice = Ice(IceSettings(announced_addresses=(IPv4Address("192.0.2.77"), IPv4Address("192.0.2.78"))), lan=True)
    async with peer(ice) as ours, browser(microphone=True) as person:
        offered = candidates(await ours.answer(await offer_of(person)))
    assert {address for address, _, _ in offered} == {"192.0.2.77", "192.0.2.78"}
    by_address = [{port for address, port, _ in offered if address == a} for a in ("192.0.2.77", "192.0.2.78")]
    assert by_address[0] == by_address[1]
    assert by_address[0]


async def test_hidden_candidates_are_not_asked_for_by_multicast_and_sound_flows_all_the_same() -> None:
    async with peer() as ours, browser(microphone=True) as person:
        sdp = await offer_of(person)
        hidden = sdp.replace(candidates(sdp)[0][0] + " ", "0f5c3a7e-8a3f-4d6a-9d5f-2f0f6e1f7c11.local ")
        sdp = await ours.answer(hidden)
        await ours.add_candidate({"candidate": "candidate:1 1 udp 2113937151 aa-bb.local 5000 typ host", "sdpMid": "0"})
        await person.peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        await person.hears_speech()


async def test_a_new_offer_after_a_break_goes_on_in_the_same_conversation() -> None:
    async with peer() as ours, browser(microphone=True, face=True) as broken, browser(microphone=True) as healed:
        shown = ours.face.may_show = lambda _: True
        await connect(broken, ours)
        speech = ours.speech
        await connect(healed, ours)
        assert ours.connected.is_set()
        assert not ours.closed.is_set()
        assert ours.face.may_show is shown
        assert ours.speech is not speech
        assert speech.readyState == "ended"


async def test_a_peer_that_was_closed_connects_to_nobody_any_more() -> None:
    async with peer() as ours, browser(microphone=True) as early, browser(microphone=True) as late:
        await connect(early, ours)
        await ours.close()
        with pytest.raises(ProtocolError, match="the conversation is over"):
            await ours.answer(await offer_of(late))


async def test_the_same_browser_may_offer_again_without_a_new_connection() -> None:
    async with peer() as ours, browser(microphone=True) as person:
        await connect(person, ours)
        speech = ours.speech
        person.peer.addTransceiver("video", direction="recvonly")
        sdp = await ours.answer(await offer_of(person))
        assert ours.speech is speech
        assert sdp.count("m=video") == 1


def test_a_reach_is_this_machine_unless_told_otherwise() -> None:
    assert Reach().machine_only
