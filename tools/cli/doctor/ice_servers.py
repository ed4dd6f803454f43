"""Asks STUN and TURN servers as a browser would."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import parse_qs

from aioice import stun, turn

from orchestrator.ice import turn_credentials
from tools.cli.doctor.finding import Finding

_TIMEOUT_S = 5.0
_PORTS = {"stun": 3478, "turn": 3478, "turns": 5349}


def _parts(url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port and transport. Source: RFC 7064 and RFC 7065."""
    scheme, _, rest = url.partition(":")
    place, _, query = rest.partition("?")
    host, _, port = place.partition(":")
    default = "tcp" if scheme == "turns" else "udp"
    return scheme, host, int(port or _PORTS[scheme]), parse_qs(query).get("transport", [default])[0]


async def reach(url: str, turn_secret: str) -> Finding:
    """Ask a STUN server for our address, or a TURN server for a relay, with credentials made from the secret."""
    scheme, host, port, transport = _parts(url)
    cure = f"see that the server runs and its port {port} ({transport.upper()}) is open from here, or take it out"
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            if scheme == "stun":
                return Finding("stun", "ok", f"{url} says that we are {await _bind(host, port)}")
            username, password = turn_credentials(turn_secret, "doctor", int(time.time()) + 60)
            relay, _ = await turn.create_turn_endpoint(
                asyncio.DatagramProtocol,
                server_addr=(host, port),
                username=username,
                password=password,
                ssl=scheme == "turns",
                transport=transport,
            )
            relay.close()
            return Finding("turn", "ok", f"{url} gives a relay")
    except stun.TransactionFailed as refused:
        cure = "see that [orchestrator.ice] turn_secret is the server's static-auth-secret"
        return Finding(scheme.rstrip("s"), "problem", f"{url} refuses: {refused}", cure)
    except (OSError, TimeoutError, stun.TransactionTimeout) as error:
        return Finding(scheme.rstrip("s"), "problem", f"{url} does not answer: {error or 'too slow'}", cure)


class _Answer(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.address: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:  # noqa: ARG002
        host, port = stun.parse_message(data).attributes["XOR-MAPPED-ADDRESS"]
        if not self.address.done():
            self.address.set_result(f"{host}:{port}")


async def _bind(host: str, port: int) -> str:
    """Our address as a STUN server sees it."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(_Answer, remote_addr=(host, port))
    try:
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        while True:
            transport.sendto(bytes(request))
            done, _ = await asyncio.wait((protocol.address,), timeout=0.5)
            if done:
                return protocol.address.result()
    finally:
        transport.close()
