"""Recorded motion: between its frames, at its ends, on the disk, and official templates of both kinds."""

from __future__ import annotations

import io
import pickle
import zipfile
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError
from services.render.engines.liveportrait.clip import MAX_DURATION_S, MAX_FRAMES, MotionClip, clip_of_npz
from services.render.engines.liveportrait.template import clip_of_template
from tests.fakes.motion import motion_clip, template_file, template_of, turned_by
from tests.fuzz.mutate import mutated

CLIP = motion_clip()


def assert_same(one: MotionClip, other: MotionClip) -> None:
    assert one.rate_hz == other.rate_hz
    for name in ("exp", "rotation", "scale", "t"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


def test_its_beginning_moves_nothing() -> None:
    first = CLIP.at(0.0)
    assert not first.exp.any()
    assert not first.t.any()
    assert first.scale == 1.0
    np.testing.assert_allclose(first.rotation, np.eye(3), atol=1e-6)


def test_a_frame_is_what_changed_since_the_first() -> None:
    at = CLIP.at(10 / 25)
    np.testing.assert_allclose(at.exp, CLIP.exp[10] - CLIP.exp[0], atol=1e-7)
    np.testing.assert_allclose(at.rotation, turned_by(10.0), atol=1e-6)
    assert at.scale == pytest.approx(CLIP.scale[10] / CLIP.scale[0])
    np.testing.assert_allclose(at.t, CLIP.t[10] - CLIP.t[0], atol=1e-7)


def test_between_two_frames_it_is_a_mixture_of_them() -> None:
    at = CLIP.at(10.25 / 25)
    np.testing.assert_allclose(at.exp, 0.75 * CLIP.exp[10] + 0.25 * CLIP.exp[11] - CLIP.exp[0], atol=1e-6)
    np.testing.assert_allclose(at.rotation, turned_by(10.25), atol=1e-6)


def test_a_clip_of_30_frames_a_second_plays_as_fast_at_25() -> None:
    fast = motion_clip(61, 30.0)
    for index in range(50):
        turn = fast.at(index / 25).rotation
        assert np.degrees(np.arctan2(-turn[0, 2], turn[0, 0])) == pytest.approx(30 * index / 25, abs=1e-3)


@pytest.mark.parametrize(("before_s", "end_s"), [(-1.0, 0.0), (2.5, 49 / 25), (1e9, 49 / 25)])
def test_its_ends_stay(before_s: float, end_s: float) -> None:
    np.testing.assert_allclose(CLIP.at(before_s).exp, CLIP.at(end_s).exp)
    np.testing.assert_allclose(CLIP.at(before_s).rotation, CLIP.at(end_s).rotation)


def test_it_lasts_to_the_end_of_its_last_frame() -> None:
    assert (CLIP.frame_count, CLIP.duration_s) == (50, 2.0)


def test_an_absolute_clip_is_the_recorded_face_itself() -> None:
    at = replace(CLIP, is_absolute=True).at(10 / 25)
    assert at.is_absolute
    np.testing.assert_allclose(at.exp, CLIP.exp[10], atol=1e-7)
    np.testing.assert_allclose(at.rotation, turned_by(10.0), atol=1e-6)


def test_what_is_kept_comes_back() -> None:
    assert_same(clip_of_npz(CLIP.to_file()), CLIP)
    with np.load(io.BytesIO(CLIP.to_file()), allow_pickle=False) as arrays:
        assert set(arrays) == {"format", "rate_hz", "exp", "rotation", "scale", "t"}


def npz(**changes: Any) -> bytes:
    """A kept clip in which something is otherwise; None leaves it out."""
    with np.load(io.BytesIO(CLIP.to_file())) as arrays:
        kept = {name: arrays[name] for name in arrays.files} | changes
    file = io.BytesIO()
    np.savez(file, **{name: value for name, value in kept.items() if value is not None})
    return file.getvalue()


def rewritten(compression: int, member: str = "", content: bytes = b"") -> bytes:
    """A kept clip, packed anew. Args: member: whose content is replaced."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(CLIP.to_file())) as old, zipfile.ZipFile(file, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, content if name == member else old.read(name))
    return file.getvalue()


def npy(array: NDArray[Any], shape: tuple[int, ...] | None = None) -> bytes:
    """An array as .npy. Args: shape: in its header, instead of its own."""
    file = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(file, header | ({"shape": shape} if shape else {}))
    return file.getvalue() + array.tobytes("A")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (b"", "no motion of this project's"),
        (b"PK\x03\x04 and more", "no motion of this project's"),
        (npz(format=np.array("something")), "its format is not avatar-motion-1"),
        (npz(rate_hz=None), "rate_hz.npy"),
        (npz(exp=None), "exp.npy"),
        (npz(exp=np.array([{}], object)), "exp.npy is object"),
        (npz(exp=CLIP.exp.astype(np.int64)), "exp.npy is int64"),
        (npz(exp=CLIP.exp[:, :20]), r"exp of the motion has the shape \(50, 20, 3\); \(50, 21, 3\)"),
        (npz(exp=np.float32(1.0)), "has 0 frames"),
        (npz(t=CLIP.t[:-1]), r"t of the motion has the shape \(49, 3\)"),
        (npz(exp=np.where(CLIP.exp > 0, np.nan, CLIP.exp)), "exp of the motion holds what is no finite number"),
        (npz(exp=CLIP.exp.astype(np.float64) * 1e300), "exp of the motion holds what is no finite number"),
        (npz(exp=CLIP.exp * 1000), "exp of the motion goes beyond"),
        (npz(t=CLIP.t * 1000), "t of the motion goes beyond"),
        (npz(scale=CLIP.scale * 0), "scale of the motion leaves"),
        (npz(rotation=CLIP.rotation * 1.1), "rotation of the motion is none"),
        (npz(rotation=-CLIP.rotation), "rotation of the motion is none"),
        (npz(rate_hz=np.array(0.0)), "0.0 frames per second; 1 to 120 can be"),
        (npz(rate_hz=np.array(np.nan)), "nan frames per second"),
        (npz(rate_hz=np.array([25.0])), "its format is not"),
        (rewritten(zipfile.ZIP_DEFLATED), "is compressed"),
        (rewritten(zipfile.ZIP_STORED, "exp.npy", npy(CLIP.exp, (10**10, 21, 3))), "not as long as it says"),
        (rewritten(zipfile.ZIP_STORED, "exp.npy", npy(CLIP.exp)[:-4]), "not as long as it says"),
        (rewritten(zipfile.ZIP_STORED, "exp.npy", npy(np.asfortranarray(CLIP.exp))), "not as long as it says"),
        (rewritten(zipfile.ZIP_STORED, "exp.npy", b"\x93NUMPY\x03\x00"), "another version"),
        (CLIP.to_file()[:-100], "no motion of this project's"),
    ],
)
def test_what_is_no_clip_is_refused_in_words(file: bytes, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        clip_of_npz(file)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("how", [{}, {"is_old": True}, {"has_ratios": False}])
def test_official_templates_of_every_kind_are_read(protocol: int, how: dict[str, bool]) -> None:
    assert_same(clip_of_template(template_file(CLIP, protocol, **how)), CLIP)


def test_a_template_without_a_rate_has_the_official_one() -> None:
    template = template_of(CLIP)
    del template["output_fps"]
    assert clip_of_template(pickle.dumps(template)).rate_hz == 25.0


def broken(**changes: Any) -> dict[str, Any]:
    """A template in which something is otherwise; in the fourth frame, if it belongs to frames."""
    template = template_of(CLIP)
    for name, value in changes.items():
        at = template["motion"][3] if name in template["motion"][3] else template
        at[name] = value
        if value is None:
            del at[name]
    return template


F4 = np.float32


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ([], "no list of frames called 'motion'"),
        ({"motion": {}}, "no list of frames called 'motion'"),
        (np.zeros((1, 21, 3)), "no list of frames called 'motion'"),
        (broken(n_frames=49), "says n_frames 49 and has 50 frames"),
        (broken(n_frames="50"), "says n_frames 50 and has 50 frames"),
        (broken(n_frames=None), "says n_frames NoneType and has 50 frames"),
        (broken(output_fps="25"), "output_fps of the template is 25; a number"),
        (broken(output_fps=0), "0 frames per second; 1 to 120 can be"),
        (broken(output_fps=10**400), "frames per second; 1 to 120 can be"),
        (broken(output_fps=float("nan")), "nan frames per second"),
        (broken(R=None), "frame 3 of the template has no R"),
        (broken(exp=np.zeros((1, 20, 3), F4)), r"exp of frame 3 of the template is float32 of \(1, 20, 3\); floats of"),
        (broken(exp=np.zeros((1, 21, 3), np.int64)), "exp of frame 3 of the template is int64"),
        (broken(t=[0.0, 0.0, 0.0]), "t of frame 3 of the template is list; floats"),
        (broken(scale=1.0), "scale of frame 3 of the template is float; floats"),
        (broken(exp=np.full((1, 21, 3), np.inf, F4)), "exp of the motion holds what is no finite number"),
        (broken(exp=np.full((1, 21, 3), 1e300)), "exp of the motion holds what is no finite number"),
        (broken(R=np.zeros((1, 3, 3), F4)), "rotation of the motion is none"),
        (broken(motion=[3] * 50), "frame 0 of the template has no exp"),
        (broken(c_eyes_lst=[]), "c_eyes_lst of the template is no list of 50 ratios"),
        (broken(c_lip_lst=[np.zeros((1, 2), F4)] * 50), "c_lip_lst of frame 0 of the template is float32"),
        (template_of(motion_clip(1)), "has 1 frames; 2 or more make a motion"),
        ({"n_frames": 0, "motion": []}, "has 0 frames; 2 or more make a motion"),
        (template_of(motion_clip(MAX_FRAMES + 1, 100.0)), "lasts 90 s in 9001 frames; 300 s and 9000"),
        (template_of(motion_clip(int(MAX_DURATION_S) + 1, 1.0)), "lasts 301 s in 301 frames; 300 s and 9000"),
    ],
)
def test_what_is_no_template_is_refused_in_words(template: Any, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        clip_of_template(pickle.dumps(template, 4))


SEEDS = [template_file(motion_clip(3)), template_file(motion_clip(3), is_old=True), motion_clip(3).to_file()]


@settings(deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 2))
def test_damaged_files_are_read_or_refused(random: Random, index: int) -> None:
    data = mutated(SEEDS[index], random, SEEDS)
    try:
        clip = clip_of_npz(data) if index == 2 else clip_of_template(data)
    except InvalidRequestError:
        return
    for offset_s in (0.0, 0.05, clip.duration_s):
        frame = clip.at(offset_s)
        assert np.isfinite(frame.exp).all()
        assert np.isfinite(frame.rotation).all()
