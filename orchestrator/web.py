"""HTTP for Envoy alone: the page's files and the sockets of both listeners."""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from aiohttp import web

from orchestrator.clients.stt import Recogniser
from orchestrator.signaling import Signaling
from services.common.errors import AvatarError

PAGE = Path(__file__).parent / "page"
# Set by Envoy on every request, whatever a client sends: which public port it came in by.
LISTENER_HEADER = "x-avatar-listener"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self), camera=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Files change with an upgrade; a revalidation costs less than a stale page.
    "Cache-Control": "no-cache",
}


def index(chosen: Mapping[str, str]) -> str:
    """The page's first file. Args: chosen: "avatar", "language", "voice" and "reply" until the person chooses."""
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    for name, value in chosen.items():
        text = text.replace(f'data-{name}=""', f'data-{name}="{html.escape(value)}"', 1)
    return text


def application(
    signaling: Signaling, chosen: Mapping[str, str], recogniser: Callable[[], Awaitable[Recogniser]]
) -> web.Application:
    """The page at `/`, its socket at `/session`, and the legacy sockets at any path of their own listener.

    Args:
        chosen: what `index` writes into the page.
        recogniser: asks what listens, for the page; may raise AvatarError.
    """
    app = web.Application()
    files = {f"/{file.relative_to(PAGE)}": file for file in PAGE.rglob("*") if file.is_file()}
    first = index(chosen)
    files["/"] = files["/index.html"]

    async def hearing() -> web.Response:
        try:
            return web.json_response(asdict(await recogniser()), headers=_HEADERS)
        except AvatarError as error:
            return web.json_response({"code": 14, "message": str(error)}, status=503)

    async def answer(request: web.Request) -> web.StreamResponse:
        if "origin" in request.headers and LISTENER_HEADER not in request.headers:
            # Any page that somebody has open can reach this port of the machine; Envoy knows which may.
            return web.json_response({"code": 7, "message": "pages call by Envoy's port"}, status=403)
        wants_socket = request.headers.get("upgrade", "").lower() == "websocket"
        if request.headers.get(LISTENER_HEADER) == "legacy":
            if not wants_socket:
                return web.Response(status=426, text="Upgrade Required", headers={"Upgrade": "websocket"})
            return await signaling.serve(request, legacy=True)
        if request.path == "/session":
            if not wants_socket:
                return web.Response(status=426, text="Upgrade Required", headers={"Upgrade": "websocket"})
            return await signaling.serve(request, legacy=False)
        if request.path == "/hearing":
            return await hearing()
        if request.path not in files:
            return web.json_response({"code": 5, "message": f"there is no {request.path[:80]} here"}, status=404)
        if request.method not in ("GET", "HEAD"):
            said = {"code": 12, "message": f"{request.path} can only be read"}
            return web.json_response(said, status=405, headers={"Allow": "GET, HEAD"})
        if request.path in ("/", "/index.html"):
            return web.Response(text=first, content_type="text/html", charset="utf-8", headers=_HEADERS)
        return web.FileResponse(files[request.path], headers=_HEADERS)

    app.router.add_route("*", "/{path:.*}", answer)
    return app
