"""Reads Whisper's weights, sizes and rules in CTranslate2's layout, for PyTorch where that library has no CUDA.

Source: https://github.com/OpenNMT/CTranslate2, python/ctranslate2/specs/model_spec.py (the file format) and
whisper_spec.py (the names).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from services.common.errors import NotReadyError
from services.stt.engines.whisper.files import Generation, Sizes, read_json
from services.stt.engines.whisper.runtime import MAX_TOKENS, WINDOW_STATES

FILE = "model.bin"
_BINARY_VERSION = 6
_SPECIFICATION = "WhisperSpec"
# In the order of the numbers that stand for them.
_DTYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)
_LAYER = re.compile(r"layer_(\d+)/(.+)")
# Ours by theirs; what one multiplication does there is split into its rows here.
_MODULES = {
    "conv1": ("conv1",),
    "conv2": ("conv2",),
    "embeddings": ("embed_tokens",),
    "position_encodings": ("embed_positions",),
    "layer_norm": ("layer_norm",),
}
_LAYER_MODULES = {
    "self_attention/layer_norm": ("self_attn_layer_norm",),
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "attention/layer_norm": ("encoder_attn_layer_norm",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "ffn/layer_norm": ("final_layer_norm",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
}
_PARAMETERS = {"weight": "weight", "encodings": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}


@dataclass(frozen=True, slots=True)
class _Variable:
    """Where an array lies. Args: begin: in the file, in bytes."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int

    @property
    def end(self) -> int:
        return self.begin + math.prod(self.shape) * self.dtype.itemsize


def read_sizes(folder: Path) -> Sizes:
    """The sizes, by the shapes of the weights. Raises: NotReadyError, in a sentence, if they are not Whisper's."""
    file = folder / FILE
    variables = _index(file)

    def shape(name: str, rank: int) -> tuple[int, ...]:
        found = variables.get(name)
        if found is None or len(found.shape) != rank:
            raise NotReadyError(f"{file} is not whole or of another model: {name} is not as Whisper has it")
        return found.shape

    def count(part: str) -> int:
        return sum(bool(re.fullmatch(rf"{part}/layer_\d+/ffn/linear_0/weight", name)) for name in variables)

    def heads(part: str) -> int:
        shape(f"{part}/num_heads", 0)
        return int(_tensor(file, variables[f"{part}/num_heads"]))

    (states, width), (tokens, _) = (shape(f"{part}/position_encodings/encodings", 2) for part in ("encoder", "decoder"))
    sizes = Sizes(
        width=width,
        encoder_layers=count("encoder"),
        encoder_heads=heads("encoder"),
        encoder_ffn=shape("encoder/layer_0/ffn/linear_0/weight", 2)[0],
        decoder_layers=count("decoder"),
        decoder_heads=heads("decoder"),
        decoder_ffn=shape("decoder/layer_0/ffn/linear_0/weight", 2)[0],
        vocabulary=shape("decoder/embeddings/weight", 2)[0],
        bands=shape("encoder/conv1/weight", 3)[1],
        states=states,
        tokens=tokens,
    )
    if (states, tokens) != (WINDOW_STATES, MAX_TOKENS):
        raise NotReadyError(
            f"{file}: Whisper has {WINDOW_STATES} source and {MAX_TOKENS} target positions, not {states} and {tokens}"
        )
    if any(number < 1 or width % number for number in (sizes.encoder_heads, sizes.decoder_heads)):
        raise NotReadyError(f"{file}: a width of {width} cannot be shared by its attention heads")
    return sizes


def read_generation(folder: Path, sizes: Sizes) -> Generation:
    """The rules in its config.json. Raises: NotReadyError."""
    file = folder / "config.json"
    content = read_json(file)
    heads = tuple(sorted((int(layer), int(head)) for layer, head in content.get("alignment_heads") or ()))
    if not heads:
        raise NotReadyError(f"{file} names no alignment_heads, by which words are placed; pull the model again")
    if any(layer >= sizes.decoder_layers or head >= sizes.decoder_heads for layer, head in heads):
        raise NotReadyError(f"{file}: alignment_heads name a head that the weights do not have")
    suppressed, first = (
        tuple(token for token in content.get(name) or () if 0 <= token < sizes.vocabulary)
        for name in ("suppress_ids", "suppress_ids_begin")
    )
    return Generation(suppressed, first, heads)


