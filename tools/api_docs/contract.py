"""The contract as protoc knows it: descriptors, the comments of their source, and their HTTP bindings."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import google.api
from google.api import annotations_pb2, field_behavior_pb2, resource_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
    OneofDescriptor,
    ServiceDescriptor,
)

ROOT = Path(__file__).resolve().parent.parent.parent
PROTO = ROOT / "proto"
GOOGLE_PROTOS = Path(next(iter(google.api.__path__))).parent.parent
HTTP_BODY = "google.api.HttpBody"
_VERBS = ("get", "put", "post", "delete", "patch")


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a method is bound in HTTP.

    Args:
        verb: in lower case.
        template: as in the contract, "/v1/{name=conversations/*}:say".
        body: "*" for the whole request, a field's name, or "" for none.
    """

    verb: str
    template: str
    body: str

    @property
    def path_fields(self) -> tuple[str, ...]:
        """Fields of the request that the path holds."""
        return tuple(re.findall(r"\{(\w+)", self.template))


def binding_of(method: MethodDescriptor) -> Binding | None:
    """The HTTP binding of a method; bidirectional ones have none."""
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    for verb in _VERBS:
        if template := getattr(rule, verb):
            return Binding(verb, template, rule.body)
    return None


def _behaviors(field: FieldDescriptor) -> Sequence[int]:
    behaviors: Sequence[int] = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return behaviors


def is_required(field: FieldDescriptor) -> bool:
    """Whether a caller must set it."""
    return field_behavior_pb2.REQUIRED in _behaviors(field)


def is_output_only(field: FieldDescriptor) -> bool:
    """Whether only the server sets it."""
    return field_behavior_pb2.OUTPUT_ONLY in _behaviors(field)


def is_input_only(field: FieldDescriptor) -> bool:
    """Whether answers leave it empty."""
    return field_behavior_pb2.INPUT_ONLY in _behaviors(field)


def real_oneof(field: FieldDescriptor) -> OneofDescriptor | None:
    """The choice that a field is part of; what `optional` makes is none."""
    oneof = field.containing_oneof
    return None if oneof is None or oneof.name.startswith("_") else oneof


class Contract:
    """Everything below proto/avatar.

    Attributes:
        files: by package, as "avatar.tts.v1": its own file and, where there is one, legacy.proto.
    """

    def __init__(self, files: Sequence[FileDescriptor], comments: Mapping[str, str]) -> None:
        self.files: dict[str, list[FileDescriptor]] = {}
        # A package's own file comes first.
        for file in sorted(files, key=lambda file: (file.package, file.name.endswith("legacy.proto"), file.name)):
            self.files.setdefault(file.package, []).append(file)
        self._comments = comments
        self._patterns = dict(self._resources())

    def _resources(self) -> Iterator[tuple[str, str]]:
        for files in self.files.values():
            for message in (one for file in files for one in file.message_types_by_name.values()):
                resource = message.GetOptions().Extensions[resource_pb2.resource]
                if resource.type:
                    yield resource.type, resource.pattern[0]

    def services(self) -> Iterator[ServiceDescriptor]:
        """Every service, in the order of packages and of the source."""
        for files in self.files.values():
            for file in files:
                yield from file.services_by_name.values()

    def comment(self, thing: Any, value: str = "") -> str:
        """What the source says above a descriptor. Args: value: the name of an enum's value, which has no full name."""
        return self._comments.get(f"{thing.full_name}.{value}" if value else thing.full_name, "")

    def pattern(self, field: FieldDescriptor) -> str:
        """The form of the resource name that a field of a path holds, "avatars/{avatar}"."""
        return self._patterns[field.GetOptions().Extensions[resource_pb2.resource_reference].type]

    def path(self, method: MethodDescriptor, binding: Binding) -> str:
        """The path with one variable per segment: "/v1/conversations/{conversation}:say"."""
        fields = method.input_type.fields_by_name
        return re.sub(r"\{(\w+)=[^}]*\}", lambda found: self.pattern(fields[found[1]]), binding.template)


def _comments_of(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    found = {tuple(one.path): one.leading_comments for one in file.source_code_info.location if one.leading_comments}

    def text(path: tuple[int, ...]) -> str:
        return " ".join(found.get(path, "").split())

    def enums(parent: str, path: tuple[int, ...], several: Sequence[descriptor_pb2.EnumDescriptorProto]) -> Any:
        for number, enum in enumerate(several):
            yield f"{parent}.{enum.name}", text((*path, number))
            for index, value in enumerate(enum.value):
                yield f"{parent}.{enum.name}.{value.name}", text((*path, number, 2, index))

    def messages(parent: str, path: tuple[int, ...], several: Sequence[descriptor_pb2.DescriptorProto]) -> Any:
        for number, message in enumerate(several):
            name, here = f"{parent}.{message.name}", (*path, number)
            yield name, text(here)
            for index, field in enumerate(message.field):
                yield f"{name}.{field.name}", text((*here, 2, index))
            for index, oneof in enumerate(message.oneof_decl):
                yield f"{name}.{oneof.name}", text((*here, 8, index))
            yield from messages(name, (*here, 3), message.nested_type)
            yield from enums(name, (*here, 4), message.enum_type)

    # The numbers are those of the fields of descriptor.proto, as source_code_info names places.
    yield from messages(file.package, (4,), file.message_type)
    yield from enums(file.package, (5,), file.enum_type)
    for number, service in enumerate(file.service):
        yield f"{file.package}.{service.name}", text((6, number))
        for index, method in enumerate(service.method):
            yield f"{file.package}.{service.name}.{method.name}", text((6, number, 2, index))


@cache
def load() -> Contract:
    """Read the contract. The generated modules must be up to date, which `tools/gen_proto.py --check` tells."""
    sources = sorted(str(path.relative_to(PROTO)) for path in (PROTO / "avatar").rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "sources.pb"
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"-I{GOOGLE_PROTOS}"]
        command += ["--include_source_info", f"--descriptor_set_out={out}", *sources]
        subprocess.run(command, check=True)
        parsed = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    modules = [source.removesuffix(".proto").replace("/", ".") + "_pb2" for source in sources]
    files = [importlib.import_module(module).DESCRIPTOR for module in modules]
    return Contract(files, dict(pair for file in parsed.file for pair in _comments_of(file)))


def messages_of(file: FileDescriptor) -> list[Descriptor]:
    """Every message of a file, each followed by those inside it."""

    def nested(message: Descriptor) -> Iterator[Descriptor]:
        yield message
        for inner in message.nested_types:
            yield from nested(inner)

    return [one for message in file.message_types_by_name.values() for one in nested(message)]


def enums_of(file: FileDescriptor) -> list[EnumDescriptor]:
    """Every enum of a file, those inside messages too."""
    inner = [enum for message in messages_of(file) for enum in message.enum_types]
    return [*file.enum_types_by_name.values(), *inner]
