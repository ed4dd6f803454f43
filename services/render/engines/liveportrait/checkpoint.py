"""Loads the official checkpoints as they are published, and says in a sentence what is wrong with others."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from services.common.errors import NotReadyError
from services.render.engines.liveportrait.config import OFFICIAL, LivePortraitConfig
from services.render.engines.liveportrait.networks import Networks

_RETARGETING = "liveportrait/retargeting_models/stitching_retargeting_module.pth"
# Network: its file under the official folder `pretrained_weights`, and the entry of the file that is its own.
FILES: dict[str, tuple[str, str | None]] = {
    "appearance": ("liveportrait/base_models/appearance_feature_extractor.pth", None),
    "motion": ("liveportrait/base_models/motion_extractor.pth", None),
    "warping": ("liveportrait/base_models/warping_module.pth", None),
    "generator": ("liveportrait/base_models/spade_generator.pth", None),
    "stitching": (_RETARGETING, "retarget_shoulder"),
    "eye": (_RETARGETING, "retarget_eye"),
    "lip": (_RETARGETING, "retarget_mouth"),
}
# They were saved from a model that was trained on several GPUs.
_PARALLEL_PREFIX = "module."

# What reading an arbitrary file as a checkpoint raises.
_UNREADABLE = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
    pickle.UnpicklingError,
    struct.error,
)


def load_networks(folder: Path, config: LivePortraitConfig = OFFICIAL, device: torch.device | str = "cpu") -> Networks:
    """Every network with its official weights, in float32, for inference.

    Args:
        folder: the official `pretrained_weights`, which holds `liveportrait/base_models` and
            `liveportrait/retargeting_models`.
        config: sizes of the networks.
        device: where they go.
    Raises: NotReadyError if a file is missing, cannot be read, or is not exactly what its network expects, or if the
        device is not there or too small.
    """
    missing = sorted({file for file, _ in FILES.values() if not (folder / file).is_file()})
    if missing:
        raise NotReadyError(f"{folder} lacks {_listed(missing)}: LivePortrait needs all of its official checkpoints")
    files = {file: _read(folder / file) for file, _ in FILES.values()}
    # No weights are made that the files' replace at once.
    with torch.device("meta"):
        networks = Networks(config)
    expected = {name: networks.get_submodule(name).state_dict() for name in FILES}
    for name, (file, entry) in FILES.items():
        path = folder / file
        state = _entry(path, files[file], entry) if entry else files[file]
        _assign(networks.get_submodule(name), _checked(path, name, state, expected))
    return _on_device(networks, device).requires_grad_(requires_grad=False).eval()


def _read(path: Path) -> Mapping[str, object]:
    """A checkpoint's content. Only tensors and plain containers are read; nothing in it is executed."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise NotReadyError(f"{path} cannot be read: {error.strerror}") from error
    try:
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise NotReadyError(
            f"{path} is not a checkpoint of PyTorch, {_kind(path, head)}; fetch the official file again"
        ) from error
    if not isinstance(content, Mapping):
        raise NotReadyError(f"{path} holds a {type(content).__name__} where weights by their names are expected")
    return content


def _kind(path: Path, head: bytes) -> str:
    """What a file that is not a checkpoint seems to be. Args: head: its first bytes."""
    if not head:
        return "it is empty"
    if head.startswith(b"version https://git-lfs"):
        return "but a pointer of Git LFS to it"
    if head.lstrip().startswith(b"<"):
        return "but a web page"
    size = path.stat().st_size
    if head.startswith(b"PK") and not zipfile.is_zipfile(path):
        return f"or it is truncated: it has {size} bytes"
    return f"or it is damaged or holds more than weights: it has {size} bytes"


def _entry(path: Path, content: Mapping[str, object], entry: str) -> Mapping[str, object]:
    """One network of a file that holds several."""
    inner = content.get(entry)
    if not isinstance(inner, Mapping):
        raise NotReadyError(f"{path} lacks {entry!r}; it holds {_listed(sorted(map(str, content)))}")
    return {str(key).removeprefix(_PARALLEL_PREFIX): value for key, value in inner.items()}


def _checked(
    path: Path, name: str, state: Mapping[str, object], expected: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """The weights, if they are exactly those that the network expects."""
    own = expected[name]
    for other, weights in expected.items():
        if other != name and state.keys() == weights.keys() != own.keys():
            raise NotReadyError(f"{path} holds the weights of {other!r} where those of {name!r} belong")
    # Batch norm counts the batches it was trained on, which inference does not read and old files do not have.
    counters = {key: torch.tensor(0) for key in own if key.endswith("num_batches_tracked")}
    state = {**counters, **state}
    lacking = [key for key in own if key not in state]
    unknown = [str(key) for key in state if key not in own]
    if lacking or unknown:
        raise NotReadyError(
            f"{path} is not what {name!r} expects: of its {len(own)} weights {len(lacking)} are missing"
            f"{_first(lacking)}, and {len(unknown)} are unknown{_first(unknown)}"
        )
    checked: dict[str, Tensor] = {}
    for key, wanted in own.items():
        found = state[key]
        if not isinstance(found, Tensor):
            raise NotReadyError(f"{path}: {key} is a {type(found).__name__} and should be a tensor")
        if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            raise NotReadyError(f"{path}: {key} is {_form(found)} and should be {_form(wanted)}")
        if not torch.isfinite(found).all():
            raise NotReadyError(f"{path}: {key} holds values that are not finite numbers; the file is damaged")
        checked[key] = found
    return checked


def _assign(network: nn.Module, state: dict[str, Tensor]) -> None:
    network.load_state_dict(state, strict=True, assign=True)
    # Whatever is no weight would have stayed where nothing has a value.
    assert not any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers()))


def _on_device(networks: Networks, device: torch.device | str) -> Networks:
    try:
        return networks.to(device)
    # PyTorch without CUDA asserts; with it, no device, a wrong one and too little memory are all RuntimeError.
    except (RuntimeError, AssertionError) as error:
        size_mib = sum(weight.nbytes for weight in networks.state_dict().values()) >> 20
        reason = str(error).partition("\n")[0]
        raise NotReadyError(f"LivePortrait's weights ({size_mib} MiB) do not go to {device}: {reason}") from error


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _first(keys: list[str]) -> str:
    return f" ({keys[0]} first)" if keys else ""


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "nothing"
