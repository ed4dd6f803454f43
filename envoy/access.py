"""Who may call once the public ports are open to the network: whoever sends the token, in one of three places.

Programs send it as a header, browsers as a cookie, and clients of a WebSocket that can set neither in its address.
All of it is routes, so that it holds for every kind of call before any other filter sees one.
"""

from __future__ import annotations

import re
from typing import Any

import routes
from topology import Edge

Json = dict[str, Any]
QUERY = "token"
# A year; browsers keep none for much longer.
_COOKIE_S = 365 * 24 * 3600
_SAYS = (
    "the token is missing or wrong; `avatar token` prints it. Programs send it as the header 'Authorization: Bearer "
    "TOKEN', a WebSocket may carry it in its address as ?token=TOKEN, and a browser opens the page once with "
    "?token=TOKEN"
)
# For a person who opens the address; the form does what the address with the token does.
PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>Avatar: token needed</title>"
    "<style>:root{color-scheme:light dark;font:1.1rem/1.5 system-ui,sans-serif}"
    "body{max-width:32rem;margin:15vh auto 0;padding:0 1.5rem}"
    "input,button{font:inherit;padding:.5rem .75rem;border-radius:.5rem;border:1px solid #888}"
    "input{width:100%;box-sizing:border-box;margin:.5rem 0}</style>"
    "<h1>This avatar asks for a token</h1>"
    "<p>Open the address that <code>avatar up --lan</code> printed, or scan its code. You can also paste the token "
    'here:</p><form action="/"><input name="token" aria-label="Token" autocomplete="off" autofocus required>'
    "<button>Open</button></form>"
    '<p>Did you come by a link with the token in it? Then <a href="/">go on to the page</a>.</p></html>'
)
# Of the refusal, for programs and for people.
HEADERS = {"www-authenticate": 'Bearer realm="avatar"', "cache-control": "no-store"}
PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
    "referrer-policy": "no-referrer",
}


def cookie_name(edge: Edge) -> str:
    """Of its own for each page: browsers keep the cookies of all ports of a host together."""
    return f"__Host-avatar-{edge.ports.page}"


def _without(header: str, string_match: Json) -> Json:
    """Matches a request whose header is missing or does not fit."""
    return {"name": header, "string_match": string_match, "invert_match": True, "treat_missing_header_as_empty": True}


def _in_address(edge: Edge) -> Json:
    assert edge.token is not None
    return {"query_parameters": [{"name": QUERY, "string_match": {"exact": edge.token}}]}


def _welcome(edge: Edge) -> Json:
    """The page's address with the token: the browser keeps it as a cookie and goes on to the address without."""
    cookie = f"{cookie_name(edge)}={edge.token}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={_COOKIE_S}"
    headers = {"set-cookie": cookie, "cache-control": "no-store", "referrer-policy": "no-referrer"}
    return {
        "match": {"prefix": "/", "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]}
        | _in_address(edge),
        "redirect": {"strip_query": True, "response_code": "SEE_OTHER"},
        "response_headers_to_add": [{"header": {"key": key, "value": value}} for key, value in headers.items()],
    } | routes.NO_TRANSCODING


def guarded(edge: Edge, listener: str, table: list[Json]) -> list[Json]:
    """The routes of a listener for those who know the token, and a refusal for all others; as given without one."""
    if edge.token is None:
        return table
    strangers = [_without("authorization", {"safe_regex": {"regex": f"(?i:bearer) +{re.escape(edge.token)}"}})]
    sockets = [route for route in table if "upgrade_configs" in route.get("route", {})]
    first = [route | {"match": route["match"] | _in_address(edge)} for route in sockets]
    # The others have no TLS: a browser sends them no secure cookie, and nobody else should.
    if listener == "page":
        first.append(_welcome(edge))
        # Among any others; whoever has the token within something longer has it.
        strangers.append(_without("cookie", {"contains": f"{cookie_name(edge)}={edge.token}"}))
    return [*first, routes.refusal({"prefix": "/", "headers": strangers}, 401, _SAYS), *table]
