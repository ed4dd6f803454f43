"""Reads a pickle of numpy arrays in dicts and lists without executing it.

A pickle is a program: loading one calls whatever it names. Here its instructions are read one by one by a small machine
that knows containers, strings and numbers, and of numpy's own five names only what they mean; nothing is imported and
nothing is called. What it holds grows with the file and not with what the file says of itself: an array's bytes must be
in the file.

Source: the opcodes of PEP 3154 and PEP 574, as far as Python 3 writes them for such data.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError

# A motion template has about 150 for each frame.
MAX_INSTRUCTIONS = 2_000_000
_MAX_DIMENSIONS = 8
_TYPES = frozenset({"f4", "f8", "i4", "i8", "u1", "b1"})
# Of the states that numpy writes.
_ARRAY_VERSION, _TYPE_VERSION = 1, 3
_BYTE_ORDERS = frozenset({"<", ">", "=", "|"})


class _RefusedError(Exception):
    """Why a pickle is not read; its place is added to it."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A name that a pickle may say."""

    name: str


_NDARRAY, _DTYPE = _Name("ndarray"), _Name("dtype")
_RECONSTRUCT, _FROMBUFFER, _SCALAR = _Name("_reconstruct"), _Name("_frombuffer"), _Name("scalar")
_NAMES = {("numpy", "ndarray"): _NDARRAY, ("numpy", "dtype"): _DTYPE}
# numpy 2 calls its inner package otherwise.
for _core in ("numpy.core", "numpy._core"):
    _NAMES[f"{_core}.multiarray", "_reconstruct"] = _RECONSTRUCT
    _NAMES[f"{_core}.multiarray", "scalar"] = _SCALAR
    _NAMES[f"{_core}.numeric", "_frombuffer"] = _FROMBUFFER


@dataclass(slots=True)
class _Unfinished:
    """An array, or a type of its items, whose content is still to come.

    Attributes:
        code: of a type, such as "f4"; empty for an array.
        keys: under which it is remembered meanwhile.
    """

    code: str
    keys: list[int] = field(default_factory=list)


_MARK = object()


def read_pickle(data: bytes) -> Any:
    """The content of a pickle: dicts with strings as keys, lists, tuples, strings, numbers, None and arrays.

    Args: data: of protocol 3 to 5; arrays of float32, float64, int32, int64, uint8 and bool.
    Raises: InvalidRequestError if it is anything else, says anything else, or has more than MAX_INSTRUCTIONS.
    """
    machine, position = _Machine(), 0
    instructions = pickletools.genops(data)
    try:
        for _ in range(MAX_INSTRUCTIONS):
            try:
                opcode, argument, at = next(instructions)
            except StopIteration:
                return machine.result()
            except (ValueError, OverflowError) as bad:
                raise _RefusedError(f"it is cut off or damaged ({str(bad)[:80]})") from bad
            position = at or position
            step = _STEPS.get(opcode.name)
            if step is None:
                raise _RefusedError(f"it says {opcode.name}, which such data has no need of")
            step(machine, argument)
        raise _RefusedError(f"it has more than {MAX_INSTRUCTIONS} instructions")
    except _RefusedError as refused:
        raise InvalidRequestError(
            f"this pickle is not read at byte {position}: {refused}; numpy arrays in dicts and lists are"
        ) from refused


