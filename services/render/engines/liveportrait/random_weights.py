"""Random weights that no layer can hide behind, for tests and measurements where the official ones may not be.

Convolutions have He's scale, batch norm has random statistics, GRN and layer norm do something, and spectral norm's
u and v are as training leaves them: after power iterations, neither fresh nor converged. Heads are scaled so that
keypoints, pose and scale are those of a face in the picture.

Every weight has a stream of numpy's random numbers of its own, by its name: it depends neither on the order in which
layers are made nor on torch's version.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from services.render.engines.liveportrait.checkpoint import FILES
from services.render.engines.liveportrait.config import LivePortraitConfig
from services.render.engines.liveportrait.networks import Networks
from services.render.engines.liveportrait.sizes import write_sizes

_POWER_ITERATIONS = 2
# Heads of M: how far their outputs spread, and around what.
_HEADS = {"fc_kp": (0.25, 0.0), "fc_exp": (0.03, 0.0), "fc_t": (0.1, 0.0), "fc_scale": (0.1, 1.2)}
# Layers that get less than He's scale, by how their names end. In residual blocks of F and M: so that sums keep their
# order. What goes into a sigmoid: so that it is not all 0 or 1. The last layer of the networks on keypoints: so that
# their shifts are small beside the keypoints.
_GAINS = {
    "conv2": 0.5,
    "occlusion": 0.5,
    "conv_img.0": 0.5,
    "stitching.mlp.6": 0.05,
    "lip.mlp.6": 0.05,
    "eye.mlp.10": 0.05,
}


def random_states(config: LivePortraitConfig, seed: int) -> dict[str, dict[str, Tensor]]:
    """For each network's name its weights by their official names, without `module.`."""
    with torch.device("meta"):
        networks = Networks(config)
    return {name: _random_state(name, networks.get_submodule(name).state_dict(), seed) for name in FILES}


def random_networks(config: LivePortraitConfig, seed: int) -> Networks:
    """Networks for inference, on the CPU, with the same weights as `write_official_folder` writes."""
    with torch.device("meta"):
        networks = Networks(config)
    for name, state in random_states(config, seed).items():
        networks.get_submodule(name).load_state_dict(state, assign=True)
    return networks.requires_grad_(requires_grad=False).eval()


def write_official_folder(folder: Path, config: LivePortraitConfig, seed: int) -> None:
    """Write random weights as the official ones are published: files, nesting and prefixes.

    Args: folder: what the official code calls `pretrained_weights`; made if it is not there.
    """
    contents: dict[str, dict[str, object]] = {}
    for name, state in random_states(config, seed).items():
        file, entry = FILES[name]
        content = contents.setdefault(file, {})
        if entry is None:
            content.update(state)
        else:
            content[entry] = {f"module.{key}": value for key, value in state.items()}
    for file, content in contents.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, folder / file)
    write_sizes(folder, config)


def _random_state(name: str, shapes: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for key, like in shapes.items():
        full = f"{name}.{key}"
        rng = np.random.default_rng([seed, zlib.crc32(full.encode())])
        state[key] = _random_weight(full, tuple(like.shape), rng)
    for key in [key for key in state if key.endswith(".weight_orig")]:
        stem = key.removesuffix("_orig")
        state[f"{stem}_u"], state[f"{stem}_v"] = _power_iterated(state[key], state[f"{stem}_u"])
    return state


def _random_weight(key: str, shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    layer, _, kind = key.rpartition(".")
    if kind == "num_batches_tracked":
        return torch.tensor(1000)
    spread, centre = 0.1, 0.0
    head = layer.rpartition(".")[2]
    if head in _HEADS:
        spread, centre = _HEADS[head]
        if kind == "weight":
            # What the heads read has been through layer norm: a sum of `fan_in` values of about 1.
            spread, centre = spread * (3.0 / shape[1]) ** 0.5, 0.0
        else:
            spread *= 0.1
    elif kind == "running_var" or (kind == "weight" and len(shape) == 1):
        spread, centre = 0.5, 1.0
    elif kind in ("weight", "weight_orig"):
        gain = next((gain for end, gain in _GAINS.items() if layer.endswith(end)), 1.0)
        spread = gain * (6.0 / np.prod(shape[1:])) ** 0.5
    elif kind in ("gamma", "beta"):
        spread = 0.5
    elif kind in ("running_mean", "weight_u", "weight_v"):
        spread = 0.3
    values = (2.0 * rng.random(shape, np.float32) - 1.0) * np.float32(spread) + np.float32(centre)
    return torch.from_numpy(values)


def _power_iterated(weight: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Estimates of the first singular vectors. Returns: u, shape (out,), and v, shape (in * height * width,)."""
    matrix = weight.flatten(1)
    v = u
    for _ in range(_POWER_ITERATIONS):
        v = torch.nn.functional.normalize(matrix.T @ u, dim=0)
        u = torch.nn.functional.normalize(matrix @ v, dim=0)
    return u, v
