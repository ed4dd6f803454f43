"""Triton's kernels against plain operations: on a GPU, or with TRITON_INTERPRET=1 in Triton's interpreter."""

from __future__ import annotations

import importlib.util
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor

from services.render.engines.liveportrait.config import OFFICIAL, DenseMotionConfig, WarpingConfig
from services.render.engines.liveportrait.fast.folding import upsampled_kernels
from services.render.engines.liveportrait.fast.frames import FastFrames, PixelLayout
from services.render.engines.liveportrait.fast.pixels import i420_of, rgb_of
from services.render.engines.liveportrait.fast.warp import FastWarp, Sources
from services.render.engines.liveportrait.networks import Networks
from services.render.engines.liveportrait.random_weights import random_networks
from services.render.engines.liveportrait.warping import WarpingNetwork

IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1" and importlib.util.find_spec("triton") is not None
HAS_GPU = torch.cuda.is_available()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not HAS_GPU and not IS_INTERPRETED, reason="needs an NVIDIA GPU, or TRITON_INTERPRET=1 and Triton"
    ),
]
needs_gpu = pytest.mark.skipif(not HAS_GPU, reason="needs an NVIDIA GPU")
DEVICE = torch.device("cuda" if HAS_GPU else "cpu")
HALF = torch.float16
CLOSE = 2e-3
# Columns that a tile takes at least.
WIDTH = 64


def randn(*shape: int, dtype: torch.dtype = HALF) -> Tensor:
    return torch.randn(*shape, device=DEVICE).to(dtype)


def weight(outputs: int, inputs: int, *taps: int) -> Tensor:
    return torch.randn(outputs, inputs, *taps, device=DEVICE) / math.sqrt(math.prod((inputs, *taps)))


def relative_l2(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).norm() / b.float().norm())


def channels_first(x: Tensor) -> Tensor:
    return x.movedim(-1, 1).float()


