"""The API reference: a page of Markdown for each area of the contract."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    MethodDescriptor,
    OneofDescriptor,
    ServiceDescriptor,
)

from tools.api_docs import legacy
from tools.api_docs.contract import (
    Contract,
    binding_of,
    enums_of,
    is_input_only,
    is_output_only,
    is_required,
    messages_of,
    real_oneof,
)
from tools.api_docs.examples import LEGACY, commands, example_of
from tools.api_docs.json_schema import Json

_SCALARS = {
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
}
# Types of Google's, and where our pages say how they look.
_FOREIGN = {
    "google.protobuf.Duration": "[Duration](README.md#values)",
    "google.protobuf.Timestamp": "[Timestamp](README.md#values)",
    "google.protobuf.Empty": "nothing",
    "google.api.HttpBody": "a file ([HttpBody](README.md#values))",
    "google.rpc.Status": "[Status](README.md#errors)",
}
_CLIENTS = {"curl": "JSON", "grpcurl": "gRPC, by grpcurl", "buf": "gRPC, by buf"}


@dataclass(frozen=True, slots=True)
class Page:
    """A page. Args: area: of the package avatar.<area>.v1, and the file's name; intro: what a reader is told first."""

    area: str
    title: str
    intro: str

    @property
    def package(self) -> str:
        return f"avatar.{self.area}.v1"


PAGES = (
    Page("render", "Faces", "Makes a face from one portrait and draws it speaking. Port 8081."),
    Page("tts", "Voices", "Turns text into speech, with the times of words, phonemes and mouth shapes. Port 8082."),
    Page(
        "stt",
        "Ears",
        "Turns speech into text and finds the turns of a conversation. Port 8083; port 8084 is a second recogniser "
        "where one runs, and the same one where none does.",
    ),
    Page(
        "conversation",
        "Conversations",
        "Follows the conversations that run in browsers and takes part in them. Port 8086, and 8085 for pages.",
    ),
    Page("media", "Shared types", "What the other pages have in common; no service of its own."),
)


def page_text(contract: Contract, page: Page) -> str:
    """The whole page."""
    return "\n".join(_Writer(contract, page).lines()).rstrip() + "\n"


def _kind(method: MethodDescriptor) -> str:
    if method.client_streaming:
        return "bidirectional stream"
    return "server stream" if method.server_streaming else "one call"


def _schema_type(schema: Json) -> str:
    kind = schema["type"]
    return kind if isinstance(kind, str) else " or ".join(kind)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def anchor(name: str) -> str:
    """The anchor that a heading gets where Markdown is shown."""
    return name.lower().replace(".", "")


def _local(thing: Descriptor | EnumDescriptor) -> str:
    """A name without its package: "StreamingRenderRequest.Visemes"."""
    return str(thing.full_name).removeprefix(f"{thing.file.package}.")


