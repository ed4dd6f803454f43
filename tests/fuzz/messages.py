"""Random protobuf messages: each field at the edges of its range, or left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import Message

_WHOLE = {
    Field.CPPTYPE_INT32: (0, 1, -1, 2, 25, 256, 511, 512, 16_000, 2**31 - 1, -(2**31)),
    Field.CPPTYPE_INT64: (0, 1, -1, 2, 25, 1000, 2**31, 2**63 - 1, -(2**63)),
    Field.CPPTYPE_UINT32: (0, 1, 2**32 - 1),
    Field.CPPTYPE_UINT64: (0, 1, 2**64 - 1),
    Field.CPPTYPE_BOOL: (False, True),
}
_REAL = (0.0, 0.3, 0.5, 1.0, 2.0, -1.0, 1e-30, 3e38, math.inf, -math.inf, math.nan)
_TEXTS = ("", "a", "one", "a b", " ", "\0", "\n\r\t", "ä" * 200, "\U0001f600" * 50, "x" * 300, "../../etc", "%s{0}")


class MessageMaker:
    """Makes messages of any type.

    Args: hints: values that get past the first check, by the field's name.
    """

    def __init__(self, rng: Random, hints: Mapping[str, Sequence[Any]]) -> None:
        self._rng = rng
        self._hints = hints

    def fill(self, message: Message, share: float = 0.5) -> Message:
        """Set about `share` of a message's fields. Returns: the message."""
        for field in message.DESCRIPTOR.fields:
            if self._rng.random() < share:
                self._set(message, field, share)
        return message

    def disturb(self, message: Message) -> Message:
        """Set one field of a message, or of a message in it. Returns: the message."""
        if not message.DESCRIPTOR.fields:
            return message
        field: Any = self._rng.choice(message.DESCRIPTOR.fields)
        inner = field.cpp_type == Field.CPPTYPE_MESSAGE and not field.is_repeated and message.HasField(field.name)
        if inner and self._rng.random() < 0.8:
            self.disturb(getattr(message, field.name))
        else:
            self._set(message, field, 0.5)
        return message

    def _set(self, message: Message, field: Any, share: float) -> None:
        if field.is_repeated:
            values = getattr(message, field.name)
            for _ in range(self._rng.choice((1, 2, 5, 200))):
                if field.cpp_type == Field.CPPTYPE_MESSAGE:
                    self.fill(values.add(), share / 2)
                else:
                    values.append(self._value(field))
        elif field.cpp_type == Field.CPPTYPE_MESSAGE:
            inner = getattr(message, field.name)
            inner.SetInParent()
            self.fill(inner, share)
        else:
            setattr(message, field.name, self._value(field))

    def _value(self, field: Any) -> Any:
        hints = self._hints.get(field.name)
        if hints and self._rng.random() < 0.7:
            return self._rng.choice(hints)
        if field.cpp_type in _WHOLE:
            return self._rng.choice(_WHOLE[field.cpp_type])
        if field.cpp_type in (Field.CPPTYPE_FLOAT, Field.CPPTYPE_DOUBLE):
            return self._rng.choice(_REAL)
        if field.cpp_type == Field.CPPTYPE_ENUM:
            return self._rng.choice((*field.enum_type.values_by_number, 99))
        if field.type == Field.TYPE_BYTES:
            return self._rng.randbytes(self._rng.choice((0, 1, 2, 640, 641, 3200, 40_000)))
        return self._rng.choice(_TEXTS)