def read_weights(file: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a model.bin, by the names of the transformers layout; what int8 or int16 rounded, as float32.

    What Whisper does not have comes by its own name. Raises: NotReadyError, in a sentence, for a file that is cut off
    or of another model.
    """
    variables = _index(file)
    for name, variable in variables.items():
        # Numbers that say how to run it, the scale of a rounded array, and the embeddings once more.
        if not variable.shape or name.endswith("_scale") or name.startswith("decoder/projection/"):
            continue
        tensor = _tensor(file, variable)
        scale = variables.get(f"{name}_scale")
        if not tensor.is_floating_point() and scale is None:
            raise NotReadyError(f"{file} is of another model: {name} is in {tensor.dtype} without a scale")
        if scale is not None:
            # One for each row, or one for all.
            factors = _tensor(file, scale).float()
            tensor = tensor.float() / factors.reshape(-1, *(1,) * (tensor.dim() - 1))
        names = _names(name)
        if len(tensor) % len(names):
            raise NotReadyError(f"{file} is of another model: the rows of {name} are not those of {len(names)} layers")
        for ours, rows in zip(names, tensor.chunk(len(names)), strict=True):
            # Which key a query prefers does not change by what is added to all of them; the networks leave it out.
            if not ours.endswith("k_proj.bias"):
                yield ours, rows


def _names(name: str) -> tuple[str, ...]:
    """What the rows of a variable are called here."""
    part, _, path = name.partition("/")
    module, _, parameter = path.rpartition("/")
    layer = _LAYER.fullmatch(module)
    modules = _MODULES.get(module) if layer is None else _LAYER_MODULES.get(layer[2])
    if modules is None or parameter not in _PARAMETERS:
        return (name,)
    prefix = part if layer is None else f"{part}.layers.{layer[1]}"
    return tuple(f"{prefix}.{one}.{_PARAMETERS[parameter]}" for one in modules)


def _tensor(file: Path, variable: _Variable) -> Tensor:
    # Private: what is read is converted at once, and never written. A copy, because its place need not suit its type.
    storage = torch.from_file(str(file), shared=False, size=variable.end, dtype=torch.uint8)
    return storage[variable.begin :].clone().view(variable.dtype).reshape(variable.shape)


def _index(file: Path) -> dict[str, _Variable]:
    """The variables by name, those that share an array too."""
    try:
        with file.open("rb") as content:
            return _read_index(file, content)
    except FileNotFoundError as missing:
        raise NotReadyError(f"{file} is missing; pull the model again") from missing
    except (struct.error, ValueError, KeyError, IndexError) as broken:
        raise NotReadyError(f"{file} is cut off or no model of CTranslate2; pull the model again") from broken


def _read_index(file: Path, content: BinaryIO) -> dict[str, _Variable]:
    size = file.stat().st_size

    def number(form: str) -> int:
        (value,) = struct.unpack(f"<{form}", content.read(struct.calcsize(f"<{form}")))
        return int(value)

    def word() -> str:
        text = content.read(number("H"))
        if not text.endswith(b"\0"):
            raise ValueError(text)
        return text[:-1].decode()

    version = number("I")
    if version != _BINARY_VERSION:
        raise NotReadyError(f"{file} is no model of CTranslate2 in the version {_BINARY_VERSION} of its format")
    specification, _revision = word(), number("I")
    if specification != _SPECIFICATION:
        raise NotReadyError(f'{file} holds a model of the kind "{specification}", not "{_SPECIFICATION}"')
    variables: dict[str, _Variable] = {}
    for _ in range(number("I")):
        name = word()
        shape = tuple(number("I") for _ in range(number("B")))
        dtype, length = _DTYPES[number("B")], number("I")
        variable = _Variable(dtype, shape, content.tell())
        if variable.end != variable.begin + length or variable.end > size:
            raise ValueError(name)
        variables[name] = variable
        content.seek(length, 1)
    for _ in range(number("I")):
        alias, name = word(), word()
        variables[alias] = variables[name]
        if f"{name}_scale" in variables:
            variables[f"{alias}_scale"] = variables[f"{name}_scale"]
    return variables
