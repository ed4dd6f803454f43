"""What Envoy answers by itself: in words, and in the form that a service's errors have (JSON, old JSON, or gRPC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import access
import bodies
import legacy
import rates
from topology import LEGACY, Edge

Json = dict[str, Any]


def headers(values: dict[str, str]) -> list[Json]:
    """Headers to set on an answer."""
    return [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in values.items()
    ]


@dataclass(frozen=True, slots=True)
class _Answer:
    """One status, or some answers of one.

    Args:
        code: of gRPC.
        words: empty keeps Envoy's own.
        only: a filter for some answers of the status; those stand before the others.
        more: headers that the status asks for.
        in_grpc: native gRPC gets these words and this code too; Envoy's own fit it otherwise.
    """

    status: int
    code: int
    words: str
    only: tuple[Json, ...] = ()
    more: tuple[tuple[str, str], ...] = ()
    in_grpc: bool = False


def _header(name: str, **match: Any) -> Json:
    return {"header_filter": {"header": {"name": name} | match}}


def _because(detail: str) -> Json:
    """Answers for one reason, by Envoy's name of it."""
    return {
        "extension_filter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                "expression": f"response.code_details == '{detail}'",
            },
        }
    }


def _answers(edge: Edge) -> tuple[_Answer, ...]:
    has_escaped, is_of_gate = _because("path_normalization_failed"), _because("reached_concurrency_limit")
    return (
        _Answer(400, 3, "the path holds an escaped slash, backslash or zero (%%2F, %%5C, %%00)", (has_escaped,)),
        _Answer(400, 3, "", in_grpc=True),
        _Answer(401, 16, "", more=tuple(access.HEADERS.items())),
        _Answer(
            403,
            7,
            "pages of this origin may not call here; the operator can allow it by [network] origins in avatar.toml",
        ),
        _Answer(404, 5, "there is no such method, path or host here"),
        _Answer(408, 4, f"the request took too long to arrive; send it whole within {edge.request_s} s", in_grpc=True),
        _Answer(413, 3, bodies.TOO_LARGE),
        _Answer(429, 8, bodies.WORDS, (is_of_gate,), (("retry-after", str(bodies.RETRY_AFTER_S)),), in_grpc=True),
        _Answer(429, 8, rates.WORDS, in_grpc=True),
        _Answer(431, 3, "the headers are too large; at most 60 KiB are read"),
        _Answer(500, 13, "the answer is too large, or the connection to the service broke"),
        _Answer(502, 14, "the service gave no proper answer; try again"),
        _Answer(503, 14, "the service is not running or not ready; try again in a few seconds"),
        _Answer(504, 4, "the service took too long to answer"),
    )


def _is_status(status: int) -> Json:
    value = {"default_value": status, "runtime_key": f"own_answer.{status}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _mapper(answer: _Answer, *only: Json) -> Json:
    filters = [_is_status(answer.status), *answer.only, *only]
    return {
        "filter": {"and_filter": {"filters": filters}} if len(filters) > 1 else filters[0],
        "headers_to_add": headers(dict(answer.more)),
    }


def _in_json(answer: _Answer, body: Json, *only: Json) -> Json:
    # The transcoder has set its content type to gRPC by then, so a JSON call is known by its original method.
    is_json = {
        "or_filter": {
            "filters": [
                _header("x-envoy-original-method", present_match=True),
                _header(
                    "content-type",
                    string_match={"prefix": "application/grpc"},
                    invert_match=True,
                    treat_missing_header_as_empty=True,
                ),
            ]
        }
    }
    mapper = _mapper(answer, is_json, *only) | {"body_format_override": {"json_format": body}}
    mapper["headers_to_add"] += headers({"content-type": "application/json"})
    return mapper


def _in_grpc(answer: _Answer) -> Json:
    words = {"text_format_source": {"inline_string": answer.words or "%LOCAL_REPLY_BODY%"}}
    mapper = _mapper(answer) | {"body_format_override": words}
    mapper["headers_to_add"] += headers({"grpc-status": str(answer.code)})
    return mapper


def _asked_for_its_token() -> Json:
    """For a person who opens the page's address."""
    return {
        "filter": {
            "and_filter": {"filters": [_is_status(401), _header("accept", string_match={"contains": "text/html"})]}
        },
        "body_format_override": {
            # In a format a percent sign stands for itself as two.
            "text_format_source": {"inline_string": access.PAGE.replace("%", "%%")},
            "content_type": "text/html; charset=utf-8",
        },
        "headers_to_add": headers(access.HEADERS | access.PAGE_HEADERS),
    }


def own_answers(edge: Edge, listener: str) -> Json:
    """Local replies of a listener; the first mapper that fits an answer writes it."""
    answers = _answers(edge)
    mappers = [_asked_for_its_token()] if listener == "page" else []
    if listener in LEGACY:
        older = (_Answer(405, 12, ""), *answers)
        for answer in older:
            words = legacy.SENTENCES.get(answer.status) or answer.words or "%LOCAL_REPLY_BODY%"
            mappers.append(_in_json(answer, {"detail": words}, *legacy.is_legacy()))
    for answer in answers:
        body = {"code": answer.code, "message": answer.words or "%LOCAL_REPLY_BODY%", "details": []}
        mappers.append(_in_json(answer, body))
    mappers += [_in_grpc(answer) for answer in answers if answer.in_grpc]
    return {"mappers": mappers}
