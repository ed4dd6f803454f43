"""The rewritten networks compute what the plain ones do, and bytes are those of the plain path and of OpenCV."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from services.render.engine import VideoCodec
from services.render.engines.liveportrait.config import (
    NARROW,
    DenseMotionConfig,
    GeneratorConfig,
    WarpingConfig,
)
from services.render.engines.liveportrait.fast.drawing import Drawing, Inputs
from services.render.engines.liveportrait.fast.generate import FastGenerator
from services.render.engines.liveportrait.fast.pixels import i420_of, image_of, rgb_of
from services.render.engines.liveportrait.fast.warp import FastWarp, Sources
from services.render.engines.liveportrait.generator import SpadeGenerator
from services.render.engines.liveportrait.networks import Networks
from services.render.engines.liveportrait.pipeline import to_rgb
from services.render.engines.liveportrait.warping import WarpingNetwork
from services.render.video import encode

CLOSE = 1e-4


def relative_l2(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def sources_of(warp: FastWarp, volumes: Tensor) -> Sources:
    parts = [warp.source(volume[None]) for volume in volumes]
    return Sources(*(torch.cat(part) for part in zip(*parts, strict=True)))


def random_keypoints(batch: int, number: int) -> tuple[Tensor, Tensor]:
    """Some of them beyond the picture's edge."""
    random = torch.Generator().manual_seed(1)
    source = 0.7 * torch.randn(batch, number, 3, generator=random)
    return source, source + 0.2 * torch.randn(source.shape, generator=random)


@pytest.mark.usefixtures("without_gradients")
def test_the_rewritten_w_is_w(networks: Networks) -> None:
    volumes = torch.randn(3, *NARROW.volume, generator=torch.Generator().manual_seed(0))
    keypoints = random_keypoints(4, NARROW.warping.num_kp)
    warp = FastWarp(networks.warping, torch.float32)
    slots = torch.tensor([2, 0, 1, 2])
    drawn = warp(sources_of(warp, volumes), slots, *keypoints)
    assert relative_l2(drawn, networks.warping(volumes[slots], *keypoints).out) < CLOSE


@pytest.mark.usefixtures("without_gradients")
@pytest.mark.parametrize("levels", [1, 3])
def test_the_rewritten_w_is_w_whatever_its_sizes(levels: int) -> None:
    torch.manual_seed(0)
    config = WarpingConfig(5, 4, 24, 1, 6, DenseMotionConfig(4, 12, levels, 4, 2))
    network = WarpingNetwork(config).eval()
    volume, keypoints = torch.randn(1, 6, 4, 8, 16), random_keypoints(1, 5)
    warp = FastWarp(network, torch.float32)
    drawn = warp(warp.source(volume), torch.tensor([0]), *keypoints)
    assert relative_l2(drawn, network(volume, *keypoints).out) < CLOSE


@pytest.mark.usefixtures("without_gradients")
def test_the_rewritten_g_is_g(networks: Networks) -> None:
    size = NARROW.feature_size
    seg = torch.randn(2, NARROW.generator.in_channels, size, size, generator=torch.Generator().manual_seed(0))
    logits = FastGenerator(networks.generator, torch.float32)(seg)
    assert relative_l2(image_of(logits), networks.generator(seg)) < CLOSE


@pytest.mark.usefixtures("without_gradients")
def test_the_rewritten_g_is_g_where_its_last_block_keeps_its_channels() -> None:
    torch.manual_seed(0)
    network = SpadeGenerator(GeneratorConfig(4, 8, 1, 8, 16)).eval()
    seg = torch.randn(1, 8, 4, 6)
    assert relative_l2(image_of(FastGenerator(network, torch.float32)(seg)), network(seg)) < CLOSE


@pytest.mark.usefixtures("without_gradients")
def test_a_drawing_is_the_two_networks_in_a_row(networks: Networks) -> None:
    drawing = Drawing(FastWarp(networks.warping, torch.float32), FastGenerator(networks.generator, torch.float32))
    volume = torch.randn(1, *NARROW.volume, generator=torch.Generator().manual_seed(0))
    keypoints = random_keypoints(1, NARROW.warping.num_kp)
    inputs = Inputs(torch.tensor([0]), torch.stack(keypoints))
    expected = networks.generator(networks.warping(volume, *keypoints).out)
    sources = drawing.warp.source(volume)
    assert relative_l2(image_of(drawing.logits(sources, inputs)), expected) < CLOSE
    frames = drawing.frames(sources, inputs)
    np.testing.assert_array_equal(frames.rgb.numpy(), to_rgb(image_of(drawing.logits(sources, inputs))))
    assert torch.equal(frames.i420, i420_of(frames.rgb))


@pytest.fixture
def logits() -> Tensor:
    return 3 * torch.randn(2, 8, 12, 2, 2, 4, generator=torch.Generator().manual_seed(0))


def test_bytes_are_those_of_the_plain_path(logits: Tensor) -> None:
    np.testing.assert_array_equal(rgb_of(logits).numpy(), to_rgb(image_of(logits)))


def test_i420_is_what_the_service_codes(logits: Tensor) -> None:
    rgb = rgb_of(logits)
    for frame, i420 in zip(rgb, i420_of(rgb), strict=True):
        assert i420.numpy().tobytes() == encode(frame.numpy(), VideoCodec.I420)


def test_i420_rounds_all_colours_as_opencv_does() -> None:
    steps = torch.arange(0, 256, 5, dtype=torch.uint8)
    # Every colour fills four pixels.
    colours = torch.cartesian_prod(steps, steps, steps).reshape(1, -1, 52, 3)
    rgb = colours.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2).contiguous()
    expected = cv2.cvtColor(rgb[0].numpy(), cv2.COLOR_RGB2YUV_I420)
    np.testing.assert_array_equal(i420_of(rgb)[0].numpy(), expected)


@pytest.fixture
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield
