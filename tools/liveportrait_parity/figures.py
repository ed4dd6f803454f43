"""What is kept of the official side for tests that run without it: golden figures, and a manifest of weights."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from torch import Tensor, nn

_SAMPLES = 8


def figures_of(answer: Tensor) -> list[float]:
    """A tensor in nine figures: its root mean square, and values from all over it."""
    values = answer.detach().double().flatten().cpu()
    places = torch.linspace(0, len(values) - 1, _SAMPLES).long()
    return [float(values.square().mean().sqrt()), *values[places].tolist()]


def golden_text(answers: Mapping[str, Tensor], size: str, seed: int) -> str:
    """JSON: how the answers were made, and the figures of each."""
    figures = {name: [float(f"{value:.7g}") for value in figures_of(answer)] for name, answer in answers.items()}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in sorted(figures.items()))
    return f'{{\n "size": {json.dumps(size)},\n "seed": {seed},\n "figures": {{\n{lines}\n }}\n}}\n'


def manifest_text(networks: Mapping[str, nn.Module]) -> str:
    """For each network a line with its name in brackets, then its weights: name, type, shape."""
    lines = []
    for name, network in networks.items():
        lines.append(f"[{name}]")
        lines += [f"{key} {form_of(weight)}" for key, weight in sorted(network.state_dict().items())]
    return "\n".join(lines) + "\n"


def form_of(weight: Tensor) -> str:
    """Type and shape of a weight in one word: `float32:64x3x3x3`; a scalar has no sizes."""
    return f"{str(weight.dtype).removeprefix('torch.')}:{'x'.join(map(str, weight.shape))}"
