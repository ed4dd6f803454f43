"""Triton's kernels, where they can be had: imported, compiled for this device, and found to compute the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from services.common.compiled_kernels import UnavailableError, attempted, device_kind
from services.common.errors import first_line
from services.render.engines.liveportrait.config import LivePortraitConfig
from services.render.engines.liveportrait.fast.drawing import Drawing, Inputs
from services.render.engines.liveportrait.fast.folding import padded
from services.render.engines.liveportrait.fast.pixels import i420_of, image_of, rgb_of
from services.render.engines.liveportrait.fast.pool import SourcePool
from services.render.engines.liveportrait.fast.warp import Sources
from services.render.engines.liveportrait.networks import Networks

# Relative L2 between the pictures of both; float16 alone makes a thousandth.
_TOLERANCE = 0.01


def accelerated(
    networks: Networks, plain: Drawing, pool: SourcePool, batch_sizes: Sequence[int], folder: Path | None
) -> Drawing:
    """The same drawing with Triton's kernels.

    Args:
        plain: of the same networks, to be held against.
        batch_sizes: that will be drawn; each may take kernels of its own.
        pool: of sources as they will be drawn.
        folder: keeps compiled kernels from one start to the next; by default Triton's own.
    Raises: UnavailableError if they cannot be used, or draw something else.
    """
    if reason := misfit(networks.config):
        raise UnavailableError(reason)
    with attempted(folder / f"attempts-{device_kind()}" if folder is not None else None):
        drawing = _compiled(networks, plain.warp.dtype, folder)
        for size in sorted(batch_sizes):
            _compare(drawing, plain, pool, size)
    return drawing


def misfit(config: LivePortraitConfig) -> str:
    """Why networks of these sizes do not fit the kernels' tiles; empty if they do."""
    generator, warping = config.generator, config.warping
    if config.feature_size % 64:
        return f"the kernels take features 64 pixels wide or a multiple of it, not {config.feature_size}"
    widths = (generator.in_channels, generator.out_channels, generator.spade_hidden, warping.out_channels)
    if any(width % 64 for width in widths):
        return f"the kernels take layers of a multiple of 64 channels, not of {widths}"
    if generator.in_channels == generator.out_channels:
        return "the kernels take a last block that changes the number of channels"
    dense = warping.dense_motion
    if dense.compress != 4:
        return f"the kernels take 4 compressed features, not {dense.compress}"
    if warping.num_kp % 2 == 0:
        return f"the kernels take an odd number of keypoints, not {warping.num_kp}"
    if warping.reshape_channel & (warping.reshape_channel - 1):
        return f"the kernels take volumes of 2, 4, 8, 16, ... channels, not of {warping.reshape_channel}"
    joined = dense.block_expansion + padded((1 + warping.num_kp) * (1 + dense.compress))
    if joined < 64 or joined % 64 > 16:
        return f"the kernels take an hourglass that ends in a multiple of 64 channels and up to 16 more, not {joined}"
    return ""


def _compiled(networks: Networks, dtype: torch.dtype, folder: Path | None) -> Drawing:
    try:
        import triton

        if folder is not None:
            triton.knobs.cache.dir = str(folder)
        from services.render.engines.liveportrait.fast.triton_generate import TritonGenerator
        from services.render.engines.liveportrait.fast.triton_warp import TritonWarp
    except (ImportError, AttributeError) as error:
        raise UnavailableError(f"Triton is not there, or not as it should be: {error}") from error
    return Drawing(TritonWarp(networks.warping, dtype), TritonGenerator(networks.generator, dtype))


def _compare(drawing: Drawing, plain: Drawing, pool: SourcePool, batch: int) -> None:
    """Raises: UnavailableError if the pictures differ by more than rounding."""
    from triton import TritonError

    device = pool.sources.features.device
    random = torch.Generator(device).manual_seed(batch)
    sources = Sources(
        *(torch.randn((2, *part.shape[1:]), generator=random, device=device).to(part.dtype) for part in pool.sources)
    )
    slots = torch.arange(batch, device=device) % 2
    inputs = Inputs(slots, 0.5 * torch.randn((2, batch, plain.warp.parts - 1, 3), generator=random, device=device))
    wanted = image_of(plain.logits(sources, inputs))
    try:
        logits = drawing.logits(sources, inputs)
        rgb, i420 = drawing.generator.bytes_of(logits)
        drawn = image_of(logits)
        distance = _distance(drawn, wanted)
    except (TritonError, RuntimeError, OSError) as error:
        raise UnavailableError(f"Triton cannot compile for this device: {first_line(error)}") from error
    # A number that is none is not less, either.
    if not distance < _TOLERANCE:
        raise UnavailableError(f"Triton's kernels draw another picture on this device, {distance:.2g} off")
    if not torch.equal(i420, i420_of(rgb)) or _most_apart(rgb, rgb_of(logits)) > 1:
        raise UnavailableError("Triton's kernels write other pixels on this device")


def _most_apart(a: Tensor, b: Tensor) -> int:
    return int((a.to(torch.int16) - b.to(torch.int16)).abs().max())


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())
