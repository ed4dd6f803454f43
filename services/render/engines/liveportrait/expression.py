"""From a face's state (ARKit's 52 weights and the head's pose) to what drives a portrait: one linear map.

Speech reaches this place with co-articulation and closures, expressions with their blends, eyes with blinks and glances
(`services/render/performance.py`), so nothing here knows time. Two parts of it are the portrait's own: what shuts its
eyes, which their retargeting network says once, and how far its lips part for the same speech.

How far each slider goes is chosen so that speech spans the range of the official templates ("open" from -40 for a
pressed p to 66 for aa; their talking face spans 92), and eyes, brows and mouth reach what the faces in them reach. As
`sliders.py` says, no picture has been seen; `avatar verify render` shows them to whoever has the published weights, and
fits the gain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.render.blendshapes import INDEX, Weights, weights_of
from services.render.engine import FaceState
from services.render.engines.liveportrait.clip import MotionClip
from services.render.engines.liveportrait.drive import KEYPOINTS, DriveFrame, Expression
from services.render.engines.liveportrait.ratios import Ratios
from services.render.engines.liveportrait.sliders import expression_of

# Blendshape at 1: sliders in their units. A name without Left or Right means both sides together, half for each.
# Not in it, because no slider moves what they name: cheekPuff and jawForward.
_SPEECH: dict[str, dict[str, float]] = {
    "jawOpen": {"open": 95},
    "jawLeft": {"mouth_aside": 0.012},
    "jawRight": {"mouth_aside": -0.012},
    "mouthClose": {"open": -28},
    "mouthFunnel": {"open": 4, "purse": 6.5},
    "mouthLeft": {"mouth_aside": 0.02},
    "mouthRight": {"mouth_aside": -0.02},
    "mouthLowerDown": {"open": 2, "grin": 3},
    "mouthPress": {"open": -18},
    "mouthPucker": {"open": 12, "purse": 10},
    "mouthRollLower": {"open": -27},
    "mouthRollUpper": {"open": -10},
    "mouthShrugLower": {"open": -8},
    "mouthShrugUpper": {"open": -4},
    "mouthStretch": {"open": 10, "grin": 10},
    "mouthUpperUp": {"open": 12, "grin": 2.5},
    # The tongue lies where it would shut the view: the mouth looks less open than the jaw is.
    "tongueOut": {"open": -4},
}
_MOOD: dict[str, dict[str, float]] = {
    "mouthDimple": {"smile": 0.15},
    "mouthFrown": {"smile": -0.2},
    "mouthSmile": {"smile": 0.6},
    "browDown": {"knit": 10},
    "browInnerUp": {"raise": 6, "knit": 3},
    "browOuterUp": {"raise": 7, "knit": -3},
    "noseSneer": {"knit": 4, "grin": 3},
}
_EYES: dict[str, dict[str, float]] = {
    "cheekSquintLeft": {"lids_left": -2},
    "cheekSquintRight": {"lids_right": -2},
    "eyeSquintLeft": {"lids_left": -6},
    "eyeSquintRight": {"lids_right": -6},
    "eyeWideLeft": {"lids_left": 9},
    "eyeWideRight": {"lids_right": 9},
    # A look of 30 degrees aside moves the iris so far; the app's slider goes twice as far.
    "eyeLookInLeft": {"left_in": 15},
    "eyeLookInRight": {"right_in": 15},
    "eyeLookOutLeft": {"left_out": 15},
    "eyeLookOutRight": {"right_out": 15},
    # 20 degrees; both eyes look up or down together.
    "eyeLookUp": {"look_up": 40},
    "eyeLookDown": {"look_up": -40},
}
# A lid falls by so many units of its slider for each unit of the eye ratio that it shuts.
_SHUTTING = 45.0

# "open" is 19.y in thousandths, which rises by 0.12 for each unit of the official lip ratio (`sliders.py`).
_OPEN_PER_RATIO = 120.0

MIN_GAIN, MAX_GAIN = 0.3, 3.0


def _one(name: str) -> Weights:
    """Weights of a blendshape at 1; where it has two sides, half of it each."""
    weights = weights_of({name: 1.0})
    return np.asarray(weights / weights.sum(), np.float32)


# Shape (52, 63): what each blendshape at 1 adds to the expression.
EXPRESSION_OF_WEIGHTS: NDArray[np.float32] = np.sum(
    [np.outer(_one(name), expression_of(sliders)) for name, sliders in (_SPEECH | _MOOD | _EYES).items()], axis=0
)
# Shape (52,): how far each parts the lips in speech, in units of "open".
_OPENING: Weights = np.sum([_one(name) * sliders.get("open", 0.0) for name, sliders in _SPEECH.items()], axis=0)
_OPEN = expression_of({"open": 1.0})
# Each lid: its blink, the weights that move it besides, and what shuts an eye of ratio 1.
_LIDS = tuple(
    (
        INDEX[f"eyeBlink{side}"],
        [INDEX[f"{name}{side}"] for name in ("eyeSquint", "eyeWide", "cheekSquint")],
        expression_of({f"lids_{side.lower()}": -_SHUTTING}),
    )
    for side in ("Left", "Right")
)


def asked_lip_ratio(weights: Weights) -> float:
    """How open a mouth shape asks the lips to be, in the official unit of `Ratios`; 0 for one that shuts them."""
    return max(float(weights @ _OPENING), 0.0) / _OPEN_PER_RATIO


@dataclass(frozen=True, slots=True)
class Performer:
    """How one portrait follows the state of its face.

    Attributes:
        ratios: how open its own eyes and lips are.
        shut_eyes: shape (21, 3), what shuts both eyes, in the unit of an expression: the shift of the network for eyes
            that brings this portrait's to 0, over the portrait's scale.
        gain: MIN_GAIN to MAX_GAIN, how far its lips part for the same speech; closures do not depend on it.
    """

    ratios: Ratios
    shut_eyes: Expression
    gain: float = 1.0

    def drive(self, state: FaceState) -> DriveFrame:
        """What drives the portrait, recorded motion included; nothing at all, exactly, for a face at rest."""
        weights = np.clip(state.weights, 0.0, 1.0).astype(np.float32)
        blinks = [float(weights[blink]) for blink, _, _ in _LIDS]
        for blink, (_, others, _) in zip(blinks, _LIDS, strict=True):
            # A lid that is shut is neither wide nor squinting.
            weights[others] *= np.float32(1.0 - blink)
        exp = (weights @ EXPRESSION_OF_WEIGHTS).reshape(KEYPOINTS, 3)
        exp += _OPEN * np.float32((self.gain - 1.0) * max(float(weights @ _OPENING), 0.0))
        both = min(blinks)
        exp += self.shut_eyes * np.float32(both)
        # What one eye does beyond the other is its slider's. The person's left eye is on the viewer's right.
        for blink, ratio, (_, _, shut) in zip(
            blinks, (self.ratios.eye_right, self.ratios.eye_left), _LIDS, strict=True
        ):
            exp += shut * np.float32(ratio * (blink - both))
        pose = state.pose
        frame = DriveFrame(exp, pitch=-pose.pitch, yaw=-pose.yaw, roll=pose.roll)
        for driving in state.driven:
            assert isinstance(driving.motion, MotionClip), "read by another engine"
            recorded = driving.motion.at(driving.offset_s).eased(driving.share)
            frame = frame.and_also(recorded.without_lips(driving.speech))
        return frame
