"""The first page of the API reference: how values, streams and errors look on every port."""

from __future__ import annotations

import inspect

import grpc

from services.common import errors
from services.common.status import status_of
from tools.api_docs.reference import PAGES

# gRPC code -> HTTP status, as Envoy's transcoder maps them.
HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_TEXT = """\
# API reference

<!-- Made from proto/avatar by tools/gen_api_docs.py. -->

| page | what it is about |
|---|---|
{pages}

The contract itself is in [`proto/avatar`](../../proto/avatar). Each public port tells its own HTTP part as OpenAPI 3.1
at `/openapi.json`, and its gRPC part by reflection.

## Calling

Every port speaks JSON over HTTP, gRPC and gRPC-Web; 8085 does so over HTTPS and holds all services on one origin. Calls
that stream in both directions exist as gRPC only, and each has a twin that does not. The examples run as they stand,
from top to bottom of a page, in this project's folder while `make run` runs; they need `curl`, `jq`, and
[`grpcurl`](https://github.com/fullstorydev/grpcurl) or [`buf`](https://buf.build).

Where the operator opened the ports to the network, each call carries a token: `-H "Authorization: Bearer TOKEN"`.

## Values

| in the contract | in JSON |
|---|---|
| names | as in the contract, `sample_rate_hertz`; requests may say `sampleRateHertz` too |
| `int64` | text: `"12"` |
| `bytes` | base64 |
| Duration | seconds as text: `"1.500s"` |
| Timestamp | `"2026-01-31T12:00:00Z"` |
| enums | their names: `"EXPRESSION_KIND_HAPPY"` |
| a field without a value | numbers, texts, lists and enums are always there in answers; messages only when set |
| a member that nobody knows | ignored in bodies, refused (400) in the address |
| a stream of answers | a line of JSON for each, as soon as there is one |
| HttpBody | the file itself, with its content type |

## Errors

A call that fails answers with `{{"code", "message", "details"}}`: the gRPC code, one sentence that says what was wrong
and what would be right, and details of `google.rpc`. `ErrorInfo` names the reason; where a pause helps, `RetryInfo`
says how long and `QuotaFailure` what ran out.

| reason | gRPC | HTTP | when |
|---|---|---|---|
{errors}

Envoy's own: UNAUTHENTICATED (401) without the token, PERMISSION_DENIED (403) for a page of another origin,
INVALID_ARGUMENT (413) for a body that is too large, UNAVAILABLE (503) while a service is not there. A stream over
HTTP/1.1 cannot show an error after its first line; one whose last line is not its end (`utterance_end`, `ended`) is not
whole.

The routes of the older stack keep their own shape, `{{"detail": ...}}`.
"""


def text() -> str:
    """The whole page."""
    pages = "\n".join(f"| [{page.title}]({page.area}.md) | {page.intro} |" for page in PAGES)
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.AvatarError) and kind is not errors.AvatarError
    ]
    rows = []
    for kind in kinds:
        code = next(code for code in grpc.StatusCode if code.value[0] == status_of(kind("")).code)
        said = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        rows.append(
            (HTTP_STATUS[code], kind.reason, f"| `{kind.reason}` | {code.name} | {HTTP_STATUS[code]} | {said} |")
        )
    return _TEXT.format(pages=pages, errors="\n".join(row for *_, row in sorted(rows)))
