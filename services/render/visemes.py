"""The 15 mouth shapes of speech as ARKit weights, and how strongly each one holds against its neighbours."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from services.render.blendshapes import Weights, weights_of


class Viseme(IntEnum):
    """The Oculus set, numbered as in avatar.media.v1.Viseme."""

    SIL = 1
    PP = 2
    FF = 3
    TH = 4
    DD = 5
    KK = 6
    CH = 7
    SS = 8
    NN = 9
    RR = 10
    AA = 11
    E = 12
    IH = 13
    OH = 14
    OU = 15


# Shapes that the eye misses at once when they are not reached: the lips meet, or the lip meets the teeth.
CLOSURES = frozenset({Viseme.PP, Viseme.FF})

_SHAPES: dict[Viseme, dict[str, float]] = {
    Viseme.SIL: {},
    Viseme.PP: {"mouthClose": 1.0, "mouthPress": 0.65},
    Viseme.FF: {"jawOpen": 0.03, "mouthRollLower": 0.9, "mouthUpperUp": 0.65},
    Viseme.TH: {"jawOpen": 0.16, "tongueOut": 0.9, "mouthLowerDown": 0.25, "mouthUpperUp": 0.1},
    Viseme.DD: {"jawOpen": 0.13, "tongueOut": 0.6, "mouthStretch": 0.15, "mouthUpperUp": 0.2, "mouthLowerDown": 0.2},
    Viseme.KK: {"jawOpen": 0.19, "mouthStretch": 0.1, "mouthUpperUp": 0.1, "mouthLowerDown": 0.1},
    Viseme.CH: {"jawOpen": 0.07, "mouthFunnel": 0.62, "mouthPucker": 0.3, "mouthUpperUp": 0.12},
    Viseme.SS: {"jawOpen": 0.04, "mouthStretch": 0.4, "mouthUpperUp": 0.28, "mouthLowerDown": 0.38},
    Viseme.NN: {"jawOpen": 0.14, "tongueOut": 0.7, "mouthStretch": 0.12, "mouthUpperUp": 0.15, "mouthLowerDown": 0.1},
    Viseme.RR: {"jawOpen": 0.14, "mouthFunnel": 0.4, "mouthPucker": 0.25, "mouthLowerDown": 0.15},
    Viseme.AA: {"jawOpen": 0.66, "mouthUpperUp": 0.2, "mouthLowerDown": 0.15},
    Viseme.E: {"jawOpen": 0.30, "mouthStretch": 0.35, "mouthUpperUp": 0.3, "mouthLowerDown": 0.25},
    Viseme.IH: {"jawOpen": 0.17, "mouthStretch": 0.5, "mouthUpperUp": 0.3, "mouthLowerDown": 0.3},
    Viseme.OH: {"jawOpen": 0.48, "mouthFunnel": 0.5, "mouthPucker": 0.15},
    Viseme.OU: {"jawOpen": 0.12, "mouthPucker": 1.0, "mouthFunnel": 0.28},
}

# Lips are rounded through the consonants around a rounded vowel, while a k or an n takes the shape of its neighbours.
_DOMINANCE: dict[Viseme, float] = {
    Viseme.SIL: 1.0,
    Viseme.PP: 1.0,
    Viseme.FF: 1.0,
    Viseme.TH: 0.8,
    Viseme.DD: 0.5,
    Viseme.KK: 0.4,
    Viseme.CH: 1.1,
    Viseme.SS: 0.7,
    Viseme.NN: 0.5,
    Viseme.RR: 0.7,
    Viseme.AA: 1.2,
    Viseme.E: 1.0,
    Viseme.IH: 1.0,
    Viseme.OH: 1.2,
    Viseme.OU: 1.3,
}


def shape_of(viseme: Viseme) -> Weights:
    """The mouth of a viseme held alone, shape (52,)."""
    return weights_of(_SHAPES[viseme])


# Row n is the viseme numbered n; row 0 is nothing.
SHAPES: NDArray[np.float32] = np.stack([weights_of({}), *(shape_of(viseme) for viseme in Viseme)])
DOMINANCE: NDArray[np.float32] = np.array([0.0, *(_DOMINANCE[viseme] for viseme in Viseme)], np.float32)
