"""Envoy listeners: one port per service, and two for the orchestrator."""

from __future__ import annotations

from typing import Any

import access
import answers
import bodies
import legacy
import rates
import routes
from clusters import HTTP_FILTERS, METRICS
from topology import (
    AVATARS,
    CONVERSATIONS,
    LEGACY,
    MAX_DOCUMENT_BYTES,
    MIB,
    RENDER,
    STREAM_IDLE_S,
    STT,
    TTS,
    Edge,
    Service,
)

Json = dict[str, Any]
NETWORK = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
# Of one connection, in either direction: what a slow reader or writer may hold in memory.
BUFFER_BYTES = 256 * 1024
# The route, not the path: what people say and whom they show stands in bodies, queries and names of avatars.
_ACCESS_LOG = {
    "time": "%START_TIME%",
    "method": "%REQ(X-ENVOY-ORIGINAL-METHOD?:METHOD)%",
    "route": "%ROUTE_NAME%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS%",
    "flags": "%RESPONSE_FLAGS%",
    "detail": "%RESPONSE_CODE_DETAILS%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "duration_ms": "%DURATION%",
    "first_byte_ms": "%RESPONSE_DURATION%",
    "upstream": "%UPSTREAM_HOST%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "session_id": "%REQ(X-SESSION-ID)%",
}


def _access_log(edge: Edge, listener: str) -> Json:
    log_format = {"json_format": {"listener": listener} | _ACCESS_LOG}
    kind = "envoy.extensions.access_loggers"
    if edge.access_log is None:
        stdout = {"@type": f"type.googleapis.com/{kind}.stream.v3.StdoutAccessLog", "log_format": log_format}
        return {"name": "envoy.access_loggers.stdout", "typed_config": stdout}
    file = {
        "@type": f"type.googleapis.com/{kind}.file.v3.FileAccessLog",
        "path": str(edge.access_log),
        "log_format": log_format,
    }
    return {"name": "envoy.access_loggers.file", "typed_config": file}


def _http_filters(edge: Edge, services: tuple[Service, ...]) -> list[Json]:
    def http_filter(name: str, kind: str, **options: Any) -> Json:
        return {"name": name, "typed_config": {"@type": f"{HTTP_FILTERS}.{kind}"} | options}

    return [
        http_filter("envoy.filters.http.grpc_web", "grpc_web.v3.GrpcWeb"),
        http_filter(routes.CORS, "cors.v3.Cors"),
        *rates.filters(edge),
        legacy.status_filter(),
        *bodies.filters(edge),
        {"name": routes.TRANSCODER, "typed_config": routes.transcoder(edge, services)},
        http_filter("envoy.filters.http.router", "router.v3.Router"),
    ]


def _scrape(edge: Edge, listener: str) -> list[Json]:
    """The route to what a listener's process counts; the page and the old signalling are the orchestrator's."""
    process = {"page": "conversation", "legacy": "conversation"}.get(listener, listener)
    if listener == "stt_second" and not edge.upstreams.stt_second_metrics:
        process = "stt"
    cluster = f"{process}{METRICS}"
    return [routes.scrape(cluster)] if getattr(edge.upstreams, cluster) else []


