"""Listens to the recording that a voice is to be made of: is it speech, is there enough of it, and is it clean?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError
from services.common.recording_file import decode

MAX_FILE_BYTES = 20 * 1024 * 1024
MIN_S, MAX_S = 3.0, 30.0
# Half of the shortest recording: people breathe.
MIN_SPEECH_S = 1.5
# The active level of speech that is recorded as it should be is -26 dB (ITU-T P.56 and P.800); quieter by these, it is
# no longer carried well, or hardly at all, by 16 bits and a coder.
QUIET_DB, TOO_QUIET_DB = -40.0, -50.0
# A voice that is made of noisy speech speaks with the noise. Faint speech that drowns in it is not counted, so what is
# found in white noise is some 4 dB more than a mean over all of the speech.
NOISY_DB, TOO_NOISY_DB = 20.0, 12.0
# Share of the samples that stand at the ends of the scale.
CLIPPED, TOO_CLIPPED = 0.0005, 0.01

_LOWEST_DB, _HIGHEST_DB = -90.0, 0.0
# Two periods of the lowest voice.
_FRAME_S = 0.04
_LOWEST_PITCH_HZ, _HIGHEST_PITCH_HZ = 60.0, 400.0
# How alike a frame is to itself one period later, of 1, to be voiced: Boersma (1993), whose Praat takes 0.45.
_VOICED = 0.45
# Speech is louder than the background by this, and never far from a vowel; consonants take 0.2 s at most.
_ABOVE_BACKGROUND_DB = 6.0
_NEAR_FRAMES = 5
# What is as loud as this part of the frames counts as the background, where nothing is silent.
_BACKGROUND_SHARE = 0.1
# Left before and after the speech: no consonant is cut, and the room is heard.
_MARGIN_S = 0.3
# As many samples in a row at the end of the scale are no chance.
_CLIPPED_IN_A_ROW = 3
_ADVICE = "record it again, one person close to the microphone in a quiet room"


@dataclass(frozen=True, slots=True)
class Quality:
    """What was heard in a recording.

    Args:
        speech_level_db: below full scale, -90 to 0; mean power while speech is active, as in ITU-T P.56.
        signal_to_noise_db: 0 to 90.
        warnings: what may make the voice sound worse, a sentence each.
    """

    duration_s: float
    speech_s: float
    speech_level_db: float
    signal_to_noise_db: float
    warnings: tuple[str, ...] = ()


def read(file: bytes, sample_rate_hz: int, max_s: float = MAX_S) -> NDArray[np.float32]:
    """The sound of a file. Returns: shape (n,), in [-1, 1].

    Raises: InvalidRequestError, in words, if it is no recording that is read, or too large or long.
    """
    pieces = decode(
        file, sample_rate_hz, max_s, max_bytes=MAX_FILE_BYTES, beyond=f"send {MIN_S:g} to {MAX_S:g} s of it"
    )
    samples = np.concatenate(list(pieces))
    if not np.isfinite(samples).all():
        raise InvalidRequestError("the recording is damaged: some of its samples are no numbers; send another file")
    return np.asarray(np.clip(samples, -1.0, 1.0), np.float32)


def listen(samples: NDArray[np.float32], sample_rate_hz: int) -> Quality:
    """What is heard in a recording that a voice can be made of.

    Speech is told from noise, hum and tones by its pitch and its pauses. Music, and several people, are not told from
    one person's speech.

    Args: samples: shape (n,), in [-1, 1].
    Raises: InvalidRequestError, a sentence for what is wrong: it is too short, too quiet, clipped, noisy, or no speech.
    """
    duration_s = len(samples) / sample_rate_hz
    if duration_s < MIN_S:
        raise InvalidRequestError(f"a voice is made of {MIN_S:g} to {MAX_S:g} s of speech, not of {duration_s:.1f} s")
    power, speech, background_db = _heard(samples, sample_rate_hz)
    speech_s = float(np.count_nonzero(speech)) * _FRAME_S
    level_db = float(_db(float(np.mean(power[speech])))) if speech.any() else _LOWEST_DB
    noise_db = _noise_db(power, speech, background_db)
    quality = Quality(duration_s, min(speech_s, duration_s), level_db, max(0.0, level_db - noise_db))
    _refuse_bad(quality, float(np.max(np.abs(samples))))
    clipped = _clipped_share(samples)
    if clipped > TOO_CLIPPED:
        raise InvalidRequestError(
            f"the recording is clipped: {clipped:.1%} of it is at the end of the scale; record it again, less loud"
        )
    return Quality(
        quality.duration_s,
        quality.speech_s,
        quality.speech_level_db,
        quality.signal_to_noise_db,
        _warnings(quality, clipped),
    )


def trimmed(samples: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
    """A recording without what comes before and after its speech, but no shorter than it must be.

    Args: samples: as `listen` took them, MIN_S or longer.
    Returns: shape (m,), MIN_S or longer; all of it if there is no speech.
    """
    _, speech, _ = _heard(samples, sample_rate_hz)
    spoken = np.flatnonzero(speech) * round(_FRAME_S * sample_rate_hz)
    if not len(spoken):
        return samples
    margin = round(_MARGIN_S * sample_rate_hz)
    begin, end = max(0, int(spoken[0]) - margin), min(len(samples), int(spoken[-1]) + margin)
    missing = max(0, round(MIN_S * sample_rate_hz) - (end - begin))
    begin = max(0, begin - missing)
    return samples[begin : max(end, begin + round(MIN_S * sample_rate_hz))]


def _heard(samples: NDArray[np.float32], sample_rate_hz: int) -> tuple[NDArray[np.float64], NDArray[np.bool_], float]:
    """Frame by frame the power and whether it is speech, shape (count,) each; and the level of the background in dB."""
    frames = _frames(samples, sample_rate_hz)  # (count, size)
    power = np.mean(frames.astype(np.float64) ** 2, axis=1)
    loudness_db = _db(power)
    background_db = float(np.quantile(loudness_db, _BACKGROUND_SHARE))
    loud = loudness_db > max(background_db + _ABOVE_BACKGROUND_DB, _LOWEST_DB + _ABOVE_BACKGROUND_DB)
    voiced = loud & (_periodicity(frames, sample_rate_hz) > _VOICED)
    return power, loud & _widened(voiced, _NEAR_FRAMES), background_db


def _refuse_bad(quality: Quality, peak: float) -> None:
    """Raises: InvalidRequestError, the cause before what follows of it."""
    if peak < 10 ** (TOO_QUIET_DB / 20):
        raise InvalidRequestError(
            f"the recording is too quiet: nothing in it is louder than {_db(peak**2):.0f} dB; {_ADVICE}"
        )
    if quality.speech_s < MIN_SPEECH_S:
        raise InvalidRequestError(
            f"{quality.speech_s:.1f} s of the {quality.duration_s:.1f} s are speech, and {MIN_SPEECH_S:g} s are "
            f"needed; {_ADVICE}"
        )
    if quality.speech_level_db < TOO_QUIET_DB:
        raise InvalidRequestError(
            f"the recording is too quiet: its speech is at {quality.speech_level_db:.1f} dB, and {TOO_QUIET_DB:.0f} dB "
            f"are needed; {_ADVICE}"
        )
    if quality.signal_to_noise_db < TOO_NOISY_DB:
        raise InvalidRequestError(
            f"the recording is too noisy: its speech is {quality.signal_to_noise_db:.1f} dB louder than the "
            f"background, and {TOO_NOISY_DB:.0f} dB are needed; {_ADVICE}"
        )


def _warnings(quality: Quality, clipped: float) -> tuple[str, ...]:
    found = []
    if quality.speech_level_db < QUIET_DB:
        found.append(f"The speech is quiet, at {quality.speech_level_db:.0f} dB; {QUIET_DB:.0f} dB or more is better.")
    if quality.signal_to_noise_db < NOISY_DB:
        found.append(
            f"The speech is {quality.signal_to_noise_db:.0f} dB louder than the background, which may be heard in the "
            f"voice; {NOISY_DB:.0f} dB or more is better."
        )
    if clipped > CLIPPED:
        found.append("Some of the recording is clipped, which may be heard in the voice; less loud is better.")
    if quality.speech_s < 2 * MIN_S:
        found.append(f"{quality.speech_s:.0f} s of speech make a voice; {2 * MIN_S:.0f} s or more make a better one.")
    return tuple(found)


def _frames(samples: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
    """Shape (count, size), end to end; what is left over is left out."""
    size = round(_FRAME_S * sample_rate_hz)
    return samples[: len(samples) // size * size].reshape(-1, size)


def _db(power: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Power in decibels below that of full scale, within the scale."""
    decibels = 10 * np.log10(np.maximum(power, 1e-12))
    return np.asarray(np.clip(decibels, _LOWEST_DB, _HIGHEST_DB), np.float64)


