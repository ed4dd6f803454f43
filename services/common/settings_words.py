"""Says in words what a setting takes, for the reference and for those who wrote something else."""

from __future__ import annotations

import json
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, IPvAnyAddress, SecretStr
from pydantic.fields import FieldInfo

_BOUNDS = ("ge", "gt", "le", "lt")


def takes(field: FieldInfo) -> str:
    """What is right for this setting, such as "a whole number from 1 to 1000"."""
    return _kind(field.annotation) + _range(field)


def _kind(annotation: Any) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(f'"{value}"' for value in inner)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_kind(one) for one in inner if one is not type(None))
    if origin is Annotated:
        return _kind(inner[0])
    if origin is tuple:
        return {"an IP address": "a list of IP addresses"}.get(_kind(inner[0]), "a list of texts")
    kinds = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        SecretStr: "a text",
        Path: 'an absolute path, or one that begins with "~/"',
        IPvAnyAddress: "an IP address",
    }
    return kinds[annotation]


def shown(field: FieldInfo | None, value: Any) -> str:
    """A value as it stands in the file, if it may be shown at all."""
    if field is not None and field.annotation is SecretStr:
        return "not shown here"
    return json.dumps(value, default=str, ensure_ascii=False)


def _range(field: FieldInfo) -> str:
    found = {name: getattr(bound, name) for bound in field.metadata for name in _BOUNDS if hasattr(bound, name)}
    words = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in found.items()}
    low = f"from {words['ge']}" if "ge" in words else f"over {words['gt']}" if "gt" in words else ""
    up_to = "to" if "ge" in words else "and up to" if "gt" in words else "up to"
    high = f"{up_to} {words['le']}" if "le" in words else f"below {words['lt']}" if "lt" in words else ""
    return "".join(f" {part}" for part in (low, high) if part)


def leaves(kind: type[BaseModel], *above: str) -> list[tuple[tuple[str, ...], FieldInfo]]:
    """Every setting of a class and of the tables in it, each with its keys from the outside in."""
    found: list[tuple[tuple[str, ...], FieldInfo]] = []
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += leaves(field.annotation, *above, name)
        else:
            found.append(((*above, name), field))
    return found
