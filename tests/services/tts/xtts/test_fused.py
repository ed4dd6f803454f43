"""Triton's kernels against plain operations: on a GPU, or with TRITON_INTERPRET=1 in Triton's interpreter."""

from __future__ import annotations

import importlib.util
import os

import pytest
import torch
from torch import Tensor

from services.common.compiled_kernels import UnavailableError
from services.tts.engines.xtts.decoding import Decoding, Newcomer
from services.tts.engines.xtts.fused import FusedStep
from services.tts.engines.xtts.gpt import Cache, Gpt, Step
from services.tts.engines.xtts.sampling import Sampling
from services.tts.engines.xtts.sizes import XttsSizes

IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1" and importlib.util.find_spec("triton") is not None
HAS_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if HAS_GPU else "cpu")
# The interpreter computes on a CPU, where a step in half the bytes is of little use.
DTYPE = torch.float16 if HAS_GPU else torch.float32
CLOSE = 5e-3 if HAS_GPU else 1e-5
SIZES = XttsSizes(layers=2, width=128, heads=4, text_tokens=50, max_text=40, max_audio=300, start_text=3)
needs_triton = pytest.mark.skipif(
    not HAS_GPU and not IS_INTERPRETED, reason="needs an NVIDIA GPU, or TRITON_INTERPRET=1 and Triton"
)


def gpt(sizes: XttsSizes = SIZES) -> Gpt:
    torch.manual_seed(3)
    made = Gpt(sizes)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            # Whoever mixes up a scale with a shift, or leaves one out, is noticed.
            weight.normal_(1 if "norm" in name or ".ln_" in name else 0, 0.2)
    return made.to(DEVICE, DTYPE).requires_grad_(requires_grad=False)


def state(rows: int) -> Step:
    numbers = torch.arange(rows, device=DEVICE)
    # At the begin of the cache, at an edge of a block, within one, and as far as it goes.
    places = torch.tensor([0, 128, 129, 57, SIZES.max_length - 1], device=DEVICE)
    return Step(numbers + 5, numbers + 1, places[numbers % len(places)], numbers % 7 != 3)


def noise(rows: int) -> Cache:
    random = torch.Generator(DEVICE).manual_seed(2)
    empty = Cache.empty(SIZES, rows, torch.empty(0, device=DEVICE, dtype=DTYPE))
    return Cache(*(torch.randn(part.shape, generator=random, device=DEVICE).to(DTYPE) for part in empty))


def relative_l2(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).norm() / b.float().norm())


@needs_triton
@pytest.mark.parametrize("rows", [1, 5, 16, 17, 40])
@torch.inference_mode()
def test_latents_and_what_is_kept_are_those_of_the_plain_step(rows: int) -> None:
    model, at = gpt(), state(rows)
    plain, fused = noise(rows + 2), noise(rows + 2)
    wanted = model.step(at, plain, SIZES.cache_length)
    found = FusedStep(model)(at, fused, SIZES.cache_length)
    assert relative_l2(found[at.goes], wanted[at.goes]) < CLOSE
    goes = at.goes.nonzero()[:, 0]
    for ours, theirs, before in zip(fused, plain, noise(rows + 2), strict=True):
        assert relative_l2(ours[:, goes], theirs[:, goes]) < CLOSE
        # Somebody else's rows are left alone.
        stays = [row for row in range(rows + 2) if row not in goes.tolist()]
        assert torch.equal(ours[:, stays], before[:, stays])
    assert wanted.float().std() > 0.1


@needs_triton
@torch.inference_mode()
def test_the_check_tells_a_wrong_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    from services.tts.engines.xtts import kernels

    step, cache = FusedStep(gpt()), noise(3)
    step.check(cache)
    right = kernels.attend

    def wrong(qkv: Tensor, *others: Tensor) -> None:
        right(1.2 * qkv, *others)

    monkeypatch.setattr(kernels, "attend", wrong)
    with pytest.raises(UnavailableError, match="compute something else on this device"):
        step.check(cache)


@needs_triton
def test_a_row_says_by_them_what_it_says_without_them() -> None:
    model = gpt()
    conditioning = torch.randn(1, 32, SIZES.width, generator=torch.Generator().manual_seed(1)).to(DEVICE)

    def said(decoding: Decoding) -> Tensor:
        decoding.join([Newcomer(row, conditioning, torch.arange(5 + row) + 1) for row in range(3)])
        decoding.advance(10)
        return decoding._latents[:3, :11].float()

    plain, fused = (Decoding(model, 4, Sampling(temperature=0)) for _ in range(2))
    fused.use(FusedStep(model))
    assert relative_l2(said(fused), said(plain)) < 5 * CLOSE


@pytest.mark.skipif(importlib.util.find_spec("triton") is not None, reason="Triton is there")
def test_where_triton_is_not_there_it_says_so() -> None:
    with pytest.raises(UnavailableError, match="Triton is not there"):
        FusedStep(gpt())


@needs_triton
def test_widths_that_do_not_fit_are_named() -> None:
    with pytest.raises(UnavailableError, match="not 96 in heads of 24"):
        FusedStep(gpt(XttsSizes(layers=1, width=96, heads=4, text_tokens=50)))
