"""Frames of many portraits in batches: the same code on a CPU as on a GPU, but for graphs and kernels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.common.errors import OverloadedError
from services.render.engine import VideoCodec
from services.render.engines.liveportrait.config import NARROW
from services.render.engines.liveportrait.fast.frames import FastFrames, PixelLayout
from services.render.engines.liveportrait.networks import Networks
from services.render.engines.liveportrait.pipeline import to_rgb
from services.render.video import encode

EDGE = NARROW.output_size


@pytest.fixture
def frames(networks: Networks) -> FastFrames:
    return FastFrames(networks, batch_sizes=(4, 1), max_sources=3)


@pytest.fixture(scope="module")
def volumes() -> Tensor:
    return torch.randn(3, *NARROW.volume, generator=torch.Generator().manual_seed(0))


def keypoints(batch: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(batch)
    source = 0.5 * torch.randn(batch, NARROW.motion.num_kp, 3, generator=random)
    return source, source + 0.1 * torch.randn(source.shape, generator=random)


def plain(networks: Networks, volumes: Tensor, source: Tensor, driving: Tensor) -> NDArray[np.uint8]:
    with torch.no_grad():
        return to_rgb(networks.generator(networks.warping(volumes, source, driving).out))


def assert_same(frames: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    """But for a rounding down that falls on the other side."""
    assert frames.shape == expected.shape
    away = np.abs(frames.astype(int) - expected)
    assert away.max() <= 1
    assert (away > 0).mean() < 1e-3


def test_each_frame_is_of_its_own_portrait(frames: FastFrames, networks: Networks, volumes: Tensor) -> None:
    slots = [frames.add_source(volume[None]) for volume in volumes]
    order = [2, 0, 0, 1]
    source, driving = keypoints(4)
    drawn = frames.render([slots[index] for index in order], source, driving)
    assert_same(drawn, plain(networks, volumes[order], source, driving))
    assert np.ptp(drawn) > 100


def test_more_frames_than_the_largest_batch_are_drawn_in_several(
    frames: FastFrames, networks: Networks, volumes: Tensor
) -> None:
    slot = frames.add_source(volumes[:1])
    source, driving = keypoints(11)
    drawn = frames.render([slot] * 11, source, driving)
    assert_same(drawn, plain(networks, volumes[:1].expand(11, -1, -1, -1, -1), source, driving))


def test_frames_that_are_begun_one_after_the_other_come_each_as_it_was_asked_for(
    frames: FastFrames, volumes: Tensor
) -> None:
    slot = frames.add_source(volumes[:1])
    source, driving = keypoints(3)
    pending = [frames.submit([slot], source[i : i + 1], driving[i : i + 1]) for i in range(3)]
    expected = frames.render([slot] * 3, source, driving)
    for one, frame in zip(pending, expected, strict=True):
        assert_same(one.frames(), frame[None])


def test_i420_is_of_the_same_frame(frames: FastFrames, volumes: Tensor) -> None:
    slot = frames.add_source(volumes[:1])
    source, driving = keypoints(2)
    rgb = frames.render([slot] * 2, source, driving)
    i420 = frames.render([slot] * 2, source, driving, PixelLayout.I420)
    assert i420.shape == (2, EDGE * 3 // 2, EDGE)
    for picture, coded in zip(rgb, i420, strict=True):
        assert coded.tobytes() == encode(picture, VideoCodec.I420)


def test_a_batch_may_stay_on_the_device(frames: FastFrames, volumes: Tensor) -> None:
    slot = frames.add_source(volumes[:1])
    source, driving = keypoints(2)
    on_device = frames.render_on_device([slot] * 2, source, driving)
    np.testing.assert_array_equal(on_device.numpy(), frames.render([slot] * 2, source, driving))


def test_a_slot_that_was_given_back_holds_another_portrait(
    frames: FastFrames, networks: Networks, volumes: Tensor
) -> None:
    first = frames.add_source(volumes[:1])
    frames.remove(first)
    second = frames.add_source(volumes[1:2])
    assert second == first
    source, driving = keypoints(1)
    assert_same(frames.render([second], source, driving), plain(networks, volumes[1:2], source, driving))


def test_one_portrait_too_many_is_refused_until_one_goes(frames: FastFrames, volumes: Tensor) -> None:
    slots = [frames.add_source(volume[None]) for volume in volumes]
    with pytest.raises(OverloadedError, match="3 portraits are ready") as refused:
        frames.add_source(volumes[:1])
    assert refused.value.limit == "max_sources=3"
    frames.remove(slots[1])
    assert frames.add_source(volumes[:1]) == slots[1]


def test_an_empty_slot_is_neither_drawn_nor_given_back(frames: FastFrames, volumes: Tensor) -> None:
    slot = frames.add_source(volumes[:1])
    frames.remove(slot)
    with pytest.raises(ValueError, match=f"no source in slot {slot}"):
        frames.render([slot], *keypoints(1))
    with pytest.raises(ValueError, match=f"no source in slot {slot}"):
        frames.remove(slot)
    with pytest.raises(ValueError, match="no source in slot 99"):
        frames.render([99], *keypoints(1))


def test_wrong_shapes_are_refused_with_the_right_ones_named(frames: FastFrames, volumes: Tensor) -> None:
    with pytest.raises(ValueError, match=r"has the shape \(1, 8, 4, 8, 8\), not \(2, 8, 4, 8, 8\)"):
        frames.add_source(volumes[:2])
    slot = frames.add_source(volumes[:1])
    source, driving = keypoints(2)
    with pytest.raises(ValueError, match=r"keypoints are \(1, 21, 3\), not \(2, 21, 3\) and \(1, 21, 3\)"):
        frames.submit([slot], source, driving[:1])
    with pytest.raises(ValueError, match="1 to 4 frames, not 5"):
        frames.submit([slot] * 5, *keypoints(5))
    with pytest.raises(ValueError, match="1 to 4 frames, not 0"):
        frames.submit([], *keypoints(0))


def test_batch_sizes_are_sorted_and_at_least_one(networks: Networks, frames: FastFrames) -> None:
    assert frames.batch_sizes == (1, 4)
    assert frames.max_batch == 4
    with pytest.raises(ValueError, match=r"1 or more, not \(0, 2\)"):
        FastFrames(networks, batch_sizes=(0, 2))


def test_nothing_is_drawn_of_nothing(frames: FastFrames) -> None:
    with pytest.raises(ValueError, match="1 to 4 frames, not 0"):
        frames.render([], *keypoints(0))


def test_the_cpu_says_so_and_has_nothing_to_warm_up(frames: FastFrames) -> None:
    steps: list[str] = []
    frames.warm_up(steps.append)
    assert frames.way == ("cpu plain", "there is no GPU")
    assert steps == []


def test_what_a_source_takes_is_known(frames: FastFrames) -> None:
    channels, depth, height, width = NARROW.volume
    voxels = depth * height * width
    assert frames.source_bytes == 4 * voxels * (channels + NARROW.warping.dense_motion.compress)
