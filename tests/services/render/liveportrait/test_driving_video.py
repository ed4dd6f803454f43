"""Driving videos: the face is followed and cut as officially, pictures come at a steady rate, and limits are said."""

from __future__ import annotations

import math
import struct
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError
from services.render.engines.liveportrait import driving_video
from services.render.engines.liveportrait.config import NARROW
from services.render.engines.liveportrait.crop import DRIVING, outline_of_mesh, square_around
from services.render.engines.liveportrait.driving_video import clip_of_video, container_of
from services.render.engines.liveportrait.keypoints import Face
from services.render.engines.liveportrait.pipeline import Pipeline
from services.render.engines.liveportrait.reading import FaceReader
from services.render.image_file import decode
from services.render.landmarks import Face as Found
from services.render.landmarks import FaceLandmarker, Points
from tests.fakes.videos import Image, encoded, moved
from tests.fuzz.mutate import mutated

SIZE = 64


class SeenFaces:
    """M in its place: keeps what it is given, and answers with a count and the mean colour."""

    def __init__(self) -> None:
        self.images: list[Image] = []
        self.batches: list[int] = []

    def __call__(self, images: NDArray[np.uint8]) -> Face:
        self.batches.append(len(images))
        count = torch.arange(len(self.images), len(self.images) + len(images)).float()
        self.images += list(images)
        b = len(images)
        still = torch.zeros(b)
        t = torch.stack([count, torch.from_numpy(images.mean(axis=(1, 2, 3))).float() / 255, still], dim=1)
        return Face(torch.zeros(b, 21, 3), still, still, still, torch.zeros(b, 21, 3), torch.ones(b, 1), t)


@pytest.fixture(scope="module")
def ava(default_file: bytes) -> Image:
    return decode(default_file)


@pytest.fixture(scope="module")
def swaying(ava: Image) -> bytes:
    """A second at 20 pictures per second, in which a head sways."""
    return encoded([moved(ava, right=30 * math.sin(k / 3), roll=10 * math.sin(k / 4)) for k in range(20)], 20)


def test_every_picture_is_read_in_its_order_and_in_batches(landmarker: FaceLandmarker, swaying: bytes) -> None:
    seen = SeenFaces()
    clip = clip_of_video(swaying, landmarker, FaceReader(), seen, SIZE)
    assert (clip.frame_count, clip.rate_hz, clip.duration_s) == (20, 20.0, 1.0)
    assert seen.batches == [16, 4]
    assert clip.t[:, 0].tolist() == list(range(20))
    assert all(image.shape == (SIZE, SIZE, 3) for image in seen.images)


def test_the_head_moves_in_one_upright_square(landmarker: FaceLandmarker, ava: Image) -> None:
    pictures = [moved(ava, right=right, roll=roll) for right, roll in ((0, 0), (60, 0), (0, 20), (0, 0))]
    seen = SeenFaces()
    clip_of_video(encoded(pictures), landmarker, FaceReader(), seen, 256)
    faces = [landmarker.find(image)[0].points for image in seen.images]
    outlines = [outline_of_mesh(points) for points in faces]
    still, aside, tilted, again = outlines
    # The square takes the mean of what the official framing takes of each picture.
    extents = [square_around(outline, DRIVING).edge / 2.2 for outline in outlines]
    assert np.mean(extents) == pytest.approx(256 / 2.2, rel=0.03)
    # 60 of the picture's 720 pixels, in a square that is shown at 256.
    grown = 256 / (256 * 720 / 360) * (360 / 720)
    assert aside.eyes[0] - still.eyes[0] > 20 * grown
    assert math.degrees(square_around(tilted, DRIVING).angle) == pytest.approx(20, abs=4)
    np.testing.assert_allclose(again.eyes, still.eyes, atol=2.0)


def test_a_face_is_cut_like_the_official_driving_crop(landmarker: FaceLandmarker, ava: Image) -> None:
    seen = SeenFaces()
    clip_of_video(encoded([moved(ava)] * 3), landmarker, FaceReader(), seen, 256)
    square = square_around(outline_of_mesh(landmarker.find(seen.images[1])[0].points), DRIVING)
    # What was cut is the very square that would be cut of it again.
    assert square.edge == pytest.approx(256, rel=0.03)
    assert (square.x, square.y) == pytest.approx((128, 128), abs=5)


def test_m_reads_the_video(landmarker: FaceLandmarker, pipeline: Pipeline, swaying: bytes) -> None:
    with torch.inference_mode():
        clip = clip_of_video(swaying, landmarker, FaceReader(), pipeline.read, NARROW.image_size)
    assert not clip.at(0.0).exp.any()
    assert np.abs(clip.at(0.4).exp).max() > 1e-5
    later = clip.at(0.4).rotation
    np.testing.assert_allclose(later @ later.T, np.eye(3), atol=1e-5)


@pytest.mark.parametrize(("container", "codec"), [("mov", "libx264"), ("webm", "libvpx"), ("matroska", "mpeg4")])
def test_other_containers_are_read(landmarker: FaceLandmarker, ava: Image, container: str, codec: str) -> None:
    file = encoded([moved(ava)] * 4, 25, container, codec)
    assert clip_of_video(file, landmarker, FaceReader(), SeenFaces(), SIZE).frame_count == 4


def test_a_video_of_60_pictures_a_second_is_read_at_30(landmarker: FaceLandmarker, ava: Image) -> None:
    clip = clip_of_video(encoded([moved(ava)] * 12, 60), landmarker, FaceReader(), SeenFaces(), SIZE)
    assert (clip.frame_count, clip.rate_hz) == (6, 30.0)


