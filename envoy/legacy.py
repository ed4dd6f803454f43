"""The older stack's routes: their paths, the statuses that gRPC lacks, and error bodies that are {"detail": ...}."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import routes
from clusters import HTTP_FILTERS
from topology import SMALL_BODY_BYTES, Edge, Legacy

Json = dict[str, Any]
# What these routes say otherwise than the others do.
SENTENCES = {
    404: "Not Found",
    405: "Method Not Allowed",
}
LUA = "envoy.filters.http.lua"


def status_filter() -> Json:
    """Gives an answer the HTTP status that its service asks for. It stands before the transcoder."""
    source = {"inline_string": (Path(__file__).parent / "legacy_status.lua").read_text()}
    return {
        "name": LUA,
        "typed_config": {"@type": f"{HTTP_FILTERS}.lua.v3.Lua", "default_source_code": source},
    }


def is_legacy() -> list[Json]:
    """Filters of local replies: the path is none of ours. The transcoder has put the gRPC path in its place by then."""
    ours = {"string_match": {"prefix": "/v1/"}, "invert_match": True, "treat_missing_header_as_empty": True}
    return [{"header_filter": {"header": {"name": name} | ours}} for name in (":path", "x-envoy-original-path")]


def paths(edge: Edge, legacy: Legacy, cluster: str) -> list[Json]:
    """The routes of a port: each path by its one method, and 405 by any other."""
    # Clients of the older stack may send what was never read.
    options = routes.transcoder(edge, (legacy.service,)) | {
        "ignore_unknown_query_parameters": True,
        "request_validation_options": {"reject_unknown_method": True},
    }
    table = []
    for path, method in legacy.paths.items():
        allow = {"header": {"key": "allow", "value": method}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        by_method = {"headers": [{"name": ":method", "string_match": {"exact": method}}]}
        most_bytes = legacy.service.uploads.get(path, SMALL_BODY_BYTES)
        table += [
            *routes.rest({"path": path} | by_method, cluster, options, most_bytes, is_json=False),
            routes.refusal({"path": path}, 405) | {"response_headers_to_add": [allow]},
        ]
    return table
