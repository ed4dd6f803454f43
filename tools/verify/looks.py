"""Every way in which a face is asked to look, and what was seen of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from services.render.blendshapes import weights_of
from services.render.engine import FaceState, FrameRgb, HeadPose
from services.render.expressions import (
    MAX_GAZE_PITCH,
    MAX_GAZE_YAW,
    ExpressionKind,
    expression_pose,
    expression_weights,
    gaze_weights,
)
from services.render.visemes import Viseme, shape_of
from tools.verify.face_measures import FaceMeasures

TURN_DEGREES, TILT_DEGREES, ROLL_DEGREES = 12.0, 8.0, 8.0


@dataclass(frozen=True, slots=True)
class Look:
    """One way a face can look. Attributes: group: which row of the sheet it stands in."""

    group: str
    name: str
    state: FaceState


@dataclass(frozen=True, slots=True)
class Seen:
    """A look, drawn. Attributes: measures: None where no face was found in the picture."""

    look: Look
    picture: FrameRgb
    measures: FaceMeasures | None


def looks() -> Iterator[Look]:
    """Everything that a face is asked to do: mouth shapes, expressions, gaze, lids and head, each to its end."""
    yield Look("at rest", "rest", FaceState())
    for viseme in Viseme:
        yield Look("mouth shapes", viseme.name, FaceState(shape_of(viseme)))
    for kind in ExpressionKind:
        for intensity in (0.5, 1.0):
            weights = expression_weights(kind, intensity).clip(0.0, 1.0)
            name = f"{kind.name.lower()} {intensity:g}"
            yield Look("expressions", name, FaceState(weights, expression_pose(kind, intensity)))
    for name, yaw, pitch in (("left", -1, 0), ("right", 1, 0), ("up", 0, 1), ("down", 0, -1)):
        gaze = gaze_weights(yaw * MAX_GAZE_YAW, pitch * MAX_GAZE_PITCH)
        yield Look("gaze", f"looks {name}", FaceState(gaze))
    for name, blinks in (
        ("half shut", {"eyeBlink": 0.5}),
        ("shut", {"eyeBlink": 1.0}),
        ("wink right", {"eyeBlinkLeft": 1.0}),
        ("wink left", {"eyeBlinkRight": 1.0}),
    ):
        yield Look("lids", name, FaceState(weights_of(blinks)))
    for name, pose in (
        ("turned left", HeadPose(yaw=-TURN_DEGREES)),
        ("turned right", HeadPose(yaw=TURN_DEGREES)),
        ("up", HeadPose(pitch=TILT_DEGREES)),
        ("down", HeadPose(pitch=-TILT_DEGREES)),
        ("rolled left", HeadPose(roll=-ROLL_DEGREES)),
        ("rolled right", HeadPose(roll=ROLL_DEGREES)),
    ):
        yield Look("head", name, FaceState(pose=pose))
