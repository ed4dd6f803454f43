"""Envoy routes: which call goes where, how long it may take, and who may call at all.

The JSON transcoder chooses the route twice: filters take their options from the route of the path as it was sent
(`/v1/voices`), timeouts and clusters come from the route of the gRPC path (`/avatar.tts.v1...`). So both exist.
"""

from __future__ import annotations

from typing import Any

import bodies
from clusters import HTTP_FILTERS, STICKY
from topology import DOCUMENTS, MAX_BODY_BYTES, SMALL_BODY_BYTES, Edge, Method, Service

Json = dict[str, Any]
CORS = "envoy.filters.http.cors"
TRANSCODER = "envoy.filters.http.grpc_json_transcoder"
LISTENER_HEADER = "x-avatar-listener"
_OFF = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
# For routes whose answer is not made of gRPC messages.
NO_TRANSCODING = {"typed_per_filter_config": {TRANSCODER: _OFF}}
_IS_WEBSOCKET = {"name": "upgrade", "string_match": {"exact": "websocket", "ignore_case": True}}


def transcoder(edge: Edge, services: tuple[Service, ...]) -> Json:
    """The options that turn JSON into calls of `services`, and streams into a line of JSON per message.

    No two of them may bind the same path: Envoy would then serve it for neither.
    """
    return {
        "@type": f"{HTTP_FILTERS}.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor": str(edge.descriptors),
        "services": [service.name for service in services],
        "convert_grpc_status": True,
        "ignore_unknown_query_parameters": False,
        "request_validation_options": {
            "reject_unknown_method": True,
            "reject_unknown_query_parameters": True,
            "reject_binding_body_field_collisions": True,
        },
        "max_request_body_size": MAX_BODY_BYTES,
        "max_response_body_size": MAX_BODY_BYTES,
        "print_options": {
            "preserve_proto_field_names": True,
            "always_print_primitive_fields": True,
            "stream_newline_delimited": True,
        },
    }


def _retries() -> Json:
    return {
        "retry_on": "connect-failure,refused-stream,reset,unavailable",
        "num_retries": 2,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
        "host_selection_retry_max_attempts": 3,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
    }


def _call(service: Service, method: Method, cluster: str) -> Json:
    route: Json = {
        "cluster": f"{cluster}{STICKY}" if method.sticky else cluster,
        "timeout": f"{method.timeout_s}s",
        "idle_timeout": f"{method.idle_s}s",
    }
    if method.sticky:
        route["hash_policy"] = [{"header": {"header_name": "x-session-id"}}]
    if method.retry:
        route["retry_policy"] = _retries()
    return {
        "match": {"path": f"/{service.name}/{method.name}"},
        "route": route,
        # What is kept to be sent again: a larger body is sent once.
        "request_body_buffer_limit": SMALL_BODY_BYTES,
    }


def calls(service: Service, cluster: str) -> list[Json]:
    """One route per gRPC method; native, gRPC-Web and JSON calls all end here."""
    table: list[Json] = []
    for method in service.methods:
        route = _call(service, method, cluster)
        table += bodies.message(route) if method.upload else [route]
    return table


def other_grpc(cluster: str) -> Json:
    """Health, reflection and methods that nobody has (UNIMPLEMENTED); health may be watched for days."""
    return {
        "match": {"prefix": "/", "grpc": {}},
        "route": {"cluster": cluster, "timeout": "0s", "idle_timeout": "0s"},
    }


def rest(
    match: Json, cluster: str, options: Json | None = None, most_bytes: int = SMALL_BODY_BYTES, *, is_json: bool = True
) -> list[Json]:
    """JSON and other bodies, taken in whole before the service sees any of them.

    Args: options: the transcoder's, where the listener's own do not fit; most_bytes: of a body.
    """
    route = {"match": match, "route": {"cluster": cluster}}
    if options:
        route["typed_per_filter_config"] = {TRANSCODER: options}
    return bodies.whole(route, most_bytes, NO_TRANSCODING, is_json=is_json)


def uploads(service: Service, cluster: str, options: Json | None = None) -> list[Json]:
    """The paths of a service to which files are posted as JSON."""
    by_post = {"headers": [{"name": ":method", "string_match": {"exact": "POST"}}]}
    return [
        route
        for path, most_bytes in service.uploads.items()
        for route in rest({"path": path} | by_post, cluster, options, most_bytes)
    ]


def web(prefix: str, cluster: str) -> Json:
    """Plain HTTP that is no gRPC: the page's files."""
    return {
        "match": {"prefix": prefix},
        "route": {"cluster": cluster, "timeout": "30s"},
    } | NO_TRANSCODING


