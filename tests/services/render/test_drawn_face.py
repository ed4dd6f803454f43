"""Rendered frames, read back by the landmarker: the face does what its state says."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from services.render.blendshapes import Weights, rest, weights_of
from services.render.engine import FRAME_EDGE, MARGIN, FaceState, FrameJob, HeadPose, VideoCodec
from services.render.engines.mesh import MeshAvatar, MeshEngine
from services.render.expressions import ExpressionKind, expression_weights, gaze_weights
from services.render.image_file import decode
from services.render.landmarks import FaceLandmarker, Points
from services.render.portrait import Examined, PortraitExaminer
from services.render.visemes import SHAPES, Viseme

Look = Callable[..., Points]


@pytest.fixture(scope="module")
def look(engine: MeshEngine, ava: MeshAvatar, landmarker: FaceLandmarker) -> Look:
    """Draw the default face and find its landmarks, in units of its height."""

    def seen(weights: Weights | None = None, pose: HeadPose = HeadPose()) -> Points:  # noqa: B008
        frame = engine.paint(ava, FaceState(rest() if weights is None else weights, pose), FRAME_EDGE)
        (face,) = landmarker.find(frame)
        return face.points / np.float32(210.0)

    return seen


def aperture(points: Points) -> float:
    return float(np.mean([points[low, 1] - points[up, 1] for up, low in ((13, 14), (82, 87), (312, 317))]))


def width(points: Points) -> float:
    return float(points[291, 0] - points[61, 0])


def corners(points: Points) -> float:
    """Height of the mouth's corners above its middle."""
    return float((points[13, 1] + points[14, 1]) / 2 - (points[61, 1] + points[291, 1]) / 2)


def brows(points: Points, inner: bool) -> float:
    """Height of the brows above the eyes' corners."""
    brow, eye = ((55, 285), (133, 362)) if inner else ((70, 300), (33, 263))
    return float(np.mean([points[e, 1] - points[b, 1] for b, e in zip(brow, eye, strict=True)]))


def lids(points: Points) -> float:
    return float(np.mean([points[low, 1] - points[up, 1] for up, low in ((159, 145), (386, 374))]))


def test_lips_are_closed_at_rest_and_at_a_p_and_open_at_an_a(look: Look) -> None:
    at_rest, closed, opened = (aperture(look(SHAPES[v])) for v in (Viseme.SIL, Viseme.PP, Viseme.AA))
    assert closed <= at_rest + 0.004
    assert closed < 0.015
    assert opened > 0.09


def test_the_aperture_rises_with_the_jaw(look: Look) -> None:
    found = [aperture(look(weights_of({"jawOpen": jaw}))) for jaw in np.arange(0.0, 0.85, 0.12)]
    assert (np.diff(found) > 0.004).all(), found


def test_lips_are_rounded_at_an_oo_and_wide_at_an_ih(look: Look) -> None:
    rounded, at_rest, wide = (width(look(SHAPES[v])) for v in (Viseme.OU, Viseme.SIL, Viseme.IH))
    assert rounded < 0.85 * at_rest
    assert wide > 1.03 * at_rest


def test_the_eyes_shut_and_open_again(look: Look) -> None:
    open_lids = lids(look())
    heights = [lids(look(weights_of({"eyeBlink": shut}))) for shut in (0.35, 0.7, 1.0)]
    # The landmarker has hardly seen shut eyes: it finds them half open at most.
    assert open_lids > heights[0] > heights[1] > 0
    assert heights[1] < 0.75 * open_lids
    assert heights[2] < 0.65 * open_lids


@pytest.mark.parametrize("yaw", [25.0, -25.0])
def test_the_eyes_look_where_they_are_told(look: Look, yaw: float) -> None:
    straight, aside = look(), look(gaze_weights(yaw, 0.0))
    for iris, eye in ((468, (33, 133)), (473, (362, 263))):
        moved = (aside[iris] - aside[list(eye)].mean(0)) - (straight[iris] - straight[list(eye)].mean(0))
        assert np.sign(moved[0]) == np.sign(yaw)
        # The iris model is shy: it finds about half of the way.
        assert abs(moved[0]) > 0.007


@pytest.mark.parametrize(
    ("pose", "axis", "sign"),
    [(HeadPose(yaw=4), 0, 1), (HeadPose(yaw=-4), 0, -1), (HeadPose(pitch=4), 1, -1), (HeadPose(pitch=-4), 1, 1)],
)
def test_the_nose_leads_the_head(look: Look, pose: HeadPose, axis: int, sign: int) -> None:
    moved = look(pose=pose) - look()
    assert moved[1, axis] * sign > 0.015
    assert moved[1, axis] * sign > moved[[127, 356], axis].mean() * sign


