"""Envoy listeners: one port per service, and two for the orchestrator."""

from __future__ import annotations

from typing import Any

import access
import legacy
import rates
import routes
from clusters import METRICS
from topology import (
    AVATARS,
    CONVERSATIONS,
    LEGACY,
    MAX_BODY_BYTES,
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
# HTTP status of an answer that Envoy makes itself -> (gRPC code, sentence; empty keeps Envoy's own).
_OWN_ANSWERS = {
    400: (3, ""),
    401: (16, ""),
    403: (7, "pages of this origin may not call here; the operator can allow it by [network] origins in avatar.toml"),
    404: (5, "there is no such method, path or host here"),
    408: (4, "the request took too long to arrive"),
    413: (3, f"the body is too large; at most {MAX_BODY_BYTES // MIB} MiB are read"),
    429: (8, rates.WORDS),
    431: (3, "the headers are too large; at most 60 KiB are read"),
    500: (13, "the answer is too large, or the connection to the service broke"),
    502: (14, "the service gave no proper answer; try again"),
    503: (14, "the service is not running or not ready; try again in a few seconds"),
    504: (4, "the service took too long to answer"),
}
# What a status asks for besides its words.
_OWN_HEADERS = {401: {"www-authenticate": 'Bearer realm="avatar"', "cache-control": "no-store"}}
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


def _headers(values: dict[str, str]) -> list[Json]:
    return [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in values.items()
    ]


def _own_answers(listener: str) -> Json:
    """Envoy's own answers in the shape of a converted gRPC status; native gRPC gets them as a status anyway.

    The transcoder has set its content type to gRPC by then, so a JSON call is known by its original method.
    """
    is_json = {
        "or_filter": {
            "filters": [
                {"header_filter": {"header": {"name": "x-envoy-original-method", "present_match": True}}},
                {
                    "header_filter": {
                        "header": {
                            "name": "content-type",
                            "string_match": {"prefix": "application/grpc"},
                            "invert_match": True,
                            "treat_missing_header_as_empty": True,
                        }
                    }
                },
            ]
        }
    }

    def is_status(status: int) -> Json:
        value = {"default_value": status, "runtime_key": f"own_answer.{status}"}
        return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}

    def mapper(status: int, body: Json, only: list[Json]) -> Json:
        return {
            "filter": {"and_filter": {"filters": [is_status(status), is_json, *only]}},
            "body_format_override": {"json_format": body},
            "headers_to_add": _headers({"content-type": "application/json"} | _OWN_HEADERS.get(status, {})),
        }

    asks_for_a_page = {"header_filter": {"header": {"name": "accept", "string_match": {"contains": "text/html"}}}}
    asked_for_its_token = {
        "filter": {"and_filter": {"filters": [is_status(401), asks_for_a_page]}},
        "body_format_override": {
            # In a format a percent sign stands for itself as two.
            "text_format_source": {"inline_string": access.PAGE.replace("%", "%%")},
            "content_type": "text/html; charset=utf-8",
        },
        "headers_to_add": _headers(_OWN_HEADERS[401] | access.PAGE_HEADERS),
    }
    mappers = []
    if listener in LEGACY:
        sentences = {status: message for status, (_, message) in _OWN_ANSWERS.items()} | legacy.SENTENCES
        for status, message in sentences.items():
            body: Json = {"detail": message or "%LOCAL_REPLY_BODY%"}
            mappers.append(mapper(status, body, legacy.is_legacy()))
    for status, (code, message) in _OWN_ANSWERS.items():
        body = {"code": code, "message": message or "%LOCAL_REPLY_BODY%", "details": []}
        mappers.append(mapper(status, body, []))
    # Native gRPC takes the words of its status from here.
    mappers.append(
        {"filter": is_status(429), "body_format_override": {"text_format_source": {"inline_string": rates.WORDS}}}
    )
    return {"mappers": [asked_for_its_token, *mappers] if listener == "page" else mappers}


def _http_filters(edge: Edge, services: tuple[Service, ...]) -> list[Json]:
    def http_filter(name: str, kind: str, **options: Any) -> Json:
        return {"name": name, "typed_config": {"@type": f"{routes.HTTP_FILTERS}.{kind}"} | options}

    return [
        http_filter("envoy.filters.http.grpc_web", "grpc_web.v3.GrpcWeb"),
        http_filter(routes.CORS, "cors.v3.Cors"),
        *rates.filters(edge),
        legacy.status_filter(),
        # Only routes of JSON turn it on: a stream's body has no end to wait for.
        http_filter(routes.BUFFER, "buffer.v3.Buffer", max_request_bytes=MAX_BODY_BYTES) | {"disabled": True},
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
    own = [routes.document(name), *_scrape(edge, name)]
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
        "local_reply_config": _own_answers(name),
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
        routes.rest({"prefix": "/v1/"}, name),
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
                "typed_config": {"@type": f"{routes.HTTP_FILTERS}.router.v3.Router"},
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
    behind = {RENDER: "render", AVATARS: "render", TTS: "tts", STT: "stt", CONVERSATIONS: "conversation"}
    table = [routes.websocket({"path": "/session"}, "page"), routes.no_websocket()]
    table += [route for service, cluster in behind.items() for route in routes.calls(service, cluster)]
    table.append(routes.other_grpc("conversation"))
    # Each path has a transcoder of its own: four services bind GET /health, and here the conversation's answers.
    for services, cluster in (((RENDER, AVATARS), "render"), ((TTS,), "tts"), ((STT,), "stt")):
        options = routes.transcoder(edge, services)
        prefixes = dict.fromkeys(prefix for service in services for prefix in service.rest_prefixes)
        table += [routes.rest({"prefix": prefix}, cluster, options) for prefix in prefixes]
    table += [
        routes.rest({"prefix": "/v1/"}, "conversation"),
        routes.rest({"prefix": "/health"}, "conversation"),
        routes.web("/", "page"),
    ]
    return _secured(edge, _listener(edge, "page", edge.ports.page, (CONVERSATIONS,), table))


def _legacy_listener(edge: Edge) -> Json:
    """The old signalling, a WebSocket at any path, and conversations for programs that take no TLS."""
    table = [
        routes.websocket({"prefix": "/"}, "page"),
        *routes.calls(CONVERSATIONS, "conversation"),
        routes.other_grpc("conversation"),
        routes.rest({"prefix": "/v1/"}, "conversation"),
        routes.rest({"prefix": "/health"}, "conversation"),
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
