"""What the older stack's HTTP routes have in common: bodies in HttpBody, statuses in metadata, errors as {"detail"}.

gRPC has no 422 or 413. A handler's answer therefore carries its status in the initial metadata `x-avatar-http-status`,
which Envoy turns into the real one; native callers find it there.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import grpc
from google.api import httpbody_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from pydantic import BaseModel, PlainValidator, ValidationError

from services.common.errors import (
    AvatarError,
    EngineError,
    InvalidRequestError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    ProtocolError,
    UnsupportedError,
)
from services.common.log import get_logger
from services.common.multipart_form import TooLargeError, Upload, read_form
from services.common.status import only_member

STATUS_KEY = "x-avatar-http-status"
# Set by Envoy on every request, whatever a client sends: which public port it came in by.
LISTENER_KEY = "x-avatar-listener"
_STATUSES: dict[type[AvatarError], int] = {
    TooLargeError: 413,
    InvalidRequestError: 400,
    NotFoundError: 404,
    UnsupportedError: 501,
    OverloadedError: 429,
    ProtocolError: 400,
    NotReadyError: 503,
    EngineError: 500,
}
# Where an engine runs on the processor; one on a GPU says so itself.
DEVICE = {"device": "cpu", "gpu_available": False, "gpu_name": None}
# The longest text, 20,000 characters, takes 240,000 bytes at most. As objects in memory JSON is thirty times as large,
# and while it is read nothing else of the process moves.
MAX_JSON_BYTES = 1024 * 1024
# Of what a caller sent, this much is shown in the answer that refuses it.
_MAX_SHOWN_CHARACTERS = 200
Model = TypeVar("Model", bound=BaseModel)
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An answer. Args: headers: besides the content type, with names in lower case."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class HttpError(Exception):
    """An answer that is no success. Args: detail: a sentence, or what is wrong with each field."""

    def __init__(self, status: int, detail: str | list[dict[str, Any]]) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


def json_reply(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> HttpReply:
    """A JSON answer."""
    return HttpReply(json.dumps(value).encode(), status=status, headers=headers)


def health_reply(health: Message, **legacy: Any) -> HttpReply:
    """The health for clients of both stacks. Args: health: our own answer; legacy: the older stack's other fields."""
    ours = MessageToDict(health, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return json_reply(ours | {"model_loaded": True} | DEVICE | legacy)


def reply_of(error: AvatarError) -> HttpReply:
    """What an error of the domain is in HTTP."""
    status = next((_STATUSES[cls] for cls in type(error).__mro__ if cls in _STATUSES), 500)
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(error, OverloadedError):
        headers = (("retry-after", str(math.ceil(error.retry_after_s))),)
    return json_reply({"detail": str(error)}, status, headers)


async def answer(context: Any, method: str, work: Awaitable[HttpReply]) -> httpbody_pb2.HttpBody:
    """The answer of a call, whatever comes of its work. Args: method: for the log."""
    try:
        reply = await work
    except HttpError as error:
        reply = json_reply({"detail": error.detail}, error.status)
    except Exception as raised:
        cause = only_member(raised)
        if isinstance(cause, AvatarError):
            reply = reply_of(cause)
        else:
            log.exception("call_failed", method=method)
            reply = json_reply({"detail": "internal error; the server's log has the cause"}, 500)
    return await _sent(context, reply)


async def _sent(context: Any, reply: HttpReply) -> httpbody_pb2.HttpBody:
    """The body of an answer whose status and headers have gone ahead."""
    status = () if reply.status == 200 else ((STATUS_KEY, str(reply.status)),)
    await context.send_initial_metadata((*status, *reply.headers))
    return httpbody_pb2.HttpBody(content_type=reply.content_type, data=reply.body)


def is_legacy(method: str) -> bool:
    """Whether a gRPC method, by its full path, is one of those that answer in HTTP."""
    return ".Legacy" in method


def refusing(error: AvatarError) -> grpc.RpcMethodHandler[Any, Any]:
    """A handler for any legacy method that answers with an error."""
    reply = reply_of(error)

    async def refuse(_: Any, context: Any) -> None:
        await context.write((await _sent(context, reply)).SerializeToString())

    # Streaming on both sides refuses at once, whatever the caller meant to send.
    handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(refuse)
    return handler


class UnreadableRequestInterceptor(grpc.aio.ServerInterceptor):
    """Answers a legacy call whose request is no message, for one because its address is not UTF-8.

    It stands before `ErrorStatusInterceptor`, which hands on the error in the request's place.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None or not is_legacy(handler_call_details.method):
            return handler
        behavior: Any = handler.unary_unary

        async def guarded(request: Any, context: Any) -> Any:
            if not isinstance(request, DecodeError):
                return await behavior(request, context)
            return await _sent(context, json_reply({"detail": "the address holds what is not text in UTF-8"}, 400))

        guard: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
            guarded, handler.request_deserializer, handler.response_serializer
        )
        return guard


def listener_of(context: Any) -> str:
    """Envoy's name of the port that a call came in by; empty for a call that did not come through Envoy."""
    metadata = dict(context.invocation_metadata() or ())
    return str(metadata.get(LISTENER_KEY, ""))


# --- what callers send ------------------------------------------------------------------------------------------


def _file(value: Any) -> Upload:
    if not isinstance(value, Upload):
        raise ValueError("a file is expected here: a part of the form with a filename")
    return value


FormFile = Annotated[Upload, PlainValidator(_file)]


async def form_of(model: type[Model], body: httpbody_pb2.HttpBody) -> Model:
    """The fields of a form. An empty text counts as absent, and what the model does not know is ignored.

    Raises: InvalidRequestError and TooLargeError as `read_form`; HttpError 422 if a field is missing or wrong.
    """
    # A recording at its limit takes a quarter of a second.
    parts = await asyncio.to_thread(read_form, body.content_type, body.data)
    return _validated(model, {name: part for name, part in parts.items() if part != ""})


async def json_of(model: type[Model], body: httpbody_pb2.HttpBody) -> Model:
    """The members of a JSON object; what the model does not know is ignored.

    Raises: TooLargeError if it has more than MAX_JSON_BYTES; HttpError 422 if it is no JSON, not labelled as JSON, no
        object, or if a member is missing or wrong.
    """
    if len(body.data) > MAX_JSON_BYTES:
        raise TooLargeError(f"the JSON has {len(body.data)} bytes; send at most {MAX_JSON_BYTES // 2**20} MiB")
    if not body.data:
        raise HttpError(422, [_problem("missing", ["body"], "Field required", None)])
    media_type = body.content_type.split(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise HttpError(
            422, [_problem("json_type", ["body"], "Label the body with Content-Type: application/json", None)]
        )
    try:
        value = await asyncio.to_thread(_json, body.data)
    except (ValueError, RecursionError) as error:
        position = error.pos if isinstance(error, json.JSONDecodeError) else 0
        raise HttpError(422, [_problem("json_invalid", ["body", position], "JSON decode error", None)]) from error
    if not isinstance(value, dict):
        words = "Input should be a valid dictionary or object to extract fields from"
        raise HttpError(422, [_problem("model_attributes_type", ["body"], words, value)])
    return _validated(model, value)


def _json(data: bytes) -> Any:
    """Raises: ValueError or RecursionError if it is no JSON, or holds half of a character, which is no text."""
    value = json.loads(data)
    json.dumps(value, ensure_ascii=False).encode()
    return value


def _validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        raise HttpError(
            422,
            [_problem(found["type"], ["body", *found["loc"]], found["msg"], found["input"]) for found in problems],
        ) from error


def _problem(kind: str, loc: list[int | str], message: str, value: Any) -> dict[str, Any]:
    """One problem as FastAPI tells it. Only short plain values are shown: a form's "input" may be a whole file."""
    shown = value if isinstance(value, str | bool | int) and len(str(value)) <= _MAX_SHOWN_CHARACTERS else None
    return {"type": kind, "loc": loc, "msg": message, "input": shown}