def _periodicity(frames: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float64]:
    """How alike each frame is to itself one period of a voice later, up to 1. Returns: shape (count,).

    Source: the autocorrelation of the windowed frame over that of the window, Boersma, "Accurate short-term analysis of
    the fundamental frequency and the harmonics-to-noise ratio of a sampled sound", 1993.
    """
    size = frames.shape[1]
    window = np.hanning(size)
    first, last = int(sample_rate_hz / _HIGHEST_PITCH_HZ), min(int(sample_rate_hz / _LOWEST_PITCH_HZ), size // 2)
    windowed = (frames - frames.mean(axis=1, keepdims=True)) * window
    alike = _autocorrelation(windowed)[:, : last + 1]  # (count, lags)
    own = _autocorrelation(window[None])[0, : last + 1]
    alike /= np.maximum(alike[:, :1], 1e-12)
    return np.asarray((alike[:, first:] / (own / own[0])[first:]).max(axis=1), np.float64)


def _autocorrelation(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(rows, 2 * rows.shape[1])
    return np.asarray(np.fft.irfft(np.abs(spectrum) ** 2)[:, : rows.shape[1]], np.float64)


def _widened(flags: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Whether a flag is set within `reach` places."""
    return np.convolve(flags, np.ones(2 * reach + 1), mode="same") > 0


def _noise_db(power: NDArray[np.float64], speech: NDArray[np.bool_], background_db: float) -> float:
    """The level of the background: of what is far from speech, and where that is nothing, of the quietest frames."""
    far = ~_widened(speech, 1)
    return float(_db(np.median(power[far]))) if np.count_nonzero(far) * _FRAME_S > MIN_S / 10 else background_db


def _clipped_share(samples: NDArray[np.float32]) -> float:
    """The share of the samples that stand at the end of the scale, several in a row, 0 to 1."""
    full = (np.abs(samples) >= 0.999).astype(np.int8)
    runs = np.convolve(full, np.ones(_CLIPPED_IN_A_ROW, np.int8), mode="valid") == _CLIPPED_IN_A_ROW
    return float(np.count_nonzero(runs)) / len(samples)
