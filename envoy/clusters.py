"""Envoy clusters: how calls reach the replicas of one process."""

from __future__ import annotations

from typing import Any

from topology import MIB, Address, Addresses, Upstreams

Json = dict[str, Any]
HTTP_FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# What may lie between a service and a slow reader: a cancelled stream has run ahead by no more than this.
STREAM_WINDOW_BYTES = 64 * 1024
# For calls of one message, which wait here whole; more than all gates let in. Were this full, Envoy would pause the
# connection of whoever calls, not resume it when the body has gone on whole, and not notice a reset of it by HTTP/1.1
# while it is paused: the service would go on for nobody.
CALL_BUFFER_BYTES = 1024 * MIB
STICKY = "_sticky"
METRICS = "_metrics"


def _endpoints(name: str, addresses: Addresses, fallback: Addresses = ()) -> Json:
    def endpoint(address: Address) -> Json:
        socket_address = {"address": address.host, "port_value": address.port}
        return {"endpoint": {"address": {"socket_address": socket_address}}}

    groups = [group for group in (addresses, fallback) if group]
    return {
        "cluster_name": name,
        "endpoints": [
            {"priority": priority, "lb_endpoints": [endpoint(address) for address in group]}
            for priority, group in enumerate(groups)
        ],
    }


def _cluster(name: str, addresses: Addresses, protocol: Json, fallback: Addresses = ()) -> Json:
    return {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "per_connection_buffer_limit_bytes": STREAM_WINDOW_BYTES,
        "load_assignment": _endpoints(name, addresses, fallback),
        "typed_extension_protocol_options": {
            HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{HTTP_OPTIONS}",
                "explicit_http_config": protocol,
            }
        },
        "circuit_breakers": {
            "thresholds": [
                {"max_connections": 256, "max_pending_requests": 256, "max_requests": 1024, "max_retries": 16}
            ]
        },
    }


def _grpc_cluster(name: str, addresses: Addresses, fallback: Addresses) -> Json:
    """For calls of one message. Args: fallback: who is called while none of `addresses` is healthy."""
    http2 = {
        "initial_stream_window_size": STREAM_WINDOW_BYTES,
        "initial_connection_window_size": MIB,
        "connection_keepalive": {"interval": "30s", "timeout": "5s"},
    }
    return _cluster(name, addresses, {"http2_protocol_options": http2}, fallback) | {
        "per_connection_buffer_limit_bytes": CALL_BUFFER_BYTES,
        # The default panic threshold stays: with every replica unready, calls still reach one, which says why in words.
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "grpc_health_check": {},
            }
        ],
        # A replica that cannot be reached is left out at once; a model that fails on one input is no reason to.
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 3,
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "interval": "1s",
            "base_ejection_time": "5s",
            "max_ejection_percent": 50,
        },
    }


def _metrics_cluster(name: str, addresses: Addresses, fallback: Addresses) -> Json:
    check = {"timeout": "1s", "interval": "2s", "unhealthy_threshold": 1, "healthy_threshold": 1}
    check["no_traffic_interval"] = check["interval"]
    cluster = _cluster(name, addresses, {"http_protocol_options": {}}, fallback)
    return cluster | ({"health_checks": [check | {"tcp_health_check": {}}]} if fallback else {})


def clusters(upstreams: Upstreams) -> list[Json]:
    """One cluster per process for calls of any kind, and one more for streams that belong to a session."""
    made = [_cluster("page", upstreams.page, {"http_protocol_options": {}})]
    for name in ("render", "tts", "stt", "stt_second", "conversation"):
        addresses: Addresses = getattr(upstreams, name)
        fallback = upstreams.stt if name == "stt_second" and addresses != upstreams.stt else ()
        made.append(_grpc_cluster(name, addresses, fallback))
        streams = {"lb_policy": "RING_HASH", "per_connection_buffer_limit_bytes": STREAM_WINDOW_BYTES}
        made.append(_grpc_cluster(f"{name}{STICKY}", addresses, fallback) | streams)
        if counted := getattr(upstreams, f"{name}{METRICS}"):
            made.append(_metrics_cluster(f"{name}{METRICS}", counted, upstreams.stt_metrics if fallback else ()))
    return made
