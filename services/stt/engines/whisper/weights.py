"""Reads Whisper's checkpoints, in either of their layouts, into the networks, strictly."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from services.common.errors import NotReadyError
from services.stt.engines.whisper import ctranslate_weights
from services.stt.engines.whisper.files import ModelFolder, Sizes, read_json
from services.stt.engines.whisper.network import Whisper

_DTYPES = {"F16": torch.float16, "F32": torch.float32, "BF16": torch.bfloat16}
_LONGEST_HEADER = 100_000_000
_PREFIX = "model."
# The embeddings again, under the name of the layer that uses them a second time.
_TIED = "proj_out.weight"


def load(folder: ModelFolder, sizes: Sizes, device: torch.device, dtype: torch.dtype) -> Whisper:
    """The networks with a folder's weights, ready to use.

    Raises: NotReadyError, in a sentence, for a file that is cut off, of another model, or no checkpoint at all.
    """
    with torch.device("meta"):
        network = Whisper(sizes)
    wanted = dict(network.state_dict())
    state: dict[str, Tensor] = {}
    for file in _weight_files(folder):
        for name, tensor in _read(file):
            short = name.removeprefix(_PREFIX)
            if short == _TIED:
                continue
            if short not in wanted:
                raise NotReadyError(f"{file} is of another model: it has {name}, which Whisper has not")
            if tensor.shape != wanted[short].shape:
                raise NotReadyError(
                    f"{file} does not belong to its config.json: {name} is {_form(tensor)}, not {_form(wanted[short])}"
                )
            state[short] = tensor.to(device=device, dtype=dtype)
    missing = sorted(wanted.keys() - state.keys())
    if missing:
        raise NotReadyError(f"{folder.path} is not whole: {missing[0]} and {len(missing) - 1} more weights are missing")
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(requires_grad=False)


def random_network(sizes: Sizes, device: torch.device, dtype: torch.dtype, seed: int = 0) -> Whisper:
    """Networks of any size with random weights, for measuring how fast they are."""
    with torch.device("meta"):
        network = Whisper(sizes)
    network = network.to(dtype).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(seed)
    for name, parameter in network.named_parameters():
        if "layer_norm" in name:
            parameter.data.fill_(1.0 if name.endswith("weight") else 0.0)
        else:
            parameter.data.normal_(0, 0.02, generator=generator)
    return network.eval().requires_grad_(requires_grad=False)


def _weight_files(whole: ModelFolder) -> list[Path]:
    folder = whole.path
    if "transformers" not in whole.layouts:
        return [folder / ctranslate_weights.FILE]
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = read_json(index).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise NotReadyError(f"{index} has no weight_map; pull the model again")
        # A name is not a way out of the folder.
        return [folder / Path(str(name)).name for name in sorted(set(shards.values()))]
    return [folder / "pytorch_model.bin"]


def _read(file: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a file, by name."""
    if file.name == ctranslate_weights.FILE:
        yield from ctranslate_weights.read_weights(file)
        return
    try:
        yield from _read_pickled(file) if file.suffix == ".bin" else _read_safetensors(file)
    except FileNotFoundError as missing:
        raise NotReadyError(f"{file} is missing; pull the model again") from missing


def _read_pickled(file: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as broken:
        raise NotReadyError(f"{file} is cut off or no checkpoint of PyTorch; pull the model again") from broken
    if not isinstance(content, Mapping) or not all(isinstance(one, Tensor) for one in content.values()):
        raise NotReadyError(f"{file} holds something else than named tensors; pull the model again")
    yield from content.items()


def _read_safetensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    """Source: https://github.com/huggingface/safetensors, "Format"."""
    broken = NotReadyError(f"{file} is cut off or no safetensors file; pull the model again")
    size = file.stat().st_size
    with file.open("rb") as content:
        length = int.from_bytes(content.read(8), "little")
        if size < 8 or not 0 < length <= min(size - 8, _LONGEST_HEADER):
            raise broken
        try:
            header = json.loads(content.read(length))
        except ValueError as unreadable:
            raise broken from unreadable
    if not isinstance(header, dict):
        raise broken
    header.pop("__metadata__", None)
    start = 8 + length
    if any(not isinstance(entry, dict) or start + entry["data_offsets"][1] > size for entry in header.values()):
        raise broken
    # Private: what is read is converted at once, and never written.
    storage = torch.from_file(str(file), shared=False, size=size, dtype=torch.uint8)
    for name, entry in header.items():
        if entry["dtype"] not in _DTYPES:
            raise NotReadyError(f"{file}: {name} is in {entry['dtype']}, not in one of {', '.join(_DTYPES)}")
        begin, end = entry["data_offsets"]
        # A copy, because its place in the file need not suit its type.
        piece = storage[start + begin : start + end].clone()
        yield name, piece.view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])


def _form(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))