class _Machine:
    """A stack, and what is remembered by number."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def result(self) -> Any:
        if len(self._stack) != 1:
            raise _RefusedError(f"it leaves {len(self._stack)} values")
        return self._stack[0]

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise _RefusedError("it takes what is not there")
        return self._stack.pop()

    def pop_items(self) -> list[Any]:
        """What lies above the last mark."""
        items: list[Any] = []
        while self._stack:
            item = self._stack.pop()
            if item is _MARK:
                return items[::-1]
            items.append(item)
        raise _RefusedError("it takes what is not there")

    def tuple_of(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.push(tuple(items[::-1]))

    def remember(self, key: int | None) -> None:
        """Args: key: None is the next number."""
        value = self.pop()
        self.push(value)
        key = len(self._memo) if key is None else key
        self._memo[key] = value
        if isinstance(value, _Unfinished):
            value.keys.append(key)

    def recall(self, key: int) -> None:
        if key not in self._memo:
            raise _RefusedError(f"it recalls {key}, which it has not remembered")
        self.push(self._memo[key])

    def name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str) or (module, name) not in _NAMES:
            raise _RefusedError(f"it asks for {str(module)[:40]}.{str(name)[:40]}")
        self.push(_NAMES[module, name])

    def append(self, items: list[Any]) -> None:
        target = self.pop()
        if not isinstance(target, list):
            raise _RefusedError("it appends to what is no list")
        target.extend(items)
        self.push(target)

    def set_items(self, items: list[Any]) -> None:
        target = self.pop()
        keys, values = items[::2], items[1::2]
        if not isinstance(target, dict) or len(keys) != len(values) or not all(isinstance(k, str) for k in keys):
            raise _RefusedError("it fills a dict otherwise than by strings")
        target.update(zip(keys, values, strict=True))
        self.push(target)

    def reduce(self) -> None:
        """What would be a call."""
        arguments, called = self.pop(), self.pop()
        # Patterns ask for types only: an array that is compared with a value is an array, neither true nor false.
        match called, arguments:
            case _Name(name="dtype"), (str() as code, False, True) if code in _TYPES:
                self.push(_Unfinished(code))
            case _Name() as name, (_Name() as of, (int() as size,), bytes() as kind) if (name, of, size, kind) == (
                _RECONSTRUCT,
                _NDARRAY,
                0,
                b"b",
            ):
                self.push(_Unfinished(""))
            case _Name() as name, (
                bytes() | bytearray() as content,
                np.dtype() as dtype,
                tuple() as shape,
                str() as order,
            ) if name is _FROMBUFFER:
                self.push(_array(bytes(content), dtype, shape, is_fortran=order == "F"))
            case _Name() as name, (np.dtype() as dtype, bytes() as content) if name is _SCALAR:
                self.push(_array(content, dtype, (), is_fortran=False).item())
            case _:
                raise _RefusedError("it makes something that is neither an array nor a number")

    def build(self) -> None:
        """What would set the state of an object."""
        state, target = self.pop(), self.pop()
        finished: Any
        match target, state:
            case _Unfinished(code=""), (
                int() as version,
                tuple() as shape,
                np.dtype() as dtype,
                bool() as is_fortran,
                bytes() as content,
            ) if version == _ARRAY_VERSION:
                finished = _array(content, dtype, shape, is_fortran=is_fortran)
            case _Unfinished(), (int() as version, str() as order, None, None, None, int(), int(), int()) if (
                target.code and version == _TYPE_VERSION and order in _BYTE_ORDERS
            ):
                finished = np.dtype(f"{order}{target.code}")
            case _:
                raise _RefusedError("it sets the state of something that is no array")
        for key in target.keys:
            self._memo[key] = finished
        self.push(finished)


def _array(content: bytes, dtype: np.dtype[Any], shape: tuple[Any, ...], *, is_fortran: bool) -> NDArray[Any]:
    if len(shape) > _MAX_DIMENSIONS or not all(type(side) is int and side >= 0 for side in shape):
        raise _RefusedError(f"an array has {len(shape)} sides, or one that is no number")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise _RefusedError(f"an array that says {shape} of {dtype} has {len(content)} bytes")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


_Step = Callable[[_Machine, Any], None]


def _value(machine: _Machine, argument: Any) -> None:
    machine.push(argument)


def _constant(make: Callable[[], Any]) -> _Step:
    return lambda machine, _: machine.push(make())


def _nothing(_machine: _Machine, _argument: Any) -> None:
    """What frames a pickle says nothing of its content."""


_STEPS: dict[str, _Step] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _value),
    **dict.fromkeys(
        ("BINUNICODE", "SHORT_BINUNICODE", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"), _value
    ),
    "MARK": lambda machine, _: machine.push(_MARK),
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_LIST": _constant(list),
    "EMPTY_TUPLE": _constant(tuple),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_items())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": lambda machine, _: machine.append([machine.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.pop_items()),
    "SETITEM": lambda machine, _: machine.set_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_items()),
    "MEMOIZE": lambda machine, _: machine.remember(None),
    "BINPUT": lambda machine, key: machine.remember(key),
    "LONG_BINPUT": lambda machine, key: machine.remember(key),
    "BINGET": lambda machine, key: machine.recall(key),
    "LONG_BINGET": lambda machine, key: machine.recall(key),
    "GLOBAL": lambda machine, words: machine.name(*words.split(" ", 1)) if " " in words else machine.name(words, ""),
    "STACK_GLOBAL": lambda machine, _: machine.name(*[machine.pop(), machine.pop()][::-1]),
    "REDUCE": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.build(),
}
