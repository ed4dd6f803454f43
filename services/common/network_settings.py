"""How the stack meets the world: what every process and the command line must know alike about the public side."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, IPvAnyAddress, model_validator
from pydantic_settings import SettingsConfigDict

from services.common.settings import Settings


def _host(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        if re.fullmatch(r"(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*", name.lower()):
            return name.lower()
    raise ValueError(f"{name} is no host name; write it as avatar.home or 192.168.1.5, without scheme and port")


def _page_origin(origin: str) -> str:
    if not re.fullmatch(r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:\d{1,5})?", origin):
        raise ValueError(f"{origin} is no origin; write it as https://app.example or http://localhost:3000")
    return origin


def _port(default: int, description: str) -> Any:
    return Field(default=default, ge=1, le=65535, description=description)


class NetworkSettings(Settings):
    """[network] of avatar.toml, or NETWORK_* in the environment."""

    model_config = SettingsConfigDict(env_prefix="NETWORK_")

    lan: bool = Field(
        default=False,
        description="Whether other devices on the network may connect, with the token; `avatar up --lan` does the same "
        "for once.",
    )
    bind: IPvAnyAddress | None = Field(
        default=None,
        description="Address on which the public ports listen; follows from lan: loopback, or all addresses. One that "
        "is not loopback needs lan.",
    )
    names: tuple[Annotated[str, AfterValidator(_host)], ...] = Field(
        default=(), description="Names and addresses of this machine that it does not know itself, for the certificate."
    )
    origins: tuple[Annotated[str, AfterValidator(_page_origin)], ...] = Field(
        default=(), description="Origins of pages from elsewhere that may call, such as https://app.example."
    )
    render_port: int = _port(8081, "Public port of the faces: JSON, gRPC and gRPC-Web.")
    tts_port: int = _port(8082, "Public port of the voices: JSON, gRPC and gRPC-Web.")
    stt_port: int = _port(8083, "Public port of the recogniser: JSON, gRPC and gRPC-Web.")
    stt_second_port: int = _port(8084, "Public port of the second recogniser, or of the first where there is no other.")
    page_port: int = _port(8085, "Public port of the page, by HTTPS: files, signalling, and the JSON and gRPC of all.")
    legacy_port: int = _port(8086, "Public port of conversations and of the older stack's signalling.")
    admin_port: int = _port(9901, "Port of Envoy's own statistics; on loopback whatever the rest is bound to.")
    connection_calls_per_s: int = Field(
        default=100,
        ge=0,
        le=100_000,
        description="Calls per second over one connection, a stream being one call; twice as many may come at once. "
        "More are refused (429, RESOURCE_EXHAUSTED); 0 sets no limit.",
    )
    port_calls_per_s: int = Field(
        default=1000, ge=0, le=100_000, description="Calls per second over one public port from all; 0 sets no limit."
    )
    large_bodies: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="Bodies over 1 MiB that may be on their way through one public port at once; of JSON over 16 MiB a "
        "quarter as many, or one, and of gRPC calls that may hold a file four times as many. More are refused (429, "
        "RESOURCE_EXHAUSTED). Envoy holds 70 MiB for each at most, and 400 MiB for such JSON.",
    )
    request_s: int = Field(
        default=180,
        ge=1,
        le=3600,
        description="Seconds in which a request must have come whole, or a stream be answered: 88 MiB take 4 Mbit/s.",
    )
    drain_s: float = Field(
        default=5.0, ge=0, le=3600, description="Seconds that running calls have to end when Envoy stops."
    )

    @model_validator(mode="after")
    def _asks_for_the_token(self) -> Self:
        if self.bind is not None and not self.bind.is_loopback and not self.lan:
            raise ValueError(f"bind = {self.bind} lets other devices connect; set lan = true as well, or leave it out")
        return self