def websocket(match: Json, cluster: str) -> Json:
    """A WebSocket, as long as both ends want it; they find out by pings whether the other is still there."""
    return {
        "match": match | {"headers": [_IS_WEBSOCKET]},
        "route": {
            "cluster": cluster,
            "timeout": "0s",
            "idle_timeout": "0s",
            "upgrade_configs": [{"upgrade_type": "websocket"}],
        },
    } | NO_TRANSCODING


def no_websocket() -> Json:
    """Where there is none. Routes of JSON would wait for the end of what a socket sends, which never comes."""
    return refusal({"prefix": "/", "headers": [_IS_WEBSOCKET]}, 404)


def scrape(cluster: str) -> Json:
    """What a process counts and times, for Prometheus."""
    return {"match": {"path": "/metrics"}, "route": {"cluster": cluster, "timeout": "10s"}} | NO_TRANSCODING


def document(listener: str) -> Json:
    """What a port serves over HTTP, as OpenAPI."""
    # Envoy leaves out the body for HEAD.
    by_get = {"headers": [{"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}]}
    as_json = {"header": {"key": "content-type", "value": "application/json"}}
    return {
        "match": {"path": "/openapi.json"} | by_get,
        "direct_response": {"status": 200, "body": {"filename": str(DOCUMENTS / f"{listener}.json")}},
        "response_headers_to_add": [as_json | {"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
    } | NO_TRANSCODING


def no_such_deadline() -> Json:
    """A deadline that is none, as gRPC writes them: a service would break the connection."""
    is_deadline = {"safe_regex": {"regex": "[0-9]{1,8}[HMSmun]"}}
    wrong = [
        {"name": "grpc-timeout", "present_match": True},
        {"name": "grpc-timeout", "string_match": is_deadline, "invert_match": True},
    ]
    sentence = "grpc-timeout is a number of 1 to 8 digits and its unit, H, M, S, m, u or n, such as 500m"
    return refusal({"prefix": "/", "headers": wrong}, 400, sentence)


def refusal(match: Json, status: int, sentence: str = "") -> Json:
    """An answer of Envoy's own; the listener puts it into words unless there is a sentence."""
    body = {"body": {"inline_string": sentence}} if sentence else {}
    return {"match": match, "direct_response": {"status": status} | body} | NO_TRANSCODING


def upgrade_required(match: Json) -> Json:
    """Tells plain HTTP that only a WebSocket is served, in the older stack's words."""
    headers = {"content-type": "text/plain", "upgrade": "websocket"}
    return refusal(match, 426, "Upgrade Required") | {
        "response_headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in headers.items()
        ]
    }


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _origins(edge: Edge) -> list[Json]:
    """Pages that may call: ours, and any that this machine serves to itself, which could call without a page too.

    On the network "this machine" is whichever the browser runs on, so those are left out. One matcher for each: a
    machine has more addresses than a regular expression of Envoy's may hold.
    """
    port = "" if edge.ports.page == 443 else f":{edge.ports.page}"
    ours = [f"https://{_bracketed(name)}{port}" for name in edge.names]
    local = {"safe_regex": {"regex": r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"}}
    alone = edge.on_loopback and edge.token is None
    return [{"exact": origin} for origin in (*ours, *edge.origins)] + ([local] if alone else [])


def _named(route: Json) -> Json:
    """By what it matches: the access log tells it instead of the caller's own path."""
    match = route["match"]
    return {"name": match.get("path") or f"{match.get('prefix', '')}*"} | route


def virtual_hosts(edge: Edge, listener: str, routes: list[Json]) -> list[Json]:
    """Routes for those who may call.

    A page from elsewhere is refused, also where the browser would ask no leave (a simple POST, a WebSocket). On
    loopback so is a host name that is not ours: a foreign page may point its own name at 127.0.0.1 (DNS rebinding).
    """
    foreign = [{"name": "origin", "string_match": origin, "invert_match": True} for origin in _origins(edge)]
    present = {"name": "origin", "present_match": True}
    cors = {
        "@type": f"{HTTP_FILTERS}.cors.v3.CorsPolicy",
        "allow_origin_string_match": _origins(edge),
        "allow_methods": "GET,POST,DELETE,OPTIONS",
        "allow_headers": "authorization,content-type,grpc-timeout,traceparent,x-grpc-web,x-session-id,x-user-agent",
        "expose_headers": "grpc-status,grpc-message,grpc-status-details-bin,x-request-id",
        "max_age": "600",
    }
    domains = [_bracketed(name) for name in edge.names] if edge.on_loopback else ["*"]
    return [
        {
            "name": listener,
            "domains": domains,
            "typed_per_filter_config": {CORS: cors},
            "request_headers_to_add": [
                {
                    "header": {"key": LISTENER_HEADER, "value": listener},
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                }
            ],
            # It is between the caller and this proxy.
            "request_headers_to_remove": ["authorization", "cookie"],
            "routes": [
                _named(route) for route in (refusal({"prefix": "/", "headers": [present, *foreign]}, 403), *routes)
            ],
        }
    ]