def test_gaps_are_filled_and_time_is_kept(landmarker: FaceLandmarker, ava: Image) -> None:
    dark, bright = moved(ava) // 2, moved(ava)
    file = encoded([dark, dark, bright, bright], 10, times_s=[0.0, 0.1, 0.5, 0.6])
    clip = clip_of_video(file, landmarker, FaceReader(), SeenFaces(), SIZE)
    assert clip.frame_count == round(0.6 * clip.rate_hz) + 1
    is_bright = clip.t[:, 1] > clip.t[:, 1].mean()
    assert is_bright[round(0.5 * clip.rate_hz) :].all()
    assert not is_bright[: round(0.1 * clip.rate_hz) + 1].any()


def test_what_a_phone_wrote_on_its_side_is_turned_upright(landmarker: FaceLandmarker, ava: Image) -> None:
    upright = SeenFaces()
    clip_of_video(encoded([moved(ava)] * 2), landmarker, FaceReader(), upright, SIZE)
    lying = encoded([np.rot90(moved(ava), 1)] * 2)
    # The header's matrix, after times, layer and volume: turn by a quarter, clockwise.
    at = lying.index(b"tkhd") + 4 + 40
    matrix = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 360 << 16, 0, 1 << 30)
    turned = SeenFaces()
    clip_of_video(lying[:at] + matrix + lying[at + 36 :], landmarker, FaceReader(), turned, SIZE)
    assert np.abs(turned.images[0].astype(int) - upright.images[0]).mean() < 6


def test_a_face_may_be_hidden_for_a_moment(landmarker: FaceLandmarker, ava: Image) -> None:
    grey = np.full((360, 360, 3), 128, np.uint8)
    file = encoded([*[moved(ava)] * 4, *[grey] * 8, *[moved(ava)] * 4])
    assert clip_of_video(file, landmarker, FaceReader(), SeenFaces(), SIZE).frame_count == 16


def refused(landmarker: FaceLandmarker, file: bytes) -> str:
    with pytest.raises(InvalidRequestError) as refusal:
        clip_of_video(file, landmarker, FaceReader(), SeenFaces(), SIZE)
    return str(refusal.value)


def test_a_video_without_a_face_says_where(landmarker: FaceLandmarker, ava: Image) -> None:
    grey = np.full((360, 360, 3), 128, np.uint8)
    assert "begins without a face" in refused(landmarker, encoded([grey] * 5))
    assert "shows no face at 0.9 s" in refused(landmarker, encoded([*[moved(ava)] * 10, *[grey] * 20]))


def test_limits_are_said(landmarker: FaceLandmarker, ava: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    file = encoded([moved(ava)] * 30)
    monkeypatch.setattr(driving_video, "MAX_VIDEO_S", 1.0)
    assert "lasts at most 1 s" in refused(landmarker, file)
    monkeypatch.setattr(driving_video, "MAX_PIXELS", 1000)
    assert "pictures of 360 x 360 are too large; 1000 pixels" in refused(landmarker, file)
    monkeypatch.setattr(driving_video, "MAX_VIDEO_BYTES", 1000)
    assert "at most 64 MiB" in refused(landmarker, file)
    monkeypatch.setattr(driving_video, "_MAX_MP4_SAMPLES", 5)
    monkeypatch.setattr(driving_video, "MAX_VIDEO_BYTES", 10**9)
    assert "announces more than 5 samples" in refused(landmarker, file)


def test_a_time_far_ahead_is_no_reason_to_make_pictures_up_to_it(landmarker: FaceLandmarker, ava: Image) -> None:
    file = encoded([moved(ava)] * 2, 25, "matroska", "mpeg4", times_s=[0.0, 1e4])
    assert "lasts at most 60 s" in refused(landmarker, file)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (b"", "no video in a known format"),
        (b"#EXTM3U\nfile:///etc/passwd", "no video in a known format"),
        (b"\0\0\0\x18ftypisom" + bytes(100), "damaged or cut off"),
        (b"\x1aE\xdf\xa3" + bytes(100), "damaged or cut off"),
    ],
)
def test_what_is_no_video_is_refused_in_words(landmarker: FaceLandmarker, file: bytes, words: str) -> None:
    assert words in refused(landmarker, file)


def test_a_video_that_is_cut_off_is_refused(landmarker: FaceLandmarker, swaying: bytes) -> None:
    assert "damaged or cut off" in refused(landmarker, swaying[: len(swaying) // 2])


def test_a_video_in_an_unknown_coding_says_so(landmarker: FaceLandmarker, swaying: bytes) -> None:
    assert "coded in a way that is not known" in refused(landmarker, swaying.replace(b"avc1", b"zzzz"))


def test_containers_are_told_by_their_first_bytes(swaying: bytes) -> None:
    assert container_of(swaying) == "mov"
    assert container_of(b"RIFF....AVI ") is None


class Blind(FaceLandmarker):
    """Sees the same face everywhere: decoding is tried, and not looking."""

    def __init__(self, face: Found) -> None:
        self._face = face

    def find(self, image_rgb: Image) -> list[Found]:
        return [self._face]

    def follow(self, image_rgb: Image, last: Points) -> Points:
        return last


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(random=st.randoms(use_true_random=False))
def test_damaged_videos_are_read_or_refused(
    landmarker: FaceLandmarker, ava: Image, swaying: bytes, random: Random
) -> None:
    blind = Blind(landmarker.find(moved(ava))[0])
    try:
        clip_of_video(mutated(swaying, random), blind, FaceReader(), SeenFaces(), 16)
    except InvalidRequestError as refusal:
        said = str(refusal)
    else:
        said = "it was read, and that is right too"
    assert len(said) > 20