def _listener(edge: Edge, name: str, port: int, services: tuple[Service, ...], table: list[Json]) -> Json:
    own = [routes.no_such_deadline(), routes.document(name), *_scrape(edge, name)]
    manager = {
        "@type": NETWORK,
        "stat_prefix": name,
        "codec_type": "AUTO",
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "always_set_request_id_in_response": True,
        "request_headers_timeout": "10s",
        # Ends with the first byte of the answer too: streams are answered at once and may go on.
        "request_timeout": f"{edge.request_s}s",
        "stream_idle_timeout": f"{STREAM_IDLE_S}s",
        "delayed_close_timeout": "1s",
        "drain_timeout": "5s",
        "common_http_protocol_options": {
            "idle_timeout": "3600s",
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        # Proxies and tools in front of the older stack speak it.
        "http_protocol_options": {"accept_http_10": True},
        "http2_protocol_options": {
            "max_concurrent_streams": 256,
            "initial_stream_window_size": BUFFER_BYTES,
            "initial_connection_window_size": 4 * MIB,
            "connection_keepalive": {"interval": "30s", "timeout": "10s"},
        },
        # Or the refusal of a socket would be Envoy's own 403, before any route is looked at.
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "access_log": [_access_log(edge, name)],
        "local_reply_config": answers.own_answers(edge, name),
        "route_config": {
            "ignore_port_in_host_matching": True,
            "virtual_hosts": routes.virtual_hosts(edge, name, access.guarded(edge, name, own + table)),
            # Envoy reads the OpenAPI documents as it starts.
            "max_direct_response_body_size_bytes": MAX_DOCUMENT_BYTES,
        },
        "http_filters": _http_filters(edge, services),
    }
    return {
        "name": name,
        # "::" takes the IPv4 addresses too.
        "address": {"socket_address": {"address": edge.bind, "port_value": port, "ipv4_compat": edge.bind == "::"}},
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        # A caller that vanished without a word is noticed, also where it had nothing to say.
        "tcp_keepalive": {"keepalive_time": 60, "keepalive_interval": 15, "keepalive_probes": 4},
        "filter_chains": [
            {
                "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
            }
        ],
    }


def _service_listener(edge: Edge, name: str, port: int, services: tuple[Service, ...]) -> Json:
    """JSON, gRPC, gRPC-Web and the older stack's routes of one process on one port."""
    older = LEGACY[name]
    table = [routes.no_websocket()]
    table += [route for service in (*services, older.service) for route in routes.calls(service, name)]
    table += [
        routes.other_grpc(name),
        *legacy.paths(edge, older, name),
        *(route for service in services for route in routes.uploads(service, name)),
        *routes.rest({"prefix": "/v1/"}, name),
        routes.refusal({"prefix": "/"}, 404),
    ]
    return _listener(edge, name, port, services, table)


def _to_https(edge: Edge) -> Json:
    """For who typed the page's address without its https://, and would see an empty answer."""
    manager = {
        "@type": NETWORK,
        "stat_prefix": "page_plain",
        "codec_type": "AUTO",
        "use_remote_address": True,
        "request_headers_timeout": "10s",
        "stream_idle_timeout": "10s",
        "common_http_protocol_options": {"idle_timeout": "10s", "max_requests_per_connection": 1},
        "access_log": [_access_log(edge, "page")],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "any",
                    "domains": ["*"],
                    "routes": [
                        {
                            "name": "to_https",
                            "match": {"prefix": "/"},
                            # Another port of this machine may well stay without TLS: nothing that a browser keeps.
                            "redirect": {"https_redirect": True, "response_code": "TEMPORARY_REDIRECT"},
                        }
                    ],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{HTTP_FILTERS}.router.v3.Router"},
            }
        ],
    }
    return {
        "filter_chain_match": {"transport_protocol": "raw_buffer"},
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
    }


def _secured(edge: Edge, listener: Json) -> Json:
    inspector = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
    listener["listener_filters"] = [
        {"name": "envoy.filters.listener.tls_inspector", "typed_config": {"@type": inspector}}
    ]
    listener["filter_chains"][0]["filter_chain_match"] = {"transport_protocol": "tls"}
    files = {
        "certificate_chain": {"filename": str(edge.certificate)},
        "private_key": {"filename": str(edge.key)},
    }
    listener["filter_chains"][0]["transport_socket"] = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "tls_certificates": [files],
            },
        },
    }
    listener["filter_chains"].append(_to_https(edge))
    return listener


def _page_listener(edge: Edge) -> Json:
    """Everything that the page needs on its own origin: files, signalling, and each service's JSON and gRPC-Web.

    Health and reflection are the orchestrator's here; those of a service are on the service's own port.
    """
    behind = ((RENDER, "render"), (AVATARS, "render"), (TTS, "tts"), (STT, "stt"), (CONVERSATIONS, "conversation"))
    table = [routes.websocket({"path": "/session"}, "page"), routes.no_websocket()]
    table += [route for service, cluster in behind for route in routes.calls(service, cluster)]
    table.append(routes.other_grpc("conversation"))
    # Each path has a transcoder of its own: four services bind GET /health, and here the conversation's answers.
    for services, cluster in (((RENDER, AVATARS), "render"), ((TTS,), "tts"), ((STT,), "stt")):
        options = routes.transcoder(edge, services)
        table += [route for service in services for route in routes.uploads(service, cluster, options)]
        prefixes = dict.fromkeys(prefix for service in services for prefix in service.rest_prefixes)
        table += [route for prefix in prefixes for route in routes.rest({"prefix": prefix}, cluster, options)]
    table += [
        *routes.rest({"prefix": "/v1/"}, "conversation"),
        *routes.rest({"prefix": "/health"}, "conversation"),
        routes.web("/", "page"),
    ]
    return _secured(edge, _listener(edge, "page", edge.ports.page, (CONVERSATIONS,), table))


def _legacy_listener(edge: Edge) -> Json:
    """The old signalling, a WebSocket at any path, and conversations for programs that take no TLS."""
    table = [
        routes.websocket({"prefix": "/"}, "page"),
        *routes.calls(CONVERSATIONS, "conversation"),
        routes.other_grpc("conversation"),
        *routes.rest({"prefix": "/v1/"}, "conversation"),
        *routes.rest({"prefix": "/health"}, "conversation"),
        routes.upgrade_required({"prefix": "/"}),
    ]
    return _listener(edge, "legacy", edge.ports.legacy, (CONVERSATIONS,), table)


def listeners(edge: Edge) -> list[Json]:
    """Every public listener."""
    ports = edge.ports
    return [
        _service_listener(edge, "render", ports.render, (RENDER, AVATARS)),
        _service_listener(edge, "tts", ports.tts, (TTS,)),
        _service_listener(edge, "stt", ports.stt, (STT,)),
        _service_listener(edge, "stt_second", ports.stt_second, (STT,)),
        _page_listener(edge),
        _legacy_listener(edge),
    ]
