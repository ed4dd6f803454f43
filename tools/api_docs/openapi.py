"""An OpenAPI 3.1 document for each public port, which Envoy serves there as /openapi.json."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from tools.api_docs import legacy
from tools.api_docs.contract import HTTP_BODY, Binding, Contract, binding_of, is_output_only, is_required
from tools.api_docs.json_schema import Json, Schemas

VERSION = "v1"
# What a method answers with that is no message.
FILES = {"avatar.render.v1.RenderService.RenderStill": "image/jpeg"}
_RENDER = ("avatar.render.v1.RenderService", "avatar.render.v1.AvatarService")
_OLD = {
    area: f"avatar.{area}.v1.Legacy{name}"
    for area, name in (("render", "RenderService"), ("tts", "TextToSpeechService"), ("stt", "SpeechToTextService"))
}
_TTS = ("avatar.tts.v1.TextToSpeechService",)
_STT = ("avatar.stt.v1.SpeechToTextService",)
_CONVERSATIONS = ("avatar.conversation.v1.ConversationService",)
_ERRORS = (
    "Any error: `{code, message, details}` with the gRPC code and a sentence that says what would be right. "
    "400 the request can never succeed, 404 there is no such thing, 429 no free place (RetryInfo says when), "
    "501 this engine cannot do it, 503 not ready, 401 the token is missing or wrong."
)


@dataclass(frozen=True, slots=True)
class Port:
    """A public port.

    Args:
        listener: Envoy's name of it, and the document's.
        services: full names; of several that bind a path, the last is served.
    """

    listener: str
    title: str
    description: str
    services: tuple[str, ...]


PORTS = (
    Port("render", "Avatar: faces", "Makes faces from portraits and draws them.", (*_RENDER, _OLD["render"])),
    Port(
        "tts",
        "Avatar: voices",
        "Turns text into speech with the times of words, phonemes and mouth shapes.",
        (*_TTS, _OLD["tts"]),
    ),
    Port("stt", "Avatar: ears", "Turns speech into text.", (*_STT, _OLD["stt"])),
    Port("stt_second", "Avatar: ears, second recogniser", "Turns speech into text.", (*_STT, _OLD["stt"])),
    Port(
        "page",
        "Avatar: the page and everything behind it",
        "All that the page needs on one origin. Signalling is a WebSocket at /session.",
        (*_RENDER, *_TTS, *_STT, *_CONVERSATIONS),
    ),
    Port(
        "legacy",
        "Avatar: conversations",
        "Conversations for programs. Any path with an Upgrade header is the older stack's signalling, a WebSocket.",
        _CONVERSATIONS,
    ),
)


def document(contract: Contract, port: Port) -> Json:
    """The whole document of a port."""
    schemas = Schemas(contract)
    services = {service.full_name: service for service in contract.services()}
    served = [services[name] for name in port.services]
    paths: dict[str, Json] = {}
    for method in (method for service in served for method in service.methods):
        if binding := binding_of(method):
            operation = _operation(contract, schemas, method, binding, port.listener)
            paths.setdefault(contract.path(method, binding), {})[binding.verb] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": port.title,
            "version": VERSION,
            "description": f"{port.description} The same calls are served as gRPC and gRPC-Web on this port.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The port that this document came from."}],
        # A token is asked for only where the operator opened the ports to the network.
        "security": [{}, {"token": []}],
        "tags": [{"name": one.name, "description": contract.comment(one)} for one in served],
        "paths": paths,
        "components": {
            "schemas": schemas.used_by(paths),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(contract: Contract, schemas: Schemas, method: MethodDescriptor, binding: Binding, listener: str) -> Json:
    comment = contract.comment(method)
    service = method.containing_service
    operation: Json = {
        "operationId": f"{service.name}_{method.name}",
        "tags": [service.name],
        "summary": re.split(r"[.:;](?:\s|$)", comment, maxsplit=1)[0],
        "description": f"{comment}\n\nAs gRPC: `{service.full_name}/{method.name}`.",
    }
    route = legacy.route_of(method, listener)
    # Only clients of the older Canary write options into the address.
    reads_address = route is None or listener == "stt_second"
    query = _query_parameters(schemas, method, binding) if reads_address else ()
    if parameters := [*_path_parameters(contract, method, binding), *query]:
        operation["parameters"] = parameters
    if route is not None:
        if route.body:
            content = {route.body: {"schema": legacy.body_schema(route)}}
            operation["requestBody"] = {"required": True, "content": content}
        return operation | {"responses": legacy.responses(contract, schemas, method, route)}
    if binding.body:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _body(schemas, method.input_type, binding)}},
        }
    errors = {"description": _ERRORS, "content": {"application/json": {"schema": schemas.status()}}}
    return operation | {"responses": {"200": _answer(schemas, method), "default": errors}}


def _body(schemas: Schemas, message: Descriptor, binding: Binding) -> Json:
    if binding.body == "*":
        return schemas.request(message, without=binding.path_fields)
    return schemas.field(message.fields_by_name[binding.body], answers=False)


def _answer(schemas: Schemas, method: MethodDescriptor) -> Json:
    if method.output_type.full_name == HTTP_BODY:
        kind = FILES[method.full_name]
        return {"description": "The file.", "content": {kind: {"schema": {"type": "string", "format": "binary"}}}}
    content = {"application/json": {"schema": schemas.answer(method.output_type)}}
    if method.server_streaming:
        said = "Newline-delimited JSON: a line as soon as there is something, each of this schema."
        return {"description": said, "content": content, "x-newline-delimited": True}
    return {"description": "Done.", "content": content}


def _path_parameters(contract: Contract, method: MethodDescriptor, binding: Binding) -> Iterator[Json]:
    for name in binding.path_fields:
        field = method.input_type.fields_by_name[name]
        pattern = contract.pattern(field)
        for variable in re.findall(r"\{(\w+)\}", pattern):
            yield {
                "name": variable,
                "in": "path",
                "required": True,
                "description": f"The last part of the name, {pattern}.",
                "schema": {"type": "string", "pattern": "^[^/:]+$"},
            }


def _query_parameters(schemas: Schemas, method: MethodDescriptor, binding: Binding) -> Iterator[Json]:
    """What neither the path nor the body holds; a message's fields are told by dotted names."""
    if binding.body == "*":
        return
    taken = {*binding.path_fields, binding.body}

    def below(fields: Sequence[FieldDescriptor], prefix: str) -> Iterator[Json]:
        for field in fields:
            if prefix + field.name in taken or is_output_only(field):
                continue
            if field.message_type is not None:
                yield from below(field.message_type.fields, f"{prefix}{field.name}.")
                continue
            schema = schemas.field(field, answers=False)
            description = schema.pop("description", "")
            yield {
                "name": prefix + field.name,
                "in": "query",
                "required": is_required(field),
                "description": description,
                "schema": schema,
            }

    yield from below(method.input_type.fields, "")
