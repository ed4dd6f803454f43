"""Whether sound and lips are what the voice made, and in step: measured on what the browser heard and painted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from avatar.media.v1 import media_pb2
from numpy.typing import NDArray

from services.common.timing import seconds_of
from services.render.landmarks import FaceLandmarker
from tools.bench.browser import SAMPLE_RATE_HZ, Frame, Sound

# How far each mouth shape asks the lips apart, 0 to 1; rounded lips leave a smaller gap than the jaw does. Not from
# the engine, whose own table this judges.
_OPENING = {
    media_pb2.VISEME_AA: 1.0,
    media_pb2.VISEME_OH: 0.6,
    media_pb2.VISEME_E: 0.65,
    media_pb2.VISEME_IH: 0.45,
    media_pb2.VISEME_KK: 0.35,
    media_pb2.VISEME_TH: 0.35,
    media_pb2.VISEME_DD: 0.3,
    media_pb2.VISEME_NN: 0.3,
    media_pb2.VISEME_RR: 0.3,
    media_pb2.VISEME_OU: 0.15,
    media_pb2.VISEME_SS: 0.25,
    media_pb2.VISEME_CH: 0.25,
    media_pb2.VISEME_FF: 0.05,
    media_pb2.VISEME_PP: 0.0,
    media_pb2.VISEME_SIL: 0.0,
}
# A mouth cannot follow sound instantly: the opening asked for is smoothed as far as a jaw moves. Lips are quicker: they
# meet for p, b and m, and the teeth for f and v, from a moment before the sound to a moment after it.
_JAW_SMOOTHING_S, _LIP_SMOOTHING_S, _LIP_EDGE_S = 0.03, 0.015, 0.02
_GRID_S = 0.005
# The lips' points of the upper and lower inner edge, and brow to chin for scale.
_UPPER, _LOWER, _TOP, _CHIN = 13, 14, 10, 152


@dataclass(frozen=True, slots=True)
class Step:
    """Agreement of two curves. Args: correlation: at the best lag; lag_ms: positive when the lips are late."""

    correlation: float
    lag_ms: float


def place_in(sound: Sound, speech: NDArray[np.float32]) -> tuple[float, float]:
    """Find speech in what was heard. Returns: correlation, 0 to 1, and the performance time of its first sample.

    The browser stretches and shortens sound a little to keep its delay, so each 0.4 s is aligned for itself within
    30 ms, and the correlation is that of all pieces together.
    """
    whole = find_in(sound.samples, speech)
    piece_size, slack = int(0.4 * SAMPLE_RATE_HZ), int(0.03 * SAMPLE_RATE_HZ)
    product = heard_energy = said_energy = 0.0
    shifts = []
    for start in range(0, len(speech), piece_size):
        said = speech[start : start + piece_size]
        low = max(0, whole + start - slack)
        heard = sound.samples[low : whole + start + len(said) + slack]
        if len(heard) < len(said) or not said.any():
            continue
        best = find_in(heard, said)
        matched = heard[best : best + len(said)]
        product += float(matched @ said)
        heard_energy += float(matched @ matched)
        said_energy += float(said @ said)
        shifts.append((low + best) - (whole + start))
    correlation = product / np.sqrt(heard_energy * said_energy) if heard_energy else 0.0
    return float(correlation), sound.at(whole + int(np.median(shifts or [0])))


def find_in(where: NDArray[np.float32], what: NDArray[np.float32]) -> int:
    """Where in `where` does `what` begin, by cross-correlation normalised by the energy of each place."""
    size = 1 << (len(where) + len(what)).bit_length()
    spectrum = np.fft.rfft(where, size) * np.conj(np.fft.rfft(what, size))
    product = np.fft.irfft(spectrum, size)[: max(1, len(where) - len(what) + 1)]
    energy = np.concatenate([[0.0], np.cumsum(where.astype(np.float64) ** 2)])
    local = energy[len(what) : len(what) + len(product)] - energy[: len(product)]
    local = np.pad(local, (0, len(product) - len(local)), mode="edge")
    return int(np.argmax(product / np.sqrt(np.maximum(local, local.max() * 0.05 + 1e-9))))


def apertures(frames: Sequence[Frame], landmarker: FaceLandmarker) -> NDArray[np.float64]:
    """Lips' inner distance over the height of the face, shape (frames,); NaN where no face was found."""
    found = []
    for frame in frames:
        faces = landmarker.find(frame.picture)
        if not faces:
            found.append(np.nan)
            continue
        points = faces[0].points
        height = np.linalg.norm(points[_CHIN, :2] - points[_TOP, :2])
        found.append(float(np.linalg.norm(points[_LOWER, :2] - points[_UPPER, :2]) / height))
    return np.array(found)


def asked_opening(visemes: Sequence[media_pb2.VisemeTiming], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the phonemes ask the lips apart at places of an utterance, 0 to 1, shape as `times_s`."""
    grid = np.arange(-0.5, max(seconds_of(v.end_offset) for v in visemes) + 0.5, _GRID_S)
    jaw, shut = np.zeros(len(grid)), np.zeros(len(grid))
    for viseme in visemes:
        start, end = seconds_of(viseme.start_offset), seconds_of(viseme.end_offset)
        jaw[(grid >= start) & (grid < end)] = _OPENING[viseme.viseme] * viseme.weight
        if viseme.viseme in (media_pb2.VISEME_PP, media_pb2.VISEME_FF):
            shut[(grid >= start - _LIP_EDGE_S) & (grid < end + _LIP_EDGE_S)] = 1.0
    opening = _smoothed(jaw, _JAW_SMOOTHING_S) * (1 - _smoothed(shut, _LIP_SMOOTHING_S))
    return np.interp(times_s, grid, opening, left=0.0, right=0.0)


def _smoothed(curve: NDArray[np.float64], sigma_s: float) -> NDArray[np.float64]:
    half = int(4 * sigma_s / _GRID_S)
    window = np.exp(-0.5 * (np.arange(-half, half + 1) * _GRID_S / sigma_s) ** 2)
    return np.convolve(curve, window / window.sum(), mode="same")


def in_step(
    shown_s: NDArray[np.float64], aperture: NDArray[np.float64], visemes: Sequence[media_pb2.VisemeTiming]
) -> Step:
    """How well the lips follow. Args: shown_s: places in the utterance's sound that were heard as frames were shown."""
    valid = ~np.isnan(aperture)
    end_s = max(seconds_of(v.end_offset) for v in visemes)
    speaking = valid & (shown_s > -0.2) & (shown_s < end_s + 0.2)
    measured = aperture[speaking]
    if len(measured) < 10 or measured.std() < 1e-4:
        return Step(0.0, 0.0)
    lags_s = np.arange(-0.4, 0.41, 0.01)
    correlations = [
        float(np.corrcoef(measured, asked_opening(visemes, shown_s[speaking] - lag))[0, 1]) for lag in lags_s
    ]
    best = int(np.argmax(correlations))
    return Step(correlations[best], float(lags_s[best] * 1000))
