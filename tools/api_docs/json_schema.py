"""JSON Schema of protobuf messages as Envoy's transcoder reads and prints them."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from tools.api_docs.contract import Contract, is_input_only, is_output_only, is_required, real_oneof

Json = dict[str, Any]
_SCALARS: dict[int, Json] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    # JavaScript's numbers end at 53 bits, so JSON carries 64 as text.
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_WELL_KNOWN: dict[str, Json] = {
    "google.protobuf.Duration": {
        "type": "string",
        "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$",
        "examples": ["1.500s"],
        "description": "Seconds, with the unit: 1.500s.",
    },
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Empty": {"type": "object"},
}
STATUS = "Status"
# google.rpc.Status: what an error is, and a warning inside a stream.
STATUS_SCHEMA: Json = {
    "type": "object",
    "required": ["code", "message", "details"],
    "properties": {
        "code": {"type": "integer", "description": "The gRPC code, 3 (INVALID_ARGUMENT) for one."},
        "message": {"type": "string", "description": "One sentence: what was wrong and what would be right."},
        "details": {
            "type": "array",
            "description": "google.rpc.ErrorInfo with the reason; RetryInfo and QuotaFailure where a pause helps.",
            "items": {
                "type": "object",
                "required": ["@type"],
                "properties": {"@type": {"type": "string"}},
                "additionalProperties": True,
            },
        },
    },
}


class Schemas:
    """The schemas of the messages that were asked for, by component name.

    A message that callers send and servers answer with gets two: what is always there differs.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self.components: dict[str, Json] = {}

    def request(self, message: Descriptor, without: tuple[str, ...] = ()) -> Json:
        """A reference to what callers may send. Args: without: fields that travel elsewhere, in the path for one."""
        return self._refer(message, answers=False, without=without)

    def answer(self, message: Descriptor) -> Json:
        """A reference to what the server prints: every field without presence is there, whatever its value."""
        return self._refer(message, answers=True)

    def fields_of(self, message: Descriptor) -> Json:
        """The schema itself of what the server prints, for who adds to it."""
        return self._message(message, answers=True, without=())

    def field(self, field: FieldDescriptor, *, answers: bool) -> Json:
        """The schema of a field, with its comment."""
        if field.message_type is not None:
            one = self._refer(field.message_type, answers=answers)
        elif field.enum_type is not None:
            one = self._enum(field.enum_type)
        else:
            one = dict(_SCALARS[field.type])
        schema = {"type": "array", "items": one} if field.is_repeated else one
        comment = self._contract.comment(field)
        if answers and is_input_only(field):
            comment += " Always empty in answers."
        # Beside a reference, keywords are allowed since OpenAPI 3.1.
        return schema | ({"description": comment} if comment else {})

    def status(self) -> Json:
        """A reference to the schema of errors."""
        self.components[STATUS] = STATUS_SCHEMA
        return {"$ref": f"#/components/schemas/{STATUS}"}

    def used_by(self, document: Json) -> dict[str, Json]:
        """The components that a document needs, by name."""
        found: dict[str, Json] = {}
        waiting = _references(document)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = self.components[name]
                waiting |= _references(found[name])
        return dict(sorted(found.items()))

    def _enum(self, enum: EnumDescriptor) -> Json:
        name = enum.full_name.removeprefix("avatar.")
        told = [(value.name, self._contract.comment(enum, value.name)) for value in enum.values]
        lines = [f"- `{value}`: {comment}" for value, comment in told if comment]
        self.components[name] = {
            "type": "string",
            "enum": [value for value, _ in told],
            "description": "\n".join([self._contract.comment(enum), *([""] if lines else []), *lines]),
        }
        return {"$ref": f"#/components/schemas/{name}"}

    def _refer(self, message: Descriptor, *, answers: bool, without: tuple[str, ...] = ()) -> Json:
        if message.full_name == "google.rpc.Status":
            return self.status()
        if message.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[message.full_name])
        name = message.full_name.removeprefix("avatar.") + ("" if answers else "-Input")
        if name not in self.components:
            self.components[name] = {}  # A message that holds itself ends here.
            self.components[name] = self._message(message, answers=answers, without=without)
        return {"$ref": f"#/components/schemas/{name}"}

    def _message(self, message: Descriptor, *, answers: bool, without: tuple[str, ...]) -> Json:
        fields = [
            field for field in message.fields if field.name not in without and (answers or not is_output_only(field))
        ]
        required = [field.name for field in fields if (not field.has_presence if answers else is_required(field))]
        choices = [
            {"oneOf": [{"required": [field.name]} for field in oneof.fields]}
            for oneof in message.oneofs
            if real_oneof(oneof.fields[0])
        ]
        schema: Json = {"type": "object"}
        if comment := self._contract.comment(message):
            schema["description"] = comment
        if required:
            schema["required"] = required
        schema["properties"] = {field.name: self.field(field, answers=answers) for field in fields}
        return schema | (choices[0] if choices else {})


def _references(part: Any) -> set[str]:
    """Names of the components that a part of a document refers to."""
    if isinstance(part, dict):
        own = {part["$ref"].rpartition("/")[2]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*(_references(value) for value in part.values()))
    return set().union(*(_references(value) for value in part)) if isinstance(part, list) else set()
