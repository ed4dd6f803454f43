"""How many calls may come: over one connection, so that one caller does not take the others' turn, and over a port.

A stream is one call. The filters stand before the transcoder and the buffer: a call that is too much costs no more than
its headers.
"""

from __future__ import annotations

from typing import Any

from clusters import HTTP_FILTERS
from topology import Edge

Json = dict[str, Any]
WORDS = "too many calls at once; try again in a second"
# Of a bucket: a burst may be as large as what comes in two seconds.
_BURST_S = 2
_ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}


def _filter(name: str, per_s: int, *, of_connection: bool) -> Json:
    return {
        "name": f"avatar.calls_of_{name}",
        "typed_config": {
            "@type": f"{HTTP_FILTERS}.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": f"calls_of_{name}",
            "token_bucket": {
                "max_tokens": _BURST_S * per_s,
                # Envoy adds them bit by bit, not all at the end of the second.
                "tokens_per_fill": per_s,
                "fill_interval": "1s",
            },
            "filter_enabled": _ALWAYS,
            "filter_enforced": _ALWAYS,
            "local_rate_limit_per_downstream_connection": of_connection,
            "rate_limited_as_resource_exhausted": True,
            "response_headers_to_add": [{"header": {"key": "retry-after", "value": "1"}}],
        },
    }


def filters(edge: Edge) -> list[Json]:
    """The filters of a listener; none where the operator sets no limit."""
    found = []
    if edge.connection_calls_per_s:
        found.append(_filter("connection", edge.connection_calls_per_s, of_connection=True))
    if edge.port_calls_per_s:
        found.append(_filter("port", edge.port_calls_per_s, of_connection=False))
    return found
