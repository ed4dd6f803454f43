"""How large a body may be, route by route, and how many large ones may be on their way through a port at once.

A route reads as much as its method can use; more is refused from the headers, where they say it. Envoy holds a body
whole, and JSON four times over, so large ones are counted from their headers to the end of the answer: many at once
would take the memory, and with it the turn, of everybody else.
"""

from __future__ import annotations

from typing import Any

from clusters import HTTP_FILTERS
from topology import MIB, SMALL_BODY_BYTES, Edge

Json = dict[str, Any]
BUFFER = "envoy.filters.http.buffer"
RETRY_AFTER_S = 5
WORDS = f"too many large bodies are on their way; try again in {RETRY_AFTER_S} s"
TOO_LARGE = "the body is too large; at most %METADATA(ROUTE:avatar:largest_body)% are read"
# More than this in JSON takes Envoy's thread for some tenths of a second.
LARGE_JSON_BYTES = 16 * MIB
# Gates, with how many pass each for one of the setting. Messages of gRPC do not stay in Envoy, but in the service they
# do; most are small, but how large one is shows only when it has come.
BODIES, JSON, MESSAGES = "avatar.large_bodies", "avatar.large_json", "avatar.messages_with_files"
SHARES = {BODIES: 1.0, JSON: 0.25, MESSAGES: 4.0}
_MAX_LENGTH = 2**62


def _gate(name: str, count: int) -> Json:
    gate = {
        "@type": f"{HTTP_FILTERS}.adaptive_concurrency.v3.AdaptiveConcurrency",
        # It adapts between two bounds that are the same.
        "gradient_controller_config": {
            "concurrency_limit_params": {"max_concurrency_limit": count, "concurrency_update_interval": "60s"},
            "min_rtt_calc_params": {"fixed_value": "60s", "min_concurrency": count},
        },
        "concurrency_limit_exceeded_status": {"code": "TooManyRequests"},
    }
    return {"name": name, "typed_config": gate, "disabled": True}


def filters(edge: Edge) -> list[Json]:
    """The filters of a listener, off until a route turns them on. They stand before the transcoder."""
    buffer = {"@type": f"{HTTP_FILTERS}.buffer.v3.Buffer", "max_request_bytes": SMALL_BODY_BYTES}
    gates = [_gate(name, max(1, int(share * edge.large_bodies))) for name, share in SHARES.items()]
    # A stream's body has no end to wait for, so the buffer is off too.
    return [*gates, {"name": BUFFER, "typed_config": buffer, "disabled": True}]


def _with(route: Json, options: Json) -> Json:
    return route | {"typed_per_filter_config": route.get("typed_per_filter_config", {}) | options}


def _through(route: Json, *gates: str) -> Json:
    on = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}
    return _with(route, dict.fromkeys(gates, on))


def _of_length(route: Json, least: int, most: int) -> Json:
    """The route for bodies whose length is told beforehand and lies between these."""
    length = {"name": "content-length", "range_match": {"start": least, "end": most + 1}}
    match = route["match"]
    return route | {"match": match | {"headers": [*match.get("headers", []), length]}}


def message(route: Json) -> list[Json]:
    """The route of a gRPC method whose message may hold a file."""
    return [_of_length(route, 0, SMALL_BODY_BYTES), _through(route, MESSAGES)]


def whole(route: Json, most_bytes: int, off: Json, *, is_json: bool) -> list[Json]:
    """A route whose body the service sees when all of it has come, and 413 for one that is too large.

    Args: off: what turns off the filters that a refusal does without.
    """
    per_route = {"@type": f"{HTTP_FILTERS}.buffer.v3.BufferPerRoute", "buffer": {"max_request_bytes": most_bytes}}
    told = {"metadata": {"filter_metadata": {"avatar": {"largest_body": f"{most_bytes // MIB} MiB"}}}}
    route = _with(route, {BUFFER: per_route}) | told
    table = [
        _of_length(
            {"match": route["match"], "direct_response": {"status": 413}} | told | off, most_bytes + 1, _MAX_LENGTH
        )
    ]
    if most_bytes > SMALL_BODY_BYTES:
        table.append(_of_length(route, 0, SMALL_BODY_BYTES))
        route = _through(route, BODIES)
    if is_json and most_bytes > LARGE_JSON_BYTES:
        table.append(_of_length(route, 0, LARGE_JSON_BYTES))
        route = _through(route, JSON)
    return [*table, route]
