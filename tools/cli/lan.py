"""The stack on the network: its token, this machine's addresses and names, and a code for a phone's camera."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import secrets
import socket
from pathlib import Path

import ifaddr
import segno

from services.common.errors import NotFoundError
from tools.cli import state
from tools.cli.settings import StackSettings

# Of the documentation's network: no packet is ever sent there.
_ELSEWHERE = ("198.51.100.1", 9)
# As 43 letters, digits, - and _.
_TOKEN_BYTES = 32
# Black on white, whatever the terminal's own colours are.
_COLOURS, _RESET = "\x1b[38;5;16;48;5;231m", "\x1b[0m"
_HALVES = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def token_file(settings: StackSettings) -> Path:
    """Where the token is kept, for its owner only."""
    return settings.data_dir / "token"


def read_token(settings: StackSettings) -> str:
    """Raises: NotFoundError if none was made yet."""
    try:
        return token_file(settings).read_text().strip()
    except FileNotFoundError:
        raise NotFoundError("there is no token yet; `avatar up --lan` or `avatar token --new` makes one") from None


def new_token(settings: StackSettings) -> str:
    """Make a token, in the place of any other."""
    file = token_file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(token + "\n")
    part.replace(file)
    return token


def ensure_token(settings: StackSettings) -> str:
    """The token; made if there is none."""
    try:
        return read_token(settings)
    except NotFoundError:
        return new_token(settings)


def token_of_running(settings: StackSettings) -> str | None:
    """What the running stack asks for; None if it asks for nothing, or none runs."""
    found = state.running(settings)
    return read_token(settings) if found is not None and found.lan else None


def opened(settings: StackSettings) -> StackSettings:
    """The same, as `avatar up --lan` takes them."""
    return dataclasses.replace(settings, network=settings.network.model_copy(update={"lan": True}))


def addresses() -> list[str]:
    """This machine's own addresses, the one that others most likely reach first; not loopback, not link-local."""
    found = [
        ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    ]
    usable = [str(one) for one in found if not (one.is_loopback or one.is_link_local)]
    first = _address_towards_others()
    return sorted(dict.fromkeys(usable), key=lambda one: (one != first, ":" in one))


def _address_towards_others() -> str | None:
    """The address of the interface that leads away from here; None without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return address


def bind_address(settings: StackSettings) -> str:
    """Where the public ports listen."""
    if settings.network.bind is not None:
        return str(settings.network.bind)
    if not settings.network.lan:
        return "127.0.0.1"
    return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - what `lan` is for


def extra_names(settings: StackSettings) -> list[str]:
    """What this machine is called besides localhost and its plain name."""
    if not settings.network.lan:
        return list(settings.network.names)
    local = f"{socket.gethostname().lower().removesuffix('.local')}.local"
    return [local, *addresses(), *settings.network.names]


def page_urls(settings: StackSettings) -> list[str]:
    """Addresses of the page for other devices, the most likely first."""
    bind = settings.network.bind
    hosts = [str(bind)] if bind is not None and not bind.is_unspecified else extra_names(settings)[1:]
    return [f"https://{f'[{host}]' if ':' in host else host}:{settings.network.page_port}/" for host in hosts]


def code(text: str) -> str:
    """A QR code for a terminal, two modules to a character."""
    rows = [[bool(module) for module in row] for row in segno.make(text, error="l").matrix_iter(border=2)]
    rows += [[False] * len(rows[0])] * (len(rows) % 2)
    lines = (
        "".join(_HALVES[pair] for pair in zip(*two, strict=True)) for two in zip(rows[::2], rows[1::2], strict=True)
    )
    return "\n".join(f"{_COLOURS}{line}{_RESET}" for line in lines)