class _Writer:
    """One page, from top to bottom."""

    def __init__(self, contract: Contract, page: Page) -> None:
        self._contract = contract
        self._page = page
        self._files = contract.files[page.package]
        methods = [m for file in self._files for s in file.services_by_name.values() for m in s.methods]
        used = [one.full_name for m in methods for one in (m.input_type, m.output_type)]
        mine = {message.full_name for file in self._files for message in messages_of(file)}
        # What belongs to one method is told there, the rest by its own heading.
        self._parts = {
            field.message_type.full_name
            for file in self._files
            for message in messages_of(file)
            for field in message.fields
            if field.message_type is not None
        }
        self._inline = {name for name in used if used.count(name) == 1 and name in mine and name not in self._parts}

    def lines(self) -> Iterator[str]:
        yield f"# {self._page.title}"
        yield ""
        yield f"<!-- Made from proto/{self._page.package.replace('.', '/')} by tools/gen_api_docs.py. -->"
        yield ""
        yield self._page.intro
        yield ""
        services = [one for file in self._files for one in file.services_by_name.values()]
        if services:
            yield "How values look in JSON, what errors mean and what the examples need: [overview](README.md)."
            yield ""
            yield from self._overview(services)
        for service in services:
            yield from self._service(service)
        yield from self._types()

    def _overview(self, services: Sequence[ServiceDescriptor]) -> Iterator[str]:
        yield "| method | HTTP | kind |"
        yield "|---|---|---|"
        for service in services:
            for method in service.methods:
                name = f"[{service.name}.{method.name}](#{anchor(method.name)})"
                yield f"| {name} | {self._http(method)} | {_kind(method)} |"
        yield ""

    def _http(self, method: MethodDescriptor) -> str:
        binding = binding_of(method)
        if binding is None:
            return "none"
        text = f"`{binding.verb.upper()} {self._contract.path(method, binding)}`"
        methods = (one for file in self._files for service in file.services_by_name.values() for one in service.methods)
        # Of two methods that bind a path, the older stack's answers there, with the other's fields in it.
        other = next((one for one in methods if one is not method and binding_of(one) == binding), None)
        if other is None or legacy.route_of(method):
            return text
        return f"{text}, where [{other.name}](#{anchor(other.name)}) adds the older stack's fields"

    def _service(self, service: ServiceDescriptor) -> Iterator[str]:
        yield f"## {service.name}"
        yield ""
        yield self._contract.comment(service)
        yield ""
        for method in service.methods:
            yield from self._method(method)

    def _method(self, method: MethodDescriptor) -> Iterator[str]:
        yield f"### {method.name}"
        yield ""
        yield self._contract.comment(method)
        yield ""
        yield f"- gRPC: `{method.containing_service.full_name}/{method.name}`, {_kind(method)}"
        yield f"- HTTP: {self._http(method)}"
        yield ""
        if route := legacy.route_of(method):
            yield from self._route(method, route)
            return
        yield from self._side("Request", method.input_type, streams=method.client_streaming)
        yield from self._side("Answer", method.output_type, streams=method.server_streaming)
        yield from self._example(method)

    def _route(self, method: MethodDescriptor, route: legacy.Route) -> Iterator[str]:
        """A route of the older stack, whose body is told by its fields."""
        if route.body:
            yield f"**Request**: `{route.body}`"
            yield ""
            yield "| field | type | meaning |"
            yield "|---|---|---|"
            for name, one in route.fields.items():
                kind = "file" if one.is_file else _schema_type(one.schema)
                marks = f"{kind}, **required**" if one.is_required else kind
                default = "" if one.default is None else f" Default: `{json.dumps(one.default)}`."
                yield f"| `{name}` | {marks} | {_cell(one.meaning)}{default} |"
            yield ""
        kind, schema = route.answer
        if route.never_succeeds:
            yield "**Answer**: always a refusal"
        elif schema.get("properties"):
            members = ", ".join(f"`{name}`" for name in schema["properties"])
            also = "those of GetHealth and " if route.is_health else ""
            yield f"**Answer**: `{kind}` with {also}{members}"
        else:
            yield f"**Answer**: `{kind}`"
        yield ""
        if route.refusals:
            yield "| status | when |"
            yield "|---|---|"
            for status, meaning in sorted(route.refusals.items()):
                yield f"| {status} | {_cell(meaning)} |"
            yield ""
        yield "```sh"
        yield LEGACY[f"{method.containing_service.name}.{method.name}"]
        yield "```"
        yield ""

    def _side(self, title: str, message: Descriptor, *, streams: bool) -> Iterator[str]:
        many = ", one or more messages" if streams else ""
        if message.full_name not in self._inline:
            yield f"**{title}**{many}: {self._link(message)}"
            yield ""
            return
        if not message.fields:
            yield f"**{title}**: `{message.name}`, which is empty"
            yield ""
            return
        yield f"**{title}**{many}: `{message.name}`"
        yield ""
        yield from self._fields(message)

    def _example(self, method: MethodDescriptor) -> Iterator[str]:
        example = example_of(method)
        if example is None:
            return
        yield "**Example**"
        yield ""
        made = commands(method, example)
        if example.not_run:
            yield f"<!-- not run: {example.not_run} -->"
        yield "```sh"
        if example.before:
            yield example.before
        for client, command in made.items():
            yield f"# {_CLIENTS[client]}"
            yield command
        yield "```"
        yield ""

    def _types(self) -> Iterator[str]:
        messages = [
            message
            for file in self._files
            for message in messages_of(file)
            if message.full_name in self._parts or (message.fields and message.full_name not in self._inline)
        ]
        enums = [enum for file in self._files for enum in enums_of(file)]
        if messages:
            yield "## Messages"
            yield ""
        for message in messages:
            yield f"### {_local(message)}"
            yield ""
            yield self._contract.comment(message)
            yield ""
            yield from self._fields(message)
        if enums:
            yield "## Enums"
            yield ""
        for enum in enums:
            yield f"### {_local(enum)}"
            yield ""
            yield self._contract.comment(enum)
            yield ""
            yield "| value | number | meaning |"
            yield "|---|---|---|"
            for value in enum.values:
                said = self._contract.comment(enum, value.name)
                yield f"| `{value.name}` | {value.number} | {_cell(said)} |"
            yield ""

    def _fields(self, message: Descriptor) -> Iterator[str]:
        if not message.fields:
            yield "It has no fields."
            yield ""
        single = [field for field in message.fields if real_oneof(field) is None]
        if single:
            yield from self._table(single)
        for oneof in message.oneofs:
            if real_oneof(oneof.fields[0]):
                yield from self._choice(oneof)

    def _choice(self, oneof: OneofDescriptor) -> Iterator[str]:
        comment = self._contract.comment(oneof).removeprefix("Exactly one is set.")
        yield f"`{oneof.name}` is one of these. {comment}".rstrip()
        yield ""
        yield from self._table(oneof.fields)

    def _table(self, fields: Sequence[FieldDescriptor]) -> Iterator[str]:
        yield "| field | type | meaning |"
        yield "|---|---|---|"
        for field in fields:
            yield f"| `{field.name}` | {self._type(field)} | {_cell(self._contract.comment(field))} |"
        yield ""

    def _type(self, field: FieldDescriptor) -> str:
        if field.message_type is not None:
            name = self._link(field.message_type)
        elif field.enum_type is not None:
            name = self._link(field.enum_type)
        else:
            name = _SCALARS[field.type]
        marks = [f"list of {name}" if field.is_repeated else name]
        if is_required(field):
            marks.append("**required**")
        if is_output_only(field):
            marks.append("answers only")
        if is_input_only(field):
            marks.append("requests only")
        return ", ".join(marks)

    def _link(self, thing: Descriptor | EnumDescriptor) -> str:
        if thing.full_name in _FOREIGN:
            return _FOREIGN[thing.full_name]
        name = _local(thing)
        if thing.full_name in self._inline:
            return f"`{name}`"
        area = thing.file.package.split(".")[1]
        page = "" if area == self._page.area else f"{area}.md"
        return f"[{name}]({page}#{anchor(name)})"