def test_a_clockwise_roll_lowers_the_viewers_right_eye(look: Look) -> None:
    points = look(pose=HeadPose(roll=5))
    assert points[263, 1] - points[33, 1] > 0.02


@pytest.mark.parametrize(
    ("kind", "measure", "sign"),
    [
        (ExpressionKind.HAPPY, corners, 1),
        (ExpressionKind.HAPPY, width, 1),
        (ExpressionKind.SAD, corners, -1),
        (ExpressionKind.SAD, lambda p: brows(p, inner=True), 1),
        (ExpressionKind.SURPRISED, lambda p: brows(p, inner=False), 1),
        (ExpressionKind.SURPRISED, aperture, 1),
        (ExpressionKind.SURPRISED, lids, 1),
        (ExpressionKind.ANGRY, lambda p: brows(p, inner=True), -1),
        (ExpressionKind.ANGRY, corners, -1),
        (ExpressionKind.DISGUSTED, lambda p: brows(p, inner=True), -1),
        (ExpressionKind.DISGUSTED, corners, -1),
        (ExpressionKind.FEARFUL, lambda p: brows(p, inner=True), 1),
        (ExpressionKind.FEARFUL, lids, 1),
    ],
)
def test_an_expression_moves_what_it_should_and_more_when_it_is_stronger(
    look: Look, kind: ExpressionKind, measure: Callable[[Points], float], sign: int
) -> None:
    none, half, full = (measure(look(expression_weights(kind, intensity))) * sign for intensity in (0.0, 0.5, 1.0))
    assert full - none > 0.006
    assert none - 0.002 < half < full + 0.002


def test_the_background_stays_where_it_is_when_the_head_moves(engine: MeshEngine, ava: MeshAvatar) -> None:
    still = engine.paint(ava, FaceState(), FRAME_EDGE).astype(int)
    moved = engine.paint(ava, FaceState(pose=HeadPose(3, 2, 2)), FRAME_EDGE).astype(int)
    changed = np.abs(moved - still).max(-1) > 6
    assert changed[150:400, 150:360].mean() > 0.1
    assert not changed[:, :60].any()
    assert not changed[:, -60:].any()
    assert not changed[480:].any()


def test_at_rest_the_portrait_is_shown_as_it_is(engine: MeshEngine, ava: MeshAvatar, examined: Examined) -> None:
    frame = engine.paint(ava, FaceState(), FRAME_EDGE)
    original = examined.portrait.image_rgb[MARGIN:-MARGIN, MARGIN:-MARGIN]
    assert np.abs(frame.astype(int) - original).max() <= 12
    assert np.abs(frame.astype(int) - original).mean() < 0.2


def test_a_frame_is_made_well_within_its_time_on_one_core(engine: MeshEngine, ava: MeshAvatar) -> None:
    """The target is 5 ms and the limit 10 ms; the bound here leaves room for slow and busy machines."""
    cv2.setNumThreads(1)
    state = FaceState(
        weights_of({"jawOpen": 0.6, "mouthSmile": 0.3, "eyeBlink": 0.4, "eyeLookUp": 0.3}), HeadPose(2, 1, 1)
    )
    spent = []
    for _ in range(40):
        begin = time.thread_time()
        engine.draw([FrameJob(ava, state, FRAME_EDGE, VideoCodec.I420)])
        spent.append(time.thread_time() - begin)
    assert np.median(spent) < 0.020


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["mona-lisa.jpg", "girl-with-a-pearl-earring.jpg", "donna-velata.jpg", "sargent-lady-seated.jpg"]
)
def test_paintings_speak_and_shut_their_lips(
    engine: MeshEngine, examiner: PortraitExaminer, landmarker: FaceLandmarker, test_data: Path, name: str
) -> None:
    examined = examiner.examine(decode((test_data / "portraits" / name).read_bytes()))
    avatar = engine.prepare(examined.portrait)

    def at(viseme: Viseme) -> float:
        faces = landmarker.find(engine.paint(avatar, FaceState(SHAPES[viseme]), FRAME_EDGE))
        assert faces, f"{name} is no face any more at {viseme.name}"
        return aperture(faces[0].points) / 210.0

    at_rest, closed, opened = at(Viseme.SIL), at(Viseme.PP), at(Viseme.AA)
    assert closed <= max(at_rest, 0.012) + 0.003
    assert opened > closed + 0.025
