"""Envoy's own port: statistics and readiness for programs of this machine, and nothing that changes anything.

Envoy's administration lets whoever reaches it drain the listeners, and asks no page where it comes from. So it has a
socket that no browser can reach, and the port hands on what can only be read.
"""

from __future__ import annotations

from typing import Any

from clusters import HTTP_FILTERS, HTTP_OPTIONS
from listeners import NETWORK
from topology import Edge

Json = dict[str, Any]
NAME = "admin_port"
_READ = ("/ready", "/stats")


def administration(edge: Edge) -> Json:
    """For `run.py`: on an abstract socket of Linux, of which no file stays behind."""
    return {
        "address": {"pipe": {"path": f"@avatar-envoy-{edge.ports.admin}"}},
        # Every user of this machine can ask here, and the configuration holds the token.
        "allow_paths": [{"prefix": path} for path in ("/drain_listeners", *_READ)],
    }


def cluster(edge: Edge) -> Json:
    """The way from the port to the socket."""
    endpoint = {"endpoint": {"address": administration(edge)["address"]}}
    return {
        "name": NAME,
        "type": "STATIC",
        "load_assignment": {"cluster_name": NAME, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{HTTP_OPTIONS}",
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def listener(edge: Edge) -> Json:
    """The port, on loopback whatever the rest is bound to."""
    by_get = {"headers": [{"name": ":method", "string_match": {"exact": "GET"}}]}
    table = [{"match": {"prefix": path} | by_get, "route": {"cluster": NAME}} for path in _READ]
    # A page that points its own name at this machine is not one of them.
    host = {"name": NAME, "domains": ["localhost", "127.0.0.1"], "routes": table}
    manager = {
        "@type": NETWORK,
        "stat_prefix": NAME,
        "route_config": {"ignore_port_in_host_matching": True, "virtual_hosts": [host]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{HTTP_FILTERS}.router.v3.Router"},
            }
        ],
    }
    return {
        "name": NAME,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": edge.ports.admin}},
        # Whoever asks what is wrong is served when all other connections are taken.
        "ignore_global_conn_limit": True,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
