"""Bodies that clients of the older stack send, and its answers as a native gRPC caller finds them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.api.httpbody_pb2 import HttpBody

from services.common.legacy_http import STATUS_KEY

BOUNDARY = "----test"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def form(texts: Mapping[str, str] | None = None, files: Mapping[str, bytes] | None = None) -> bytes:
    """The bytes of a form, as browsers write it."""
    parts = [(f'name="{name}"', text.encode()) for name, text in (texts or {}).items()]
    parts += [(f'name="{name}"; filename="../{name}.bin"', content) for name, content in (files or {}).items()]
    body = b""
    for options, content in parts:
        body += f"--{BOUNDARY}\r\nContent-Disposition: form-data; {options}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def form_body(texts: Mapping[str, str] | None = None, files: Mapping[str, bytes] | None = None) -> HttpBody:
    """A form in a request."""
    return HttpBody(content_type=FORM, data=form(texts, files))


def json_body(value: Any) -> HttpBody:
    """A JSON value in a request."""
    return HttpBody(content_type="application/json", data=json.dumps(value).encode())


@dataclass(frozen=True)
class Answer:
    """What came of a call."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        assert self.content_type == "application/json"
        return json.loads(self.body)

    @property
    def detail(self) -> Any:
        """What an error says."""
        assert self.status >= 400
        return self.json["detail"]

    def problems(self) -> list[tuple[str, list[Any]]]:
        """Kind and place of each thing that is wrong with a request."""
        assert self.status == 422
        for problem in self.detail:
            assert set(problem) == {"type", "loc", "msg", "input"}
        return [(problem["type"], problem["loc"]) for problem in self.detail]


async def answer_of(call: Any) -> Answer:
    """The answer of a running unary call."""
    headers = {key: str(value) for key, value in (await call.initial_metadata() or ())}
    body = await call
    return Answer(int(headers.get(STATUS_KEY, "200")), body.content_type, body.data, headers)
