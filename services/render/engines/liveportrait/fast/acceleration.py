"""Triton's kernels, where they can be had: imported, compiled for this device, and found to compute the same."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from services.render.engines.liveportrait.config import LivePortraitConfig
from services.render.engines.liveportrait.fast.drawing import Drawing, Inputs
from services.render.engines.liveportrait.fast.folding import padded
from services.render.engines.liveportrait.fast.pixels import image_of
from services.render.engines.liveportrait.fast.pool import SourcePool
from services.render.engines.liveportrait.networks import Networks

# Relative L2 between the pictures of both; float16 alone makes a thousandth.
_TOLERANCE = 0.01
_CHECKED_FRAMES = 2
# A compiler that ends the whole process is tried so often, and then left alone.
_ATTEMPTS = 2


class UnavailableError(Exception):
    """Triton's kernels cannot be used here; the message says why, for /health."""


def accelerated(
    networks: Networks, dtype: torch.dtype, plain: Drawing, pool: SourcePool, folder: Path | None
) -> Drawing:
    """The same drawing with Triton's kernels.

    Args:
        plain: to be held against.
        pool: any of its slots' contents may be used.
        folder: keeps compiled kernels from one start to the next; by default Triton's own.
    Raises: UnavailableError if they cannot be used, or draw something else.
    """
    reason = misfit(networks.config)
    if reason:
        raise UnavailableError(reason)
    attempts = None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        attempts = folder / f"attempts-{_device_name()}"
        tried = len(attempts.read_bytes()) if attempts.exists() else 0
        if tried >= _ATTEMPTS:
            raise UnavailableError(
                f"compiling Triton's kernels ended the process {tried} times; delete {attempts} to try again"
            )
        attempts.write_bytes(b"." * (tried + 1))
    try:
        drawing = _compiled(networks, dtype, folder)
        _compare(drawing, plain, pool)
    finally:
        if attempts is not None:
            attempts.unlink(missing_ok=True)
    return drawing


def misfit(config: LivePortraitConfig) -> str:
    """Why networks of these sizes do not fit the kernels' tiles; empty if they do."""
    generator, warping = config.generator, config.warping
    if config.feature_size % 64:
        return f"the kernels take features 64 pixels wide or a multiple of it, not {config.feature_size}"
    widths = (generator.in_channels, generator.out_channels, generator.spade_hidden, warping.out_channels)
    if any(width % 64 for width in widths):
        return f"the kernels take layers of a multiple of 64 channels, not of {widths}"
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
    except ImportError as error:
        raise UnavailableError(f"Triton cannot be imported: {error}") from error
    return Drawing(TritonWarp(networks.warping, dtype), TritonGenerator(networks.generator, dtype))


def _compare(drawing: Drawing, plain: Drawing, pool: SourcePool) -> None:
    """Raises: UnavailableError if the pictures differ by more than rounding."""
    from triton import TritonError

    device = pool.sources.features.device
    random = torch.Generator(device).manual_seed(0)
    num_kp = plain.warp.parts - 1
    sources = type(pool.sources)(
        *(torch.randn((1, *part.shape[1:]), generator=random, device=device).to(part.dtype) for part in pool.sources)
    )
    keypoints = 0.5 * torch.randn((2, _CHECKED_FRAMES, num_kp, 3), generator=random, device=device)
    inputs = Inputs(torch.zeros(_CHECKED_FRAMES, dtype=torch.int64, device=device), keypoints)
    wanted = image_of(plain.logits(sources, inputs))
    try:
        drawn = image_of(drawing.logits(sources, inputs))
        rgb = drawing.frames(sources, inputs).rgb
    except (TritonError, RuntimeError, OSError) as error:
        raise UnavailableError(f"Triton cannot compile for this device: {_first_line(error)}") from error
    if not _distance(drawn, wanted) < _TOLERANCE:
        raise UnavailableError(
            f"Triton's kernels draw another picture on this device: {_distance(drawn, wanted):.2g} off"
        )
    if not _distance(rgb.permute(0, 3, 1, 2) / 255.0, wanted) < 2 * _TOLERANCE:
        raise UnavailableError("Triton's kernels write other pixels on this device")


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def _device_name() -> str:
    major, minor = torch.cuda.get_device_capability()
    return f"sm{major}{minor}-torch{torch.__version__}"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