@pytest.fixture(autouse=True)
def exact_and_the_same_each_time() -> Iterator[None]:
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("taps", [(3, 3, 3), (1, 7, 7), (1, 1, 1)])
def test_a_convolution_with_all_that_may_follow_it(taps: tuple[int, int, int]) -> None:
    from services.render.engines.liveportrait.fast.kernels.convolve import After, convolve, term_of

    x, kernel, bias = randn(2, 3, 4, WIDTH, 64), weight(48, 64, *taps), torch.randn(48, device=DEVICE)
    residual, scale = randn(2, 3, 4, WIDTH, 48), torch.rand(2 * 3 * 4 * WIDTH, device=DEVICE)
    after = After(bias, residual, 0.1, scale)
    drawn, _ = convolve([(x, term_of(kernel, HALF))], after)
    same = nnf.conv3d(channels_first(x), kernel, bias, padding=[tap // 2 for tap in taps]) + channels_first(residual)
    expected = nnf.leaky_relu(same, 0.1) * scale.reshape(2, 1, 3, 4, WIDTH)
    assert relative_l2(channels_first(drawn), expected) < CLOSE


def test_the_sum_of_two_convolutions_and_its_statistics() -> None:
    from services.render.engines.liveportrait.fast.kernels.convolve import After, convolve, statistics, term_of

    x, other = randn(2, 1, 4, WIDTH, 64), randn(2, 1, 4, WIDTH, 64)
    kernel, shortcut = weight(64, 64, 1, 3, 3), weight(64, 64, 1, 1, 1)
    # Far from zero, as features may be.
    bias = 5 * torch.randn(64, device=DEVICE)
    parts = [(x, term_of(kernel, HALF)), (other, term_of(shortcut, HALF))]
    drawn, moments = convolve(parts, After(bias, has_moments=True))
    expected = nnf.conv3d(channels_first(x), kernel, bias, padding=(0, 1, 1)) + nnf.conv3d(
        channels_first(other), shortcut
    )
    assert relative_l2(channels_first(drawn), expected) < CLOSE
    assert moments is not None
    mean, inverse = statistics(moments).unbind(1)
    pixels = expected.flatten(2)
    assert relative_l2(mean, pixels.mean(2)) < CLOSE
    assert relative_l2(inverse, 1 / torch.sqrt(pixels.var(2, unbiased=False) + 1e-5)) < CLOSE


@pytest.mark.parametrize("scale", [1, 2])
def test_spade_modulates_normalised_content(scale: int) -> None:
    from services.render.engines.liveportrait.fast.kernels.convolve import spade, spade_weight, term_of

    hidden, content = randn(2, 1, 4, WIDTH, 192), randn(2, 4 // scale, WIDTH // scale, 32)
    statistics = torch.rand(2, 2, 32, device=DEVICE) + 0.5
    gamma, beta, bias = weight(32, 64, 3, 3), weight(32, 64, 3, 3), torch.randn(2, 32, device=DEVICE)
    term = term_of(spade_weight(gamma, beta)[:, :, None], HALF)
    drawn = spade(content, statistics, hidden, 64, term, bias, scale, 0.2)[:, 0]
    seen = channels_first(hidden[:, 0, ..., 64:128])
    upsampled = nnf.interpolate(channels_first(content), scale_factor=scale)
    mean, inverse = statistics[..., None, None].unbind(1)
    expected = (upsampled - mean) * inverse * (1 + nnf.conv2d(seen, gamma, bias[0], padding=1))
    expected = nnf.leaky_relu(expected + nnf.conv2d(seen, beta, bias[1], padding=1), 0.2)
    assert relative_l2(channels_first(drawn), expected) < CLOSE


def test_features_upsampled_by_2_are_computed_at_their_own_size() -> None:
    from services.render.engines.liveportrait.fast.kernels.convolve import convolve_upsampled, upsampled_matrix

    x, kernel, bias = randn(2, 1, 4, WIDTH, 64), weight(64, 64, 3, 3), torch.randn(64, device=DEVICE)
    drawn = convolve_upsampled(x, upsampled_matrix(upsampled_kernels(kernel, 2), HALF), bias, 2)
    upsampled = nnf.interpolate(channels_first(x[:, 0]), scale_factor=2)
    expected = nnf.relu(nnf.conv2d(upsampled, kernel, bias, padding=1))
    assert relative_l2(channels_first(drawn[:, 0]), expected) < CLOSE


def test_features_upsampled_by_4_are_kept_by_class_until_spade_has_used_them() -> None:
    from services.render.engines.liveportrait.fast.kernels.convolve import (
        convolve_upsampled,
        copied_term,
        spade,
        spade_weight,
        upsampled_matrix,
    )

    x, kernel, bias = randn(1, 1, 2, WIDTH, 64), weight(64, 64, 3, 3), torch.randn(64, device=DEVICE)
    hidden = convolve_upsampled(x, upsampled_matrix(upsampled_kernels(kernel, 4), HALF), bias, 4)
    content, statistics = randn(1, 4, 2 * WIDTH, 16), torch.rand(1, 2, 16, device=DEVICE) + 0.5
    gamma, beta, offset = weight(16, 64, 3, 3), weight(16, 64, 3, 3), torch.randn(2, 16, device=DEVICE)
    term = copied_term(spade_weight(gamma, beta), HALF)
    drawn = spade(content, statistics, hidden, 0, term, offset, 2, 0.2)[:, 0]
    upsampled = nnf.interpolate(channels_first(x[:, 0]), scale_factor=4)
    seen = nnf.relu(nnf.conv2d(upsampled, kernel, bias, padding=1))
    mean, inverse = statistics[..., None, None].unbind(1)
    expected = (nnf.interpolate(channels_first(content), scale_factor=2) - mean) * inverse
    expected = expected * (1 + nnf.conv2d(seen, gamma, offset[0], padding=1))
    expected = nnf.leaky_relu(expected + nnf.conv2d(seen, beta, offset[1], padding=1), 0.2)
    assert relative_l2(channels_first(drawn), expected) < CLOSE


def test_w_by_kernels_is_w() -> None:
    from services.render.engines.liveportrait.fast.triton_warp import TritonWarp

    # As narrow as the tiles allow; both layers that are split have something on either side.
    config = WarpingConfig(9, 16, 64, 1, 16, DenseMotionConfig(24, 48, 2, 4, 4))
    network = WarpingNetwork(config).to(DEVICE).eval()
    plain, fast = FastWarp(network, HALF), TritonWarp(network, HALF)
    features = [plain.source(torch.randn(1, 16, 4, 16, WIDTH, device=DEVICE)) for _ in range(2)]
    sources = Sources(*(torch.cat(parts) for parts in zip(*features, strict=True)))
    source = 0.5 * torch.randn(3, 9, 3, device=DEVICE)
    driving = source + 0.2 * torch.randn(source.shape, device=DEVICE)
    slots = torch.tensor([1, 0, 1], device=DEVICE)
    assert relative_l2(fast(sources, slots, source, driving), plain(sources, slots, source, driving)) < CLOSE


def test_bytes_are_those_of_the_plain_operations() -> None:
    from services.render.engines.liveportrait.fast.kernels.image import bytes_of

    logits = 3 * torch.randn(2, 6, 10, 2, 2, 4, device=DEVICE)
    rgb, i420 = bytes_of(logits)
    # A value that both round down may fall on either side.
    assert int((rgb.int() - rgb_of(logits).int()).abs().max()) <= 1
    assert torch.equal(i420, i420_of(rgb))


@pytest.fixture(scope="module")
def official() -> Networks:
    return random_networks(OFFICIAL, 1).to(DEVICE)


@pytest.fixture(scope="module")
def frames(official: Networks, tmp_path_factory: pytest.TempPathFactory) -> FastFrames:
    frames = FastFrames(official, (1, 2, 4, 8), 4, tmp_path_factory.mktemp("kernels"))
    frames.warm_up()
    return frames


def official_inputs(batch: int) -> tuple[Tensor, Tensor]:
    source = 0.4 * torch.randn(batch, 21, 3)
    return source, source + 0.05 * torch.randn(source.shape)


@needs_gpu
def test_the_fastest_way_is_taken_on_this_gpu(frames: FastFrames) -> None:
    assert frames.way == ("graph+triton", "")


@needs_gpu
@pytest.mark.parametrize("batch", [1, 3, 8, 11])
def test_half_precision_is_45_db_from_single_precision(frames: FastFrames, official: Networks, batch: int) -> None:
    volumes = torch.randn(2, *OFFICIAL.volume, device=DEVICE)
    slots = [frames.add_source(volume[None]) for volume in volumes]
    source, driving = official_inputs(batch)
    drawn = frames.render([slots[index % 2] for index in range(batch)], source, driving)
    for index, frame in enumerate(drawn):
        keypoints = (part[index : index + 1].to(DEVICE) for part in (source, driving))
        exact = official.generator(official.warping(volumes[index % 2][None], *keypoints).out)
        wanted = (255 * exact[0]).movedim(0, -1).cpu().numpy()
        error = np.mean((frame + 0.5 - wanted) ** 2)
        assert 10 * np.log10(255**2 / error) > 45
    for slot in slots:
        frames.remove(slot)


@needs_gpu
def test_layouts_show_the_same_frame(frames: FastFrames) -> None:
    slot = frames.add_source(torch.randn(1, *OFFICIAL.volume, device=DEVICE))
    inputs = official_inputs(2)
    rgb = frames.render([slot] * 2, *inputs)
    i420 = frames.render([slot] * 2, *inputs, PixelLayout.I420)
    np.testing.assert_array_equal(i420, i420_of(torch.from_numpy(rgb)).numpy())
    np.testing.assert_array_equal(frames.render_on_device([slot] * 2, *inputs).cpu().numpy(), rgb)
    frames.remove(slot)


@needs_gpu
def test_frames_go_on_while_a_faster_way_is_made_ready(official: Networks, tmp_path: Path) -> None:
    frames = FastFrames(official, (1, 2), 2, tmp_path)
    slot = frames.add_source(torch.randn(1, *OFFICIAL.volume, device=DEVICE))
    inputs = official_inputs(1)
    before = frames.render([slot], *inputs)
    ready = threading.Thread(target=frames.warm_up)
    ready.start()
    drawn = [frames.render([slot], *inputs)]
    while ready.is_alive():
        drawn.append(frames.render([slot], *inputs))
    ready.join()
    after = frames.render([slot], *inputs)
    assert frames.way.name == "graph+triton"
    for frame in (*drawn, after):
        assert np.abs(frame.astype(int) - before).max() <= 3


@needs_gpu
def test_without_triton_graphs_serve(official: Networks) -> None:
    frames = FastFrames(official, (1, 2), 1, wants_triton=False)
    slot = frames.add_source(torch.randn(1, *OFFICIAL.volume, device=DEVICE))
    inputs = official_inputs(1)
    eager = frames.render([slot], *inputs)
    frames.warm_up()
    assert frames.way == ("graph", "Triton is switched off")
    np.testing.assert_array_equal(frames.render([slot], *inputs), eager)


@needs_gpu
def test_kernels_that_draw_something_else_are_not_used(official: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.render.engines.liveportrait.fast import triton_warp

    class Broken(triton_warp.TritonWarp):
        def finish(self, moved: Tensor, occlusion: Tensor) -> Tensor:
            return super().finish(moved.flip(3).contiguous(memory_format=torch.channels_last), occlusion)

    monkeypatch.setattr(triton_warp, "TritonWarp", Broken)
    frames = FastFrames(official, (1,), 1)
    frames.warm_up()
    assert frames.way.name == "graph"
    assert "draw another picture" in frames.way.reason
