"""ONNX files made here: models that answer the same to every input, written by hand after onnx.proto."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_FLOAT = 1


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _field(number: int, value: int | bytes | str) -> bytes:
    """A field of a protobuf message: a number, or bytes of any kind."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(_field(1, _field(1, side)) for side in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, _FLOAT) + _field(2, dims)))


def constant_model(input_shape: tuple[int, ...], outputs: Mapping[str, NDArray[np.float32]]) -> bytes:
    """A model with one input, "image", whose outputs are always these."""
    graph = _field(2, "constants") + _field(11, _value("image", input_shape))
    for name, array in outputs.items():
        dims = b"".join(_field(1, side) for side in array.shape)
        tensor = dims + _field(2, _FLOAT) + _field(8, f"{name} itself") + _field(9, array.astype("<f4").tobytes())
        graph += _field(5, tensor) + _field(12, _value(name, array.shape))
        graph += _field(1, _field(1, f"{name} itself") + _field(2, name) + _field(4, "Identity"))
    return _field(1, 8) + _field(8, _field(1, "") + _field(2, 13)) + _field(7, graph)
