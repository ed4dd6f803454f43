"""A step by Triton's kernels: the same numbers as `Gpt.step`, from a third of the launches."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from services.common.compiled_kernels import UnavailableError
from services.common.errors import first_line
from services.tts.engines.xtts.gpt import Cache, Gpt, Linear, Step


class FusedStep:
    """Takes the place of a model's `step`, whatever the length that is looked at."""

    def __init__(self, gpt: Gpt, compiled: Path | None = None) -> None:
        """Args:
            gpt: its linear layers are laid out anew, in place: the inputs of an output side by side.
            compiled: folder that keeps compiled kernels from one start to the next; by default Triton's own.
        Raises: UnavailableError if the model does not fit the kernels' tiles, or Triton is not there.
        """
        try:
            import triton

            if compiled is not None:
                triton.knobs.cache.dir = str(compiled)
            from services.tts.engines.xtts import kernels
        except (ImportError, AttributeError) as missing:
            raise UnavailableError(f"Triton is not there, or not as it should be: {missing}") from missing
        width = gpt.sizes.width
        head = width // gpt.sizes.heads
        if width & (width - 1) or head & (head - 1) or width < 16 or head < 16:
            raise UnavailableError(f"the kernels take widths of 16, 32, 64, ..., not {width} in heads of {head}")
        self._kernels = kernels
        self._gpt = gpt
        for layer in gpt.gpt.modules():
            if isinstance(layer, Linear):
                layer.weight.data = layer.weight.data.t().contiguous().t()

    def __call__(self, state: Step, cache: Cache, _: int) -> Tensor:
        """As `Gpt.step`."""
        by, gpt = self._kernels, self._gpt
        count = len(state.tokens)
        x = gpt.embedded(state.tokens, state.spoken)
        attended = torch.zeros_like(x)
        for index, block in gpt.gpt.blocks():
            first, attn, second, mlp = block.ln_1, block.attn, block.ln_2, block.mlp
            qkv = by.normed_linear(x, first.weight, first.bias, attn.c_attn.weight, attn.c_attn.bias, first.eps)
            keys, values = cache.keys[index, :count], cache.values[index, :count]
            by.attend(qkv, keys, values, state.positions, state.goes, attended)
            by.add_linear(attended, attn.c_proj.weight, attn.c_proj.bias, x)
            wide = by.normed_linear(
                x, second.weight, second.bias, mlp.c_fc.weight, mlp.c_fc.bias, second.eps, is_gelu=True
            )
            by.add_linear(wide, mlp.c_proj.weight, mlp.c_proj.bias, x)
        return gpt.latent(x)

    def check(self, cache: Cache) -> None:
        """Compile for this device, and hold the result against the plain step's.

        Args: cache: of the rows that will be served, whose shape and kind is taken.
        Raises: UnavailableError if Triton cannot compile, or computes something else.
        """
        # A row alone is computed in a way of its own.
        for rows in sorted({1, min(cache.keys.shape[1], 2)}):
            try:
                distance = self._distance(rows, cache)
            except torch.OutOfMemoryError:
                raise
            # A compiler's edge: it finds none of its tools, or does not know the device.
            except Exception as error:
                raise UnavailableError(f"Triton cannot compile for this device: {first_line(error)}") from error
            # A number that is none is not less, either.
            if not distance < _TOLERANCE:
                raise UnavailableError(f"Triton's kernels compute something else on this device, {distance:.2g} off")

    def _distance(self, rows: int, cache: Cache) -> float:
        """From the plain step's latents, as relative L2, after somebody has spoken noise for a while."""
        device = cache.keys.device
        random = torch.Generator(device).manual_seed(1)
        noise = torch.randn((2, *cache.keys[:, :rows].shape), generator=random, device=device).to(cache.keys.dtype)
        tokens = torch.arange(rows, device=device) + 1
        state = Step(tokens, tokens, 100 + 60 * tokens, torch.ones(rows, dtype=torch.bool, device=device))
        length = self._gpt.sizes.cache_length
        wanted, found = (step(state, Cache(*noise.clone()), length).float() for step in (self._gpt.step, self))
        return float((found - wanted).norm() / wanted.norm())


# Relative L2 of latents; float16 alone makes two thousandths.
_TOLERANCE = 0.01
