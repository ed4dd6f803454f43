"""How media finds its way: UDP ports, announced addresses, and STUN and TURN servers with credentials for each talk."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from dataclasses import dataclass, field
from typing import Annotated, NotRequired, TypedDict

from pydantic import AfterValidator, BaseModel, Field, IPvAnyAddress, SecretStr, ValidationInfo, field_validator

# RFC 7064 and RFC 7065. The same form is read by browsers and by aiortc, which knows no IPv6 literals here.
_STUN_URL = re.compile(r"stun:[A-Za-z0-9._-]+(:\d{1,5})?")
_TURN_URL = re.compile(
    r"turn(:[A-Za-z0-9._-]+(:\d{1,5})?(\?transport=(udp|tcp))?|s:[A-Za-z0-9._-]+(:\d{1,5})?(\?transport=tcp)?)"
)


def _stun_url(url: str) -> str:
    if not _STUN_URL.fullmatch(url):
        raise ValueError(f"{url!r} is no STUN server; write it as stun:stun.example.org:3478")
    return url


def _turn_url(url: str) -> str:
    if not _TURN_URL.fullmatch(url):
        raise ValueError(f"{url!r} is no TURN server; write it as turn:turn.example.org:3478?transport=udp")
    return url


class IceServer(TypedDict):
    """An RTCIceServer as browsers read it: https://www.w3.org/TR/webrtc/#rtciceserver-dictionary."""

    urls: list[str]
    username: NotRequired[str]
    credential: NotRequired[str]


class IceSettings(BaseModel, frozen=True, extra="forbid", validate_default=True):
    """How browsers that cannot reach us directly do."""

    udp_port_min: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="First UDP port for sound and picture, for a firewall to open; 0 takes any. A conversation takes "
        "one, and another while it connects anew.",
    )
    udp_port_max: int = Field(default=0, ge=0, le=65535, description="Last UDP port for sound and picture.")
    announced_addresses: tuple[IPvAnyAddress, ...] = Field(
        default=(),
        max_length=8,
        description="IP addresses that browsers are told instead of the machine's own, where it stands behind a NAT "
        "or in a container whose UDP ports are published under the same numbers.",
    )
    stun_urls: tuple[Annotated[str, AfterValidator(_stun_url)], ...] = Field(
        default=(), max_length=4, description='STUN servers, such as "stun:stun.example.org:3478".'
    )
    turn_urls: tuple[Annotated[str, AfterValidator(_turn_url)], ...] = Field(
        default=(),
        max_length=4,
        description='TURN servers, such as "turn:turn.example.org:3478?transport=tcp". Browsers try all of them; the '
        "orchestrator itself takes the first.",
    )
    turn_secret: SecretStr = Field(
        default=SecretStr(""),
        description="The secret shared with the TURN servers, coturn's static-auth-secret; each conversation gets "
        "credentials of its own that are made from it.",
    )
    turn_lifetime_s: int = Field(
        default=3600,
        ge=60,
        le=86_400,
        description="How long TURN credentials may be used to connect, in seconds; what is connected stays so.",
    )

    @field_validator("udp_port_max")
    @classmethod
    def _is_a_range(cls, last: int, given: ValidationInfo) -> int:
        first = given.data.get("udp_port_min", 0)
        if (first == 0) != (last == 0) or first > last:
            raise ValueError(
                f"{first} to {last} is no range: set udp_port_min and udp_port_max, the first not above the second, or "
                "neither"
            )
        return last

    @field_validator("turn_secret")
    @classmethod
    def _is_there(cls, secret: SecretStr, given: ValidationInfo) -> SecretStr:
        if given.data.get("turn_urls") and not secret.get_secret_value():
            raise ValueError("turn_urls need turn_secret, the static-auth-secret of the TURN servers")
        return secret


def turn_credentials(secret: str, name: str, expires_s: int) -> tuple[str, str]:
    """A user name and password that a TURN server with this secret takes until `expires_s`, in Unix time.

    Source: "A REST API For Access To TURN Services", section 2.2,
    https://datatracker.ietf.org/doc/html/draft-uberti-behave-turn-rest-00; coturn's use-auth-secret.
    """
    username = f"{expires_s}:{name}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


@dataclass(frozen=True, slots=True)
class Ice:
    """How this process's conversations connect. Args: lan: whether other machines may send us media."""

    settings: IceSettings = field(default_factory=IceSettings)
    lan: bool = False

    def servers(self, name: str) -> list[IceServer]:
        """STUN and TURN servers with fresh credentials. Args: name: of the conversation, for the TURN server's log."""
        servers: list[IceServer] = []
        if self.settings.stun_urls:
            servers.append({"urls": list(self.settings.stun_urls)})
        if self.settings.turn_urls:
            expires_s = int(time.time()) + self.settings.turn_lifetime_s
            username, credential = turn_credentials(self.settings.turn_secret.get_secret_value(), name, expires_s)
            servers.append({"urls": list(self.settings.turn_urls), "username": username, "credential": credential})
        return servers
