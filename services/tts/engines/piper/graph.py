"""Cuts a published voice in two: what decides how a text is spoken, and what makes the sound of it piece by piece.

The files hold one graph from phonemes to sound. Its durations are inside, and its sound comes only as a whole. An ONNX
file is a protocol buffer, so both halves are the file's own bytes, without what they do not need.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from services.common.errors import NotReadyError

# Numbers of fields in onnx.proto3: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE = 1, 5, 11, 12, 13
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR = 1, 2, 4
_TENSOR_NAME, _VALUE_NAME, _VALUE_TYPE = 8, 1, 2
_TYPE_TENSOR, _TENSOR_ELEMENT, _FLOAT = 1, 1, 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
# From the first upsampling of the vocoder back to its first convolution there are no more operators than these.
_MOST_STEPS_BACK = 4


@dataclass(frozen=True, slots=True)
class Seam:
    """The names of what goes into both halves, and from one to the other.

    Args:
        durations: frames for each phoneme, which the front makes.
        latents: what the front makes and the vocoder takes.
        sound: what the vocoder makes.
        front_inputs: what the front takes.
        vocoder_inputs: what the vocoder takes besides: the speaker, in voices of several.
    """

    durations: str
    latents: str
    sound: str
    front_inputs: tuple[str, ...]
    vocoder_inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Halves:
    """Both halves as ONNX files."""

    front: bytes
    vocoder: bytes
    seam: Seam


@dataclass(frozen=True, slots=True)
class _Node:
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    encoded: bytes


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Number, content and whole encoding of each field. Raises: IndexError, ValueError if it is no message."""
    at = 0
    while at < len(data):
        begin = at
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            start = at
            _, at = _varint(data, at)
        elif kind == _BYTES:
            length, start = _varint(data, at)
            at = start + length
        elif kind in _FIXED_SIZES:
            start, at = at, at + _FIXED_SIZES[kind]
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if at > len(data):
            raise IndexError("a field that is cut off")
        yield key >> 3, data[start:at], data[begin:at]


def _text(data: memoryview, field: int) -> str:
    return next((bytes(content).decode() for number, content, _ in _fields(data) if number == field), "")


def _message(field: int, content: bytes) -> bytes:
    """A field that holds bytes, as it is encoded."""
    encoded = bytearray([field << 3 | _BYTES]) if field < 16 else bytearray()
    length = len(content)
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded) + content


def _value(name: str) -> bytes:
    """An input or an output of a graph: floats of any shape."""
    tensor = bytes([_TENSOR_ELEMENT << 3 | _VARINT, _FLOAT])
    return _message(_VALUE_NAME, name.encode()) + _message(_VALUE_TYPE, _message(_TYPE_TENSOR, tensor))


class _Graph:
    """A graph by its parts, whose bytes stay where they are."""

    def __init__(self, data: memoryview) -> None:
        """Raises: IndexError, ValueError if it is no graph."""
        self.nodes: list[_Node] = []
        self.tensors: dict[str, memoryview] = {}
        self.inputs: dict[str, memoryview] = {}
        self.outputs: dict[str, memoryview] = {}
        self.rest: list[memoryview] = []
        for field, content, encoded in _fields(data):
            if field == _GRAPH_NODE:
                self.nodes.append(_node(content, encoded))
            elif field == _GRAPH_INITIALIZER:
                self.tensors[_text(content, _TENSOR_NAME)] = encoded
            elif field == _GRAPH_INPUT:
                self.inputs[_text(content, _VALUE_NAME)] = encoded
            elif field == _GRAPH_OUTPUT:
                self.outputs[_text(content, _VALUE_NAME)] = encoded
            elif field != _GRAPH_VALUE:
                self.rest.append(encoded)
        self.makers = {output: node for node in self.nodes for output in node.outputs}

    def ancestors(self, wanted: Iterable[str], given: str = "") -> tuple[set[int], set[str]]:
        """The nodes that make some values, by identity, and the names that they take from nobody's output.

        Args: given: a value that need not be made.
        """
        nodes: set[int] = set()
        taken: set[str] = set()
        pending = list(wanted)
        while pending:
            name = pending.pop()
            node = self.makers.get(name)
            if name == given or node is None:
                taken.add(name)
            elif id(node) not in nodes:
                nodes.add(id(node))
                pending.extend(node.inputs)
        return nodes, taken

    def part(self, outputs: dict[str, bytes], given: str = "") -> tuple[bytes, tuple[str, ...]]:
        """A graph with these outputs only, and which of the inputs it takes. Args: outputs: encoded, by name."""
        nodes, taken = self.ancestors(outputs, given)
        inputs = [name for name in self.inputs if name in taken]
        parts = [*(node.encoded for node in self.nodes if id(node) in nodes)]
        parts += [bytes(tensor) for name, tensor in self.tensors.items() if name in taken]
        parts += [bytes(self.inputs[name]) for name in inputs]
        parts += [_message(_GRAPH_INPUT, _value(given))] if given else []
        return b"".join([*parts, *outputs.values(), *map(bytes, self.rest)]), tuple(inputs)


