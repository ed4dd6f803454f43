"""What `bench/liveportrait.py` measures."""

from __future__ import annotations

import importlib
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from services.common.compiled_kernels import UnavailableError
from services.render.engines.liveportrait.config import NARROW, OFFICIAL
from services.render.engines.liveportrait.fast.acceleration import accelerated
from services.render.engines.liveportrait.fast.drawing import Drawing, Inputs
from services.render.engines.liveportrait.fast.frames import FastFrames, PixelLayout
from services.render.engines.liveportrait.fast.generate import FastGenerator
from services.render.engines.liveportrait.fast.pool import SourcePool
from services.render.engines.liveportrait.fast.warp import FastWarp
from services.render.engines.liveportrait.networks import Networks
from services.render.engines.liveportrait.random_weights import random_networks
from tools.bench.record import Row, row

_SIZES = {"official": OFFICIAL, "narrow": NARROW}
_SOURCES = 4
# Of each network alone, what a stream and what a full batch is drawn in.
_ALONE = (1, 8)


def figures(
    sizes: str, device_name: str, batches: Sequence[int], repeat: int, compiled: Path, official: Path | None
) -> tuple[list[Row], dict[str, Any]]:
    """Measure everything. Args: as the options. Returns: the table, and what the figures were measured on."""
    theirs = _official_classes(official) if official is not None else None
    config = _SIZES[sizes]
    device = torch.device(device_name or ("cuda" if torch.cuda.is_available() else "cpu"))
    networks = random_networks(config, 0).to(device)
    is_first = not any(compiled.glob("*"))
    torch.manual_seed(0)
    volumes = torch.randn(_SOURCES, *config.volume)
    kp_source = 0.4 * torch.randn(max(batches), config.motion.num_kp, 3)
    probe = _Probe(volumes, kp_source, kp_source + 0.05 * torch.randn(kp_source.shape))

    start_s = time.perf_counter()
    frames = FastFrames(networks, batches, _SOURCES, compiled)
    slots = [frames.add_source(volume[None]) for volume in volumes]
    order = [slots[index % _SOURCES] for index in range(max(batches))]
    frames.render(order[:1], *probe.keypoints(1))
    rows = [row("first frame, the networks being loaded", "s", [time.perf_counter() - start_s], "20")]
    start_s = time.perf_counter()
    frames.warm_up()
    took_s = [time.perf_counter() - start_s]
    start = "first start" if is_first else "kernels kept"
    rows.append(row(f"fast path ready behind, {start}", "s", took_s, "" if is_first else "20", note=frames.way.name))
    for size in frames.batch_sizes:
        rows += _batches_of(size, frames, order, probe, max(3, -(-repeat // size)))
    rows.append(_precision(frames, networks, order, probe))
    alone = sorted({min(size, max(batches)) for size in _ALONE})
    rows += _each_network(networks, probe, alone, repeat, compiled)
    if device.type == "cuda":
        rows.append(row("memory held at most", "GiB", [torch.cuda.max_memory_reserved(device) / 2**30]))
    rows.append(row("memory of a portrait", "MiB", [frames.source_bytes / 2**20]))
    if theirs is not None:
        rows += _official(theirs, networks, probe, alone, repeat)
    return rows, {"way": frames.way._asdict(), "machine": _machine(device)}


class _Probe(NamedTuple):
    """What is drawn: volumes, shape (_SOURCES, channels, depth, height, width), and keypoints of a largest batch."""

    volumes: Tensor
    kp_source: Tensor
    kp_driving: Tensor

    def keypoints(self, size: int) -> tuple[Tensor, Tensor]:
        """Of the source and driven, each of shape (size, num_kp, 3)."""
        return self.kp_source[:size], self.kp_driving[:size]


def _batches_of(size: int, frames: FastFrames, order: list[int], probe: _Probe, count: int) -> Iterator[Row]:
    inputs = order[:size], *probe.keypoints(size)
    walls_ms = [_wall_ms(lambda: frames.render(*inputs)) for _ in range(count)]
    goal = ("4.5", "2.5") if size == 1 else ("", "")
    yield row(f"batch of {size}, asked for until in memory", "ms", walls_ms, *goal)
    if size == 1:
        first = walls_ms[0] / float(np.median(walls_ms))
        yield row("first frame after ready, over the others", "", [first], "1.5")
    goal = ("300", "500") if size == frames.max_batch else ("", "")
    yield row(f"frames per second, batches of {size}", "1/s", [_rate(frames, inputs, count)], *goal)


def _wall_ms(draw: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    draw()
    return 1000 * (time.perf_counter() - start_s)


def _rate(frames: FastFrames, inputs: tuple[list[int], Tensor, Tensor], count: int) -> float:
    """Frames per second when the next batch is asked for before the last one is there."""
    start_s = time.perf_counter()
    pending = frames.submit(*inputs, PixelLayout.I420)
    for _ in range(count - 1):
        following = frames.submit(*inputs, PixelLayout.I420)
        pending.frames()
        pending = following
    pending.frames()
    return count * len(inputs[0]) / (time.perf_counter() - start_s)


def _precision(frames: FastFrames, networks: Networks, order: list[int], probe: _Probe) -> Row:
    """PSNR of each of some frames against the plain path in float32."""
    values = []
    for index in range(min(_SOURCES, len(order))):
        one = slice(index, index + 1)
        exact = _plain(networks, probe.volumes[one], probe.kp_source[one], probe.kp_driving[one])
        drawn = torch.from_numpy(frames.render(order[one], probe.kp_source[one], probe.kp_driving[one]))
        # Bytes are rounded down.
        error = ((drawn.movedim(-1, 1) + 0.5) / 255 - exact).square().mean()
        values.append(float(-10 * torch.log10(error)))
    return row("PSNR against the plain path in float32", "dB", values, "45")


def _plain(networks: Networks, volume: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
    device = next(networks.parameters()).device
    with torch.inference_mode(), _full_precision():
        warped = networks.warping(*(part.to(device) for part in (volume, kp_source, kp_driving)))
        image: Tensor = networks.generator(warped.out)
    return image.cpu()


@contextmanager
def _full_precision() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _each_network(
    networks: Networks, probe: _Probe, sizes: Sequence[int], repeat: int, compiled: Path
) -> Iterator[Row]:
    """W, G and the making of bytes on their own, in each of their forms."""
    device = next(networks.parameters()).device
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    with torch.inference_mode():
        plain = Drawing(FastWarp(networks.warping, dtype), FastGenerator(networks.generator, dtype))
        sources = [plain.warp.source(volume[None].to(device)) for volume in probe.volumes]
        pool = SourcePool(_SOURCES, sources[0])
        for source in sources:
            pool.add(source)
        forms = {"torch": plain}
        if device.type == "cuda":
            try:
                forms["triton"] = accelerated(networks, plain, pool, sizes, compiled)
            except UnavailableError as error:
                print(error, file=sys.stderr)
        for name, drawing in forms.items():
            for size in sizes:
                slots = torch.arange(size, device=device) % _SOURCES
                inputs = Inputs(slots, torch.stack(probe.keypoints(size)).to(device))
                yield from _timed(name, drawing, pool, inputs, max(3, repeat // size))


def _timed(name: str, drawing: Drawing, pool: SourcePool, inputs: Inputs, count: int) -> Iterator[Row]:
    keypoints = inputs.keypoints.unbind(0)
    seg = drawing.warp(pool.sources, inputs.slots, *keypoints)
    logits = drawing.generator(seg)
    parts: dict[str, Callable[[], object]] = {
        "W": lambda: drawing.warp(pool.sources, inputs.slots, *keypoints),
        "G": lambda: drawing.generator(seg),
        "bytes": lambda: drawing.generator.bytes_of(logits),
    }
    for part, draw in parts.items():
        yield row(f"{part} by {name}, batch of {len(inputs.slots)}", "ms", _device_ms(draw, count, seg.device))


def _device_ms(draw: Callable[[], object], count: int, device: torch.device) -> list[float]:
    """Each repetition; on a GPU without the gaps between launches, as a captured graph."""
    if device.type != "cuda":
        return [_wall_ms(draw) for _ in range(count)]
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        draw()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        draw()
    graph.replay()
    return _event_ms(graph.replay, count)


def _event_ms(draw: Callable[[], object], count: int) -> list[float]:
    times = []
    for _ in range(count):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        draw()
        end.record()
        end.synchronize()
        times.append(float(begin.elapsed_time(end)))
    return times


def _official(
    classes: tuple[Any, Any], networks: Networks, probe: _Probe, sizes: Sequence[int], repeat: int
) -> Iterator[Row]:
    """The official networks as the official pipeline runs them: float16 by autocast, cuDNN trying its algorithms."""
    device = next(networks.parameters()).device
    warping, generator = _official_networks(*classes, networks)
    benchmark = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    for size in sizes:
        feature = probe.volumes[torch.arange(size) % _SOURCES].to(device)
        source, driving = (part.to(device) for part in probe.keypoints(size))

        def draw(feature: Tensor = feature, source: Tensor = source, driving: Tensor = driving) -> Tensor:
            with torch.inference_mode(), torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
                warped = warping(feature, kp_source=source, kp_driving=driving)
                image: Tensor = generator(feature=warped["out"])
            return image

        draw()
        count = max(3, repeat // size // 2)
        times = _event_ms(draw, count) if device.type == "cuda" else [_wall_ms(draw) for _ in range(count)]
        yield row(f"official W and G, eager, batch of {size}", "ms", times)
    torch.backends.cudnn.benchmark = benchmark


def _official_classes(checkout: Path) -> tuple[Any, Any]:
    """W and G of a checkout. Raises: FileNotFoundError if it is none."""
    from tools.liveportrait_parity.official import check_checkout

    check_checkout(checkout)
    sys.path.insert(0, str(checkout.resolve()))
    modules = (importlib.import_module(f"src.modules.{name}") for name in ("warping_network", "spade_generator"))
    warping, generator = modules
    return warping.WarpingNetwork, generator.SPADEDecoder


def _official_networks(warping: Any, generator: Any, networks: Networks) -> tuple[Any, Any]:
    """With our weights, on our device."""
    from tools.liveportrait_parity.official import parameters_of

    device = next(networks.parameters()).device
    sizes = parameters_of(networks.config)
    theirs = warping(**sizes["warping_module_params"]), generator(**sizes["spade_generator_params"])
    for their, our in zip(theirs, (networks.warping, networks.generator), strict=True):
        their.load_state_dict(our.state_dict())
        their.to(device).eval()
    return theirs


def _machine(device: torch.device) -> dict[str, Any]:
    machine: dict[str, Any] = {"torch": torch.__version__, "python": platform.python_version()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        machine |= {
            "gpu": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return machine
