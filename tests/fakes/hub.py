"""A model hub on loopback: files that lie elsewhere, ranges, tokens, and everything that goes wrong with them."""

from __future__ import annotations

import contextlib
import hashlib
import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

from services.common.model_manifest import HubFile, Licence, Model

REPOSITORY, REVISION = "owner/name", "0123456789abcdef0123456789abcdef01234567"
FREE = Licence("free", "Free", "https://example.org/free", "any use", needs_yes=False)
BOUND = Licence("bound", "Bound", "https://example.org/bound", "research", needs_yes=True)
TOKEN = "hf_a-secret"


def content_of(path: str, size_bytes: int) -> bytes:
    """A file's content: of one path always the same, and no part like another."""
    block = hashlib.shake_256(path.encode()).digest(1 << 16)
    return (block * (size_bytes // len(block) + 1))[:size_bytes]


def model_of(files: dict[str, bytes], licence: Licence = FREE, **more: Any) -> Model:
    """A model that consists of these files."""
    pinned = tuple(HubFile(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in files.items())
    fields = {"name": "tiny", "service": "render", "purpose": "a tiny model", "folder": "tiny"} | more
    return Model(repository=REPOSITORY, revision=REVISION, licence=licence, files=pinned, **fields)


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came. Args: where: the hub, or where files lie; start: the first byte asked for, if not all."""

    where: Literal["hub", "cdn"]
    path: str
    start: int | None
    authorization: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """Answer with this status instead."""

    code: int
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cut:
    """Send this many bytes of the answer, then close the connection."""

    after_bytes: int


@dataclass(frozen=True, slots=True)
class Stall:
    """Send this many bytes of the answer, and the rest once the hub may go on."""

    after_bytes: int


Fault = Status | Cut | Stall


@dataclass
class FakeHub:
    """What the hub has and does.

    Args:
        files: by path, of one repository at one revision.
        seen: what was asked for, in order.
        hub_faults, cdn_faults: for the next requests to each, one for each; afterwards all is well.
        token: what the hub wants to see; empty for a public one.
        knows_ranges: whether files can be had in parts.
        announces: whether the hub tells each file's hash before the file comes.
        says_length: whether answers say how long they are.
        older_name: leads to the repository's name of today, as after it was renamed.
        stalled: set once an answer stalls.
        may_go_on: set by the test, for answers that stall.
    """

    files: dict[str, bytes]
    seen: list[Seen] = field(default_factory=list)
    hub_faults: deque[Fault] = field(default_factory=deque)
    cdn_faults: deque[Fault] = field(default_factory=deque)
    token: str = ""
    knows_ranges: bool = True
    announces: bool = True
    says_length: bool = True
    older_name: str = ""
    endpoint: str = ""
    cdn: str = ""
    stalled: threading.Event = field(default_factory=threading.Event)
    may_go_on: threading.Event = field(default_factory=threading.Event)

    def starts(self) -> list[int]:
        """From which byte on files were sent, in order."""
        return [one.start or 0 for one in self.seen if one.where == "cdn"]


class _Handler(BaseHTTPRequestHandler):
    """Closes after each answer, as HTTP/1.0 does."""

    hub: FakeHub
    where: Literal["hub", "cdn"]

    def do_HEAD(self) -> None:
        """Of the hub, whose answers have no body."""
        self.do_GET()

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else None
        self.hub.seen.append(Seen(self.where, self.path, start, self.headers.get("Authorization")))
        faults = self.hub.hub_faults if self.where == "hub" else self.hub.cdn_faults
        fault = faults.popleft() if faults else None
        if isinstance(fault, Status):
            self._answer(fault.code, fault.headers)
        elif self.where == "hub":
            self._redirect()
        else:
            self._send(start, fault)

    def _redirect(self) -> None:
        hub = self.hub
        if hub.older_name and self.path.startswith(f"/{hub.older_name}/"):
            self._answer(307, {"Location": self.path.replace(hub.older_name, REPOSITORY, 1)})
            return
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._answer(401, {})
            return
        path = self.path.removeprefix(f"/{REPOSITORY}/resolve/{REVISION}/")
        if path not in hub.files:
            self._answer(404, {})
            return
        linked = {"X-Linked-Etag": f'"{hashlib.sha256(hub.files[path]).hexdigest()}"'} if hub.announces else {}
        self._answer(302, {"Location": f"{hub.cdn}/{path}?Signature=secret-too"} | linked)

    def _send(self, start: int | None, fault: Cut | Stall | None) -> None:
        whole = self.hub.files[self.path.partition("?")[0].removeprefix("/")]
        if start is not None and start >= len(whole):
            self._answer(416, {"Content-Range": f"bytes */{len(whole)}"})
            return
        if start is not None and self.hub.knows_ranges:
            data, place = whole[start:], {"Content-Range": f"bytes {start}-{len(whole) - 1}/{len(whole)}"}
            self.send_response(206)
        else:
            data, place = whole, {}
            self.send_response(200)
        for name, value in place.items():
            self.send_header(name, value)
        if self.hub.says_length:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(data if fault is None else data[: fault.after_bytes])
            if isinstance(fault, Stall):
                self.hub.stalled.set()
                self.hub.may_go_on.wait()
                self.wfile.write(data[fault.after_bytes :])

    def _answer(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Nothing is printed."""


@contextlib.contextmanager
def _listening(handler: type[BaseHTTPRequestHandler], certificate: Path | None = None) -> Iterator[str]:
    """A server on loopback. Args: certificate: a folder with `certificate.pem` and `key.pem`. Gives: its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def serving_hub(files: dict[str, bytes], certificate: Path | None = None) -> Iterator[FakeHub]:
    """A hub and, at another address, where its files lie."""
    hub = FakeHub(dict(files))
    with contextlib.ExitStack() as stack:
        for where in ("hub", "cdn"):
            handler = type("Handler", (_Handler,), {"hub": hub, "where": where})
            address = stack.enter_context(_listening(handler, certificate))
            if where == "hub":
                hub.endpoint = address
            else:
                hub.cdn = address
        stack.callback(hub.may_go_on.set)
        yield hub


class _Proxy(BaseHTTPRequestHandler):
    """Tunnels, as a proxy does for https."""

    tunnelled: list[str]
    refuses: bool

    def do_CONNECT(self) -> None:
        self.tunnelled.append(self.path)
        if self.refuses:
            self.send_error(407)
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as far:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: far, far: self.connection}
            while True:
                ready, _, _ = select.select(list(ends), [], [])
                for end in ready:
                    try:
                        data = end.recv(1 << 16)
                    except ConnectionError:
                        return
                    if not data:
                        return
                    ends[end].sendall(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Nothing is printed."""


@contextlib.contextmanager
def serving_proxy(*, refuses: bool = False) -> Iterator[tuple[str, list[str]]]:
    """An HTTP proxy. Args: refuses: it wants a password. Gives: its address, and where it was asked to lead."""
    tunnelled: list[str] = []
    handler = type("Handler", (_Proxy,), {"tunnelled": tunnelled, "refuses": refuses})
    with _listening(handler) as address:
        yield address, tunnelled
