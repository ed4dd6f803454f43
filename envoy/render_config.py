"""Writes Envoy's configuration, as JSON, from the typed description in `topology.py`."""

from __future__ import annotations

import argparse
import dataclasses
import ipaddress
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import admin
from clusters import clusters
from listeners import listeners
from topology import MIB, Address, Addresses, Edge, Ports, Upstreams, own_names, tls_folder

ROOT = Path(__file__).resolve().parent.parent
# All ports together hold 2.4 GiB when each has all the large bodies that it lets in.
MAX_HEAP_BYTES = 3072 * MIB
_MONITORS = "type.googleapis.com/envoy.extensions.resource_monitors"


def bootstrap(edge: Edge) -> dict[str, Any]:
    """The whole configuration. It names no process that must run first: what is down answers 503 until it is up."""
    return {
        "node": {"id": "avatar-edge", "cluster": "avatar"},
        "admin": admin.administration(edge),
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{_MONITORS}.downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 4096,
                    },
                },
                {
                    "name": "envoy.resource_monitors.fixed_heap",
                    "typed_config": {
                        "@type": f"{_MONITORS}.fixed_heap.v3.FixedHeapConfig",
                        "max_heap_size_bytes": MAX_HEAP_BYTES,
                    },
                },
            ],
            "actions": [
                {
                    "name": "envoy.overload_actions.shrink_heap",
                    "triggers": [{"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": 0.7}}],
                },
                {
                    "name": "envoy.overload_actions.stop_accepting_requests",
                    "triggers": [{"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": 0.95}}],
                },
            ],
        },
        "static_resources": {
            "listeners": [*listeners(edge), admin.listener(edge)],
            "clusters": [*clusters(edge.upstreams), admin.cluster(edge)],
        },
    }


def _addresses(text: str) -> Addresses:
    try:
        return tuple(Address.parse(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; give a number from 1 to 65535")
    return int(text)


def _rate(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(
            f"{text!r} is no rate; give a whole number of calls per second, 0 for no limit"
        )
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is too few; give a whole number from 1")
    return int(text)


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IP address; 127.0.0.1 and 0.0.0.0 are") from None


def _token(path: Path) -> str:
    """Raises: SystemExit if the file holds no token that an address and a header can carry."""
    token = path.read_text().strip()
    if not re.fullmatch(r"[A-Za-z0-9_-]{20,}", token):
        sys.exit(f"{path} holds no token; `avatar token --new` makes one")
    return token


def _write(path: Path, text: str) -> None:
    """Replace a file at once by one that only its owner can read: it may hold the token."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    part.replace(path)


def _options() -> argparse.ArgumentParser:
    tls = tls_folder()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--bind", type=_ip, default="127.0.0.1", help="IP address of the public listeners")
    parser.add_argument(
        "--name", action="append", dest="names", help=f"host name that is ours; instead of {', '.join(own_names())}"
    )
    parser.add_argument(
        "--also-name", action="append", dest="more_names", default=[], help="host name that is ours besides those"
    )
    parser.add_argument(
        "--origin", action="append", dest="origins", default=[], help="origin of a page from elsewhere that may call"
    )
    parser.add_argument("--certificate", type=Path, default=tls / "certificate.pem", help="of the page's port")
    parser.add_argument("--key", type=Path, default=tls / "key.pem", help="of the page's port")
    parser.add_argument("--descriptors", type=Path, default=ROOT / "proto" / "gen" / "avatar.pb")
    parser.add_argument("--token-file", type=Path, help="holds what every caller must send; None lets all call")
    parser.add_argument("--access-log", type=Path, help="file for a line of JSON per call; None is the standard output")
    for place in ("connection", "port"):
        default = Edge.__dataclass_fields__[f"{place}_calls_per_s"].default
        words = f"calls per second over one {place}; 0 sets no limit"
        parser.add_argument(f"--{place}-calls-per-s", type=_rate, default=default, help=words)
    default = Edge.__dataclass_fields__["large_bodies"].default
    words = "bodies over 1 MiB that may be on their way through one port at once"
    parser.add_argument("--large-bodies", type=_count, default=default, help=words)
    default = Edge.__dataclass_fields__["request_s"].default
    words = "seconds in which a request must have come whole, or be answered"
    parser.add_argument("--request-s", type=_count, default=default, help=words)
    for port in dataclasses.fields(Ports):
        parser.add_argument(f"--{port.name.replace('_', '-')}-port", type=_port, default=port.default)
    for upstream in dataclasses.fields(Upstreams):
        parser.add_argument(
            f"--{upstream.name.replace('_', '-')}-upstream",
            type=_addresses,
            default=upstream.default,
            metavar="HOST:PORT[,HOST:PORT...]",
            help="replicas",
        )
    return parser


def main() -> None:
    given = vars(_options().parse_args())
    edge = Edge(
        bind=given["bind"],
        names=tuple(dict.fromkeys((*(given["names"] or own_names()), *given["more_names"]))),
        origins=tuple(given["origins"]),
        certificate=given["certificate"].resolve(),
        key=given["key"].resolve(),
        descriptors=given["descriptors"].resolve(),
        access_log=given["access_log"],
        token=None if given["token_file"] is None else _token(given["token_file"]),
        connection_calls_per_s=given["connection_calls_per_s"],
        port_calls_per_s=given["port_calls_per_s"],
        large_bodies=given["large_bodies"],
        request_s=given["request_s"],
        ports=Ports(**{field.name: given[f"{field.name}_port"] for field in dataclasses.fields(Ports)}),
        upstreams=Upstreams(**{field.name: given[f"{field.name}_upstream"] for field in dataclasses.fields(Upstreams)}),
    )
    _write(given["out"], json.dumps(bootstrap(edge), indent=1))


if __name__ == "__main__":
    main()
