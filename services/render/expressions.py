"""Seven expressions and where eyes look, as ARKit weights."""

from __future__ import annotations

from enum import IntEnum

from services.render.blendshapes import Weights, weights_of
from services.render.engine import HeadPose

MAX_GAZE_YAW, MAX_GAZE_PITCH = 30.0, 20.0


class ExpressionKind(IntEnum):
    """Numbered as in avatar.render.v1.ExpressionKind."""

    NEUTRAL = 1
    HAPPY = 2
    SAD = 3
    SURPRISED = 4
    ANGRY = 5
    DISGUSTED = 6
    FEARFUL = 7


_SHAPES: dict[ExpressionKind, dict[str, float]] = {
    ExpressionKind.NEUTRAL: {},
    ExpressionKind.HAPPY: {
        "mouthSmile": 1.0,
        "cheekSquint": 0.7,
        "eyeSquint": 0.7,
        "mouthDimple": 0.3,
        "browOuterUpLeft": 0.15,
        "browOuterUpRight": 0.15,
    },
    ExpressionKind.SAD: {
        "browInnerUp": 0.95,
        "browDown": 0.12,
        "mouthFrown": 0.95,
        "mouthShrugLower": 0.45,
        "eyeBlink": 0.18,
        "eyeLookDown": 0.12,
    },
    ExpressionKind.SURPRISED: {
        "browInnerUp": 0.85,
        "browOuterUpLeft": 0.95,
        "browOuterUpRight": 0.95,
        "eyeWide": 0.9,
        "jawOpen": 0.30,
        "mouthFunnel": 0.25,
    },
    ExpressionKind.ANGRY: {
        "browDown": 1.0,
        "eyeSquint": 0.45,
        "eyeWide": 0.15,
        "noseSneer": 0.35,
        "mouthFrown": 0.55,
        "mouthPress": 0.6,
    },
    ExpressionKind.DISGUSTED: {
        "noseSneer": 1.0,
        "browDown": 0.65,
        "eyeSquint": 0.6,
        "cheekSquint": 0.5,
        "mouthUpperUp": 0.35,
        "mouthFrown": 0.6,
        "mouthShrugLower": 0.35,
    },
    ExpressionKind.FEARFUL: {
        "browInnerUp": 1.0,
        "browOuterUpLeft": 0.35,
        "browOuterUpRight": 0.35,
        "browDown": 0.25,
        "eyeWide": 1.0,
        "mouthStretch": 0.75,
        "jawOpen": 0.10,
        "mouthFrown": 0.25,
        "mouthLowerDown": 0.2,
    },
}
# Degrees: yaw, pitch, roll.
_POSES: dict[ExpressionKind, HeadPose] = {
    ExpressionKind.HAPPY: HeadPose(0.0, 0.8, 1.5),
    ExpressionKind.SAD: HeadPose(0.0, -2.6, -1.6),
    ExpressionKind.SURPRISED: HeadPose(0.0, 1.6, 0.0),
    ExpressionKind.ANGRY: HeadPose(0.0, -2.0, 0.0),
    ExpressionKind.DISGUSTED: HeadPose(1.5, 0.8, -1.8),
    ExpressionKind.FEARFUL: HeadPose(0.0, 1.0, -0.8),
}


def expression_weights(kind: ExpressionKind, intensity: float) -> Weights:
    """Shape (52,). Args: intensity: 0 to 1."""
    return weights_of({name: value * intensity for name, value in _SHAPES[kind].items()})


def expression_pose(kind: ExpressionKind, intensity: float) -> HeadPose:
    """How an expression holds the head. Args: intensity: 0 to 1."""
    pose = _POSES.get(kind, HeadPose())
    return HeadPose(pose.yaw * intensity, pose.pitch * intensity, pose.roll * intensity)


def gaze_weights(yaw: float, pitch: float) -> Weights:
    """Where both eyes look, shape (52,).

    Args: yaw: to the viewer's right, -30 to 30 degrees; pitch: upwards, -20 to 20 degrees. What is outside is clipped.
    """
    side = min(abs(yaw) / MAX_GAZE_YAW, 1.0)
    height = min(abs(pitch) / MAX_GAZE_PITCH, 1.0)
    # The viewer's right is the person's left.
    outwards, inwards = ("Left", "Right") if yaw > 0 else ("Right", "Left")
    vertical = "eyeLookUp" if pitch > 0 else "eyeLookDown"
    return weights_of({f"eyeLookOut{outwards}": side, f"eyeLookIn{inwards}": side, vertical: height})
