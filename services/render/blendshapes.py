"""ARKit's 52 blendshapes: the language in which motion speaks to any engine that draws a face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

# The order of Started.blendshape_names and of FaceState.blendshape_weights. Left and right are the person's own.
BLENDSHAPE_NAMES = (
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight"),
    *("eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight"),
    *("eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight"),
    *("eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight"),
    *("jawForward", "jawLeft", "jawOpen", "jawRight"),
    *("mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel"),
    *("mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker"),
    *("mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *("mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight"),
    *("mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight", "tongueOut"),
)
INDEX = {name: index for index, name in enumerate(BLENDSHAPE_NAMES)}
COUNT = len(BLENDSHAPE_NAMES)

# Shape (52,), each in [0, 1].
Weights: TypeAlias = NDArray[np.float32]


def rest() -> Weights:
    """The face at rest: every weight 0."""
    return np.zeros(COUNT, np.float32)


def weights_of(values: Mapping[str, float]) -> Weights:
    """Weights by name, the others 0.

    Args: values: a name without Left or Right that has both sides sets both.
    Raises: KeyError for a name that ARKit does not have.
    """
    weights = rest()
    for name, value in values.items():
        for part in (name,) if name in INDEX else (f"{name}Left", f"{name}Right"):
            weights[INDEX[part]] = value
    return weights
