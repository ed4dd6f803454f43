"""Triton's products against plain ones: on a GPU, or with TRITON_INTERPRET=1 in Triton's interpreter."""

from __future__ import annotations

import importlib.util
import os

import pytest
import torch
from torch import Tensor, nn

from services.stt.engines.whisper.network import Products

IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1" and importlib.util.find_spec("triton") is not None
HAS_GPU = torch.cuda.is_available()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not HAS_GPU and not IS_INTERPRETED, reason="needs an NVIDIA GPU, or TRITON_INTERPRET=1 and Triton"
    ),
]
DEVICE = torch.device("cuda" if HAS_GPU else "cpu")


def some(*shape: int) -> Tensor:
    return torch.randn(*shape, device=DEVICE).half()


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 192), (384, 384), (1280, 70), (5120, 32)])
def test_products_are_those_of_plain_operations(rows: int, inputs: int, outputs: int) -> None:
    from services.stt.engines.whisper.fused import FusedProducts

    torch.manual_seed(0)
    plain, fused = Products(), FusedProducts()
    norm = nn.LayerNorm(inputs, device=DEVICE).half()
    norm.weight.data, norm.bias.data = some(inputs), some(inputs)
    states, weight, bias = 3 + some(rows, 1, inputs), some(outputs, inputs) / inputs**0.5, some(outputs)
    to = some(rows, 1, outputs)
    with torch.inference_mode():
        for is_activated in (False, True):
            wanted = plain.normed(states, norm, weight, bias, is_activated=is_activated)
            found = fused.normed(states, norm, weight, bias, is_activated=is_activated)
            torch.testing.assert_close(found, wanted, rtol=5e-3, atol=1e-2)
        torch.testing.assert_close(
            fused.added(states, weight, bias, to), plain.added(states, weight, bias, to), rtol=5e-3, atol=1e-2
        )


def test_it_is_tried_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from services.stt.engines.whisper import fused

    assert isinstance(fused.tried(64, 128, some(1)), fused.FusedProducts)
    right = fused.FusedProducts.added
    monkeypatch.setattr(fused.FusedProducts, "added", lambda self, states, *rest: right(self, 2 * states, *rest))
    with pytest.raises(RuntimeError, match="differ"):
        fused.tried(64, 128, some(1))