def _node(content: memoryview, encoded: memoryview) -> _Node:
    inputs, outputs, operator = [], [], ""
    for field, value, _ in _fields(content):
        if field == _NODE_INPUT:
            inputs.append(bytes(value).decode())
        elif field == _NODE_OUTPUT:
            outputs.append(bytes(value).decode())
        elif field == _NODE_OPERATOR:
            operator = bytes(value).decode()
    return _Node(operator, tuple(inputs), tuple(outputs), bytes(encoded))


def _durations_of(graph: _Graph) -> str | None:
    """VITS rounds the frames of each phoneme up, and nothing else."""
    rounded = [node.outputs[0] for node in graph.nodes if node.operator == "Ceil"]
    return rounded[0] if len(rounded) == 1 else None


def _latents_of(graph: _Graph) -> str | None:
    """What HiFi-GAN's first convolution takes, which stands before its first upsampling; nothing else upsamples."""
    for first in graph.nodes:
        if first.operator != "ConvTranspose":
            continue
        node: _Node | None = first
        for _ in range(_MOST_STEPS_BACK):
            # A voice of several speakers adds what is the speaker's own as the second input.
            node = graph.makers.get(node.inputs[0]) if node is not None else None
            if node is not None and node.operator == "Conv":
                return node.inputs[0]
        return None
    return None


def split(path: Path) -> Halves:
    """Read a voice and cut it. Raises: NotReadyError, in a sentence, if the file is no such voice."""
    try:
        data = memoryview(path.read_bytes())
        fields = list(_fields(data))
        graph = _Graph(next(content for field, content, _ in fields if field == _MODEL_GRAPH))
    except OSError as error:
        raise NotReadyError(f"{path} cannot be read: {error.strerror}") from error
    except (IndexError, ValueError, StopIteration) as error:
        raise NotReadyError(f"{path} is damaged or not whole; fetch the official file again") from error
    durations, latents = _durations_of(graph), _latents_of(graph)
    if durations is None or latents is None or len(graph.outputs) < 1:
        raise NotReadyError(f"{path} is not one of Piper's voices: it is no VITS with a HiFi-GAN behind it")
    sound = next(iter(graph.outputs))
    wanted = {name: _message(_GRAPH_OUTPUT, _value(name)) for name in (durations, latents)}
    front, front_inputs = graph.part(wanted)
    vocoder, vocoder_inputs = graph.part({sound: bytes(graph.outputs[sound])}, given=latents)
    head = b"".join(bytes(encoded) for field, _, encoded in fields if field != _MODEL_GRAPH)
    return Halves(
        front=head + _message(_MODEL_GRAPH, front),
        vocoder=head + _message(_MODEL_GRAPH, vocoder),
        seam=Seam(durations, latents, sound, front_inputs, vocoder_inputs),
    )
