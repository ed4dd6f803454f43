"""LivePortrait's networks on one device, without a service: frames by batch, and the official code in the same run.

A frame is W, G and its bytes on the host, as both do for motion that comes as parameters. Weights are random unless a
folder is given, which changes no time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.render.engines.liveportrait.checkpoint import load_networks
from services.render.engines.liveportrait.config import NARROW, OFFICIAL, LivePortraitConfig
from services.render.engines.liveportrait.fast.frames import BATCH_SIZES, FastFrames, PixelLayout
from services.render.engines.liveportrait.pipeline import to_rgb
from services.render.engines.liveportrait.random_weights import write_official_folder
from tools.bench.record import Record, Row, row
from tools.liveportrait_parity.official import Official, check_checkout

_PORTRAITS = 4
_SEED = 1


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, cpu")
    parser.add_argument("--weights", type=Path, help="official pretrained_weights; random ones by default")
    parser.add_argument("--narrow", action="store_true", help="random weights of a narrow network: to try the bench")
    parser.add_argument("--official", type=Path, help="a checkout of the official code, measured beside")
    parser.add_argument("--repeats", type=int, default=30, help="batches of each size")


async def measure(given: argparse.Namespace) -> Record:
    """Draw batches of each size, then as the official code does."""
    config = NARROW if given.narrow else OFFICIAL
    if given.official is not None:
        check_checkout(given.official)
    # What frames are held against is exact.
    torch.backends.cudnn.allow_tf32 = False
    with tempfile.TemporaryDirectory(prefix="avatar-bench-") as scratch:
        weights = given.weights
        if weights is None:
            weights = Path(scratch) / "random"
            write_official_folder(weights, config, seed=_SEED)
        rows, raw = _ours(given, weights, config, Path(scratch) / "kernels")
        if given.official is not None:
            rows += _official(given, weights, config)
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(given).items()}
    return Record("liveportrait", rows, settings, raw)


class _Scene:
    """What is drawn: portraits, and for each frame of a batch one of them and where its keypoints are."""

    def __init__(self, config: LivePortraitConfig) -> None:
        random = torch.Generator().manual_seed(_SEED)
        self.volumes = torch.randn((_PORTRAITS, *config.volume), generator=random)
        shape = (BATCH_SIZES[-1], config.motion.num_kp, 3)
        self.kp_source = 1.2 * torch.rand(shape, generator=random) - 0.6
        self.kp_driving = self.kp_source + 0.05 * torch.randn(shape, generator=random)


def _ours(
    given: argparse.Namespace, weights: Path, config: LivePortraitConfig, kernels: Path
) -> tuple[list[Row], dict[str, Any]]:
    networks, scene = load_networks(weights, config, given.device), _Scene(config)
    begin_s = time.perf_counter()
    fast = FastFrames(networks, kernels=kernels)
    slots = [fast.add_source(volume[None]) for volume in scene.volumes]
    fast.warm_up()
    rows = [row("warm-up, nothing compiled before", "s", [time.perf_counter() - begin_s], note=fast.way.name)]

    def frames(size: int, layout: PixelLayout) -> NDArray[np.uint8]:
        of = [slots[index % _PORTRAITS] for index in range(size)]
        return fast.render(of, scene.kp_source[:size], scene.kp_driving[:size], layout)

    for size in fast.batch_sizes:
        each_ms = [spent_ms / size for spent_ms in _timed(partial(frames, size, PixelLayout.I420), given.repeats)]
        goal = ("4.5", "2.5") if size == 1 else ("3.3", "2")
        rows.append(row(f"a frame of a batch of {size}, I420", "ms", each_ms, *goal))
    with torch.inference_mode():
        volume, kp_source, kp_driving = (
            part[:1].to(fast.device) for part in (scene.volumes, scene.kp_source, scene.kp_driving)
        )
        exact = to_rgb(networks.generator(networks.warping(volume, kp_source, kp_driving).out))
    rows.append(Row("picture against float32", "dB", 1, *3 * (_psnr(frames(1, PixelLayout.RGB), exact),), must="45"))
    if fast.device.type == "cuda":
        rows.append(row("device memory, most", "GiB", [torch.cuda.max_memory_allocated(fast.device) / 2**30]))
    return rows, {"way": fast.way.name, "slower_because": fast.way.reason, "device": _device_name(fast.device)}


def _official(given: argparse.Namespace, weights: Path, config: LivePortraitConfig) -> list[Row]:
    wrapper = Official(given.official, weights, config, given.device.partition(":")[0]).wrapper
    wrapper.inference_cfg.flag_use_half_precision = given.device != "cpu"
    scene = _Scene(config)
    rows = []
    for size in (1, 8):
        volumes = scene.volumes.repeat(2, 1, 1, 1, 1)[:size]
        volume, kp_source, kp_driving = (
            part[:size].to(wrapper.device) for part in (volumes, scene.kp_source, scene.kp_driving)
        )

        def frames(v: Tensor = volume, s: Tensor = kp_source, d: Tensor = kp_driving) -> Any:
            return wrapper.parse_output(wrapper.warp_decode(v, s, d)["out"])

        each_ms = [spent_ms / size for spent_ms in _timed(frames, given.repeats)]
        rows.append(row(f"official code, a frame of a batch of {size}, RGB", "ms", each_ms))
    return rows


def _timed(draw: Callable[[], object], repeats: int) -> list[float]:
    """Milliseconds from the call to the bytes on the host, after a few that are not counted."""
    for _ in range(3):
        draw()
    spent_ms = []
    for _ in range(repeats):
        begin_s = time.perf_counter()
        draw()
        spent_ms.append(1000 * (time.perf_counter() - begin_s))
    return spent_ms


def _psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return float(10 * np.log10(255.0**2 / max(error, 1e-9)))


def _device_name(device: torch.device) -> str:
    with suppress(RuntimeError, AssertionError, ValueError):
        return torch.cuda.get_device_name(device)
    return device.type
