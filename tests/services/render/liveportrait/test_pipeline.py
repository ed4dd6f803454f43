"""The plain path: batches whose rows do not know each other, and what each part of a drive does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from services.render.engines.liveportrait.config import NARROW
from services.render.engines.liveportrait.keypoints import Motion, edited, place
from services.render.engines.liveportrait.pipeline import LIPS_CLOSED_BELOW, Drive, Pipeline, Source, to_rgb
from services.render.engines.liveportrait.retargeting import retarget, stitch
from tools.liveportrait_parity.probe import make_probe

SIZE = NARROW.image_size
NAN = float("nan")
PORTRAITS = np.concatenate([make_probe(SIZE, seed).portraits_rgb for seed in (7, 8)])[:3]
EYES = torch.tensor([[0.3, 0.31], [0.2, 0.25], [0.4, 0.4]])
# Closed, open, open.
LIP = torch.tensor([[0.01], [0.2], [LIPS_CLOSED_BELOW]])


def portrait(pipeline: Pipeline, index: int) -> Source:
    one = slice(index, index + 1)
    return pipeline.prepare(PORTRAITS[one], EYES[one], LIP[one])


@pytest.fixture
def source(pipeline: Pipeline) -> Source:
    return pipeline.prepare(PORTRAITS, EYES, LIP)


def exp_of(rows: int) -> Tensor:
    return 0.03 * torch.randn(rows, 21, 3, generator=torch.Generator().manual_seed(rows))


def row(motion: Motion, index: int) -> Motion:
    one = slice(index, index + 1)
    return Motion(motion.rotation[one], motion.exp[one], motion.scale[one], motion.t[one])


def test_a_frame_is_the_same_alone_and_in_any_company(pipeline: Pipeline, source: Source) -> None:
    motion = edited(source.face, exp=exp_of(3), yaw=torch.tensor([5.0, -10.0, 0.0]))
    eye, lip = torch.tensor([[0.1], [NAN], [0.3]]), torch.tensor([[NAN], [0.4], [NAN]])
    together = pipeline.frames(source, Drive(motion, eye, lip))
    for index in range(3):
        one = slice(index, index + 1)
        alone = pipeline.frames(portrait(pipeline, index), Drive(row(motion, index), eye[one], lip[one]))
        torch.testing.assert_close(together[one], alone, atol=1e-5, rtol=0)


def test_a_neighbour_that_is_broken_harms_nobody(pipeline: Pipeline, source: Source) -> None:
    motion = edited(source.face, exp=exp_of(3))
    whole = pipeline.frames(source, Drive(motion))
    motion.exp[1] = NAN
    broken = pipeline.frames(source, Drive(motion))
    assert broken[1].isnan().any()
    assert torch.equal(broken[[0, 2]], whole[[0, 2]])


def test_sources_are_stacked_in_their_order_and_may_repeat(pipeline: Pipeline, source: Source) -> None:
    second, first = portrait(pipeline, 1), portrait(pipeline, 0)
    stacked = Source.stacked([second, first, second])
    for name in ("volume", "x_s", "eye_ratios", "lip_ratio", "lip_shift"):
        torch.testing.assert_close(getattr(stacked, name), getattr(source, name)[[1, 0, 1]], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(stacked.face.pitch, source.face.pitch[[1, 0, 1]])


def test_a_portrait_that_nothing_drives_stays_where_it_is(pipeline: Pipeline, source: Source) -> None:
    still = Drive(source.face.motion, closes_lips=False, stitches=False)
    assert torch.equal(pipeline.driven(source, still), source.x_s)


def test_open_lips_are_closed_first_and_closed_ones_left(pipeline: Pipeline, source: Source) -> None:
    closing = retarget(pipeline.networks.lip, source.x_s, torch.cat([LIP, torch.zeros(3, 1)], dim=1))
    assert not source.lip_shift[0].any()
    torch.testing.assert_close(source.lip_shift[1:], closing[1:])
    drive = Drive(source.face.motion, stitches=False)
    torch.testing.assert_close(pipeline.driven(source, drive), source.x_s + source.lip_shift)


def test_lips_are_closed_after_stitching_and_opened_before_it(pipeline: Pipeline, source: Source) -> None:
    motion, networks = edited(source.face, exp=exp_of(3)), pipeline.networks
    lip = torch.tensor([[0.5], [0.5], [NAN]])
    driven = pipeline.driven(source, Drive(motion, lip_ratio=lip))
    opening = retarget(networks.lip, source.x_s, torch.cat([LIP, torch.full((3, 1), 0.5)], dim=1))
    placed = place(source.face.kp, motion)
    opened = stitch(networks.stitching, source.x_s, placed + opening)
    closed = stitch(networks.stitching, source.x_s, placed) + source.lip_shift
    torch.testing.assert_close(driven, torch.cat([opened[:2], closed[2:]]))


def test_eyes_open_as_wanted_where_something_is_wanted(pipeline: Pipeline, source: Source) -> None:
    wanted = torch.tensor([[0.1], [NAN], [0.0]])
    drive = Drive(source.face.motion, eye_ratio=wanted, closes_lips=False, stitches=False)
    shift = pipeline.driven(source, drive) - source.x_s
    asked = retarget(pipeline.networks.eye, source.x_s, torch.cat([EYES, wanted], dim=1))
    assert not shift[1].any()
    torch.testing.assert_close(shift[[0, 2]], asked[[0, 2]], atol=1e-6, rtol=1e-5)


def test_pixels_are_rgb_from_0_to_1(pipeline: Pipeline) -> None:
    image = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    image[0, 2, 5] = (255, 51, 0)
    pixels = pipeline.pixels(image)
    assert pixels.shape == (1, 3, SIZE, SIZE)
    torch.testing.assert_close(pixels[0, :, 2, 5], torch.tensor([1.0, 0.2, 0.0]))
    assert float(pixels.sum()) == pytest.approx(1.2)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, SIZE, SIZE, 3), np.float32),
        np.zeros((SIZE, SIZE, 3), np.uint8),
        np.zeros((1, SIZE, SIZE + 1, 3), np.uint8),
        np.zeros((1, 3, SIZE, SIZE), np.uint8),
    ],
)
def test_other_pictures_are_refused_with_the_right_shape_named(pipeline: Pipeline, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=rf"uint8 of shape \(b, {SIZE}, {SIZE}, 3\), not {wrong.dtype}"):
        pipeline.pixels(wrong)


def test_pictures_are_rounded_down_as_the_official_ones() -> None:
    images = torch.tensor([0.0, 0.999 / 255, 1 / 255 + 1e-6, 254.9 / 255, 1.0, 0.5]).view(1, 3, 1, 2)
    pictures = to_rgb(images)
    assert pictures.shape == (1, 1, 2, 3)
    assert pictures.dtype == np.uint8
    assert pictures.flags.c_contiguous
    assert pictures[0, 0].T.ravel().tolist() == [0, 0, 1, 254, 255, 127]


def test_a_frame_has_eight_times_the_volumes_edge(pipeline: Pipeline, source: Source) -> None:
    frames = pipeline.frames(source, Drive(source.face.motion))
    assert frames.shape == (3, 3, NARROW.output_size, NARROW.output_size)
    assert source.volume.shape[1:] == NARROW.volume
