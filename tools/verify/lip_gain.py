"""How far a portrait's lips must be driven so that they part as far as speech asks: a gain, fitted to measured lips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.render.engines.liveportrait.expression import MAX_GAIN, MIN_GAIN

# Gains that are drawn and measured; between them lips are taken to move in straight lines.
GAINS = (MIN_GAIN, 0.5, 0.75, 1.0, 1.4, 2.0, MAX_GAIN)
# Lips that part by less over the whole range of gains do not follow it.
_LEAST_RESPONSE = 0.05
_STEPS = 271


@dataclass(frozen=True, slots=True)
class LipGain:
    """A fit. Attributes: error, error_before: lip ratios off what is asked, root mean square, with it and with 1."""

    gain: float
    error_before: float
    error: float


def fit(measured: NDArray[np.float64], asked: Sequence[float], gains: Sequence[float] = GAINS) -> LipGain | None:
    """The gain by which lips come closest to what is asked, in least squares over the mouth shapes.

    Args:
        measured: shape (gains, shapes), lip ratios; NaN where no face was found, and that shape is left out.
        asked: shape (shapes,), lip ratios.
        gains: rising; 1 is among them.
    Returns: None where no shape was measured at every gain, or lips do not follow the gain.
    """
    whole = ~np.isnan(measured).any(axis=0)
    lips, goal = measured[:, whole], np.asarray(asked)[whole]
    if not whole.any() or float((lips[-1] - lips[0]).max()) < _LEAST_RESPONSE:
        return None
    tried = np.linspace(gains[0], gains[-1], _STEPS)
    between = np.stack([np.interp(tried, gains, column) for column in lips.T], axis=1)
    errors = np.sqrt(((between - goal) ** 2).mean(axis=1))
    before = float(np.sqrt(((lips[list(gains).index(1.0)] - goal) ** 2).mean()))
    best = int(np.argmin(errors))
    return LipGain(float(tried[best]), before, float(errors[best]))
