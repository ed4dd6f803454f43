"""What is heard, sample by sample: pure bookkeeping between speech that arrives in chunks and ticks of 20 ms."""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator import metrics
from orchestrator.media_clock import SAMPLE_RATE_HZ, TICK_SAMPLES

# Gain while the person may be about to take the floor, and how long a change of gain takes.
DUCKED_GAIN = 0.25
_GAIN_STEP_PER_SAMPLE = (1.0 - DUCKED_GAIN) / (0.06 * SAMPLE_RATE_HZ)
_SILENCE = np.zeros(TICK_SAMPLES, np.int16)


class End(enum.Enum):
    """Why an utterance is no longer heard."""

    COMPLETED = "completed"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Place:
    """A place in an utterance; `offset_samples` is negative shortly before its first sample is heard."""

    utterance_id: str
    offset_samples: int


@dataclass(frozen=True, slots=True)
class Tick:
    """20 ms of sound. `utterance_id` is None in silence; `ended` names the end of the utterance before it."""

    samples: NDArray[np.int16]
    utterance_id: str | None
    started: bool = False
    ended: tuple[str, End, int] | None = None


@dataclass(slots=True)
class _Utterance:
    utterance_id: str
    start_tick: int
    chunks: deque[NDArray[np.int16]]
    buffered: int = 0
    played: int = 0
    complete: bool = False
    cut: bool = False
    faded: bool = False


class Playout:
    """Plays one utterance at a time, fades it out when it is cut, ducks it on request, and knows its place.

    A cut takes effect with the next tick, which fades from full to nothing; the tick after that reports the end.
    When speech arrives too late, silence is played and the utterance goes on where it was: nothing is dropped.
    """

    def __init__(self) -> None:
        self._current: _Utterance | None = None
        self._gain = 1.0
        self._target_gain = 1.0
        self._next_tick = 0
        # Ticks of silence inside utterances, because speech was not there in time.
        self.gap_ticks = 0

    @property
    def utterance_id(self) -> str | None:
        """The utterance that is being played or about to be."""
        return self._current.utterance_id if self._current else None

    @property
    def buffered_s(self) -> float:
        """Speech that waits to be played."""
        return self._current.buffered / SAMPLE_RATE_HZ if self._current else 0.0

    @property
    def played_samples(self) -> int:
        """How much of the current utterance was played, at 48 kHz."""
        return self._current.played if self._current else 0

    def begin(self, utterance_id: str, start_tick: int) -> None:
        """Play an utterance from `start_tick` on. The one before must have ended."""
        assert self._current is None, f"{self._current} has not ended"
        self._current = _Utterance(utterance_id, start_tick, deque())
        self._gain = self._target_gain = 1.0

    def push(self, utterance_id: str, samples: NDArray[np.int16]) -> None:
        """Add speech at 48 kHz; of an utterance that was cut it is dropped."""
        current = self._current
        if current is None or current.utterance_id != utterance_id or current.cut or not len(samples):
            return
        current.chunks.append(samples)
        current.buffered += len(samples)

    def complete(self, utterance_id: str) -> None:
        """All speech of the utterance was pushed."""
        if self._current and self._current.utterance_id == utterance_id:
            self._current.complete = True

    def cut(self, utterance_id: str) -> None:
        """Stop the utterance with the next tick."""
        if self._current and self._current.utterance_id == utterance_id:
            self._current.cut = True

    def drop(self, utterance_id: str) -> None:
        """End the utterance where it is, without a fade: nobody hears it."""
        if self._current and self._current.utterance_id == utterance_id:
            self._current = None

    def duck(self, *, ducked: bool) -> None:
        """Play softer, or at full level again."""
        self._target_gain = DUCKED_GAIN if ducked else 1.0

    def place_at(self, media_s: float) -> Place | None:
        """What is heard at a media time, as far as is known now. None in silence and once a cut was asked for."""
        current = self._current
        if current is None or current.cut:
            return None
        first_tick = max(self._next_tick, current.start_tick)
        offset = current.played + round(media_s * SAMPLE_RATE_HZ) - first_tick * TICK_SAMPLES
        if current.complete and offset >= current.played + current.buffered:
            return None
        return Place(current.utterance_id, offset)

    def pull(self, tick: int) -> Tick:
        """The sound of a tick. Ticks rise; those left out are not heard and cost the utterance nothing."""
        self._next_tick = tick + 1
        current = self._current
        if current is None:
            return Tick(_SILENCE, None)
        if current.faded or (current.cut and current.played == 0):
            return self._end(End.CUT)
        if tick < current.start_tick:
            return Tick(_SILENCE, None)
        if current.complete and current.buffered == 0:
            return self._end(End.COMPLETED)
        if current.buffered < TICK_SAMPLES and not current.complete and not current.cut:
            self.gap_ticks += 1
            metrics.AUDIO_GAP_SECONDS.inc(TICK_SAMPLES / SAMPLE_RATE_HZ)
            return Tick(_SILENCE, None)
        started = current.played == 0
        samples = self._take(current)
        gain = self._ramp(len(samples))
        if current.cut:
            gain = gain * np.linspace(1.0, 0.0, TICK_SAMPLES, dtype=np.float32)
            current.faded = True
        if current.cut or gain[0] != 1.0 or gain[-1] != 1.0:
            samples = np.rint(samples * gain).astype(np.int16)
        return Tick(samples, current.utterance_id, started=started)

    def _end(self, end: End) -> Tick:
        assert self._current is not None
        ended = (self._current.utterance_id, end, self._current.played)
        self._current = None
        return Tick(_SILENCE, None, ended=ended)

    def _take(self, current: _Utterance) -> NDArray[np.int16]:
        samples = np.zeros(TICK_SAMPLES, np.int16)
        filled = 0
        while filled < TICK_SAMPLES and current.chunks:
            chunk = current.chunks.popleft()
            count = min(len(chunk), TICK_SAMPLES - filled)
            samples[filled : filled + count] = chunk[:count]
            if count < len(chunk):
                current.chunks.appendleft(chunk[count:])
            filled += count
        current.buffered -= filled
        current.played += filled
        return samples

    def _ramp(self, count: int) -> NDArray[np.float32]:
        """Shape (count,): the gain of each sample on its way to the target."""
        step = np.arange(1, count + 1, dtype=np.float32) * _GAIN_STEP_PER_SAMPLE
        if self._target_gain >= self._gain:
            gain = np.minimum(self._gain + step, self._target_gain)
        else:
            gain = np.maximum(self._gain - step, self._target_gain)
        self._gain = float(gain[-1])
        return np.asarray(gain, np.float32)
