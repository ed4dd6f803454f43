"""The one thread on which the model speaks for all: who joins is in the next steps, who leaves is out of them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.common.errors import EngineError, NotReadyError
from services.common.log import get_logger
from services.tts.engines.xtts.decoding import Decoding, Newcomer
from services.tts.engines.xtts.sizes import SAMPLE_RATE_HZ
from services.tts.engines.xtts.vocoder import Pieces, Waveforms, Window

# Steps between two looks at what has been said, at most: a look waits for the device.
_MOST_STEPS = 4
# Who begins together is read together; more of them would keep the others from theirs for long.
_JOIN_AT_ONCE = 8
# A listener who has so much sound that was not taken yet is passed over.
_AHEAD_SAMPLES = 2 * SAMPLE_RATE_HZ
# Who hears the last of what there is within that time gets the next piece as soon as it can be made.
_SOON_S = 0.5
_SHORTEST_STOP_S = 10.0
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of sound, float32, shape (n,); `is_last` with the last of its text."""

    samples: NDArray[np.float32]
    is_last: bool


@dataclass(eq=False)
class Recital:
    """One text on its way.

    Attributes:
        tokens: shape (t,), int64, on the CPU; conditioning: shape (1, 32, width), on the device.
        spoken: latents that there are; runs: whether more will come.
    """

    tokens: Tensor
    conditioning: Tensor
    pieces: Pieces
    # Guarded by the conductor's condition.
    made: deque[Piece] = field(default_factory=deque)
    ahead: int = 0
    row: int | None = None
    spoken: int = 1
    runs: bool = True
    is_cancelled: bool = False
    failure: EngineError | None = None
    is_over: bool = False
    # Of the conductor alone.
    given: int = 0
    first_s: float | None = None

    def left_s(self, now_s: float) -> float:
        """Seconds of sound that somebody who listens since the first piece has not heard yet."""
        return 0.0 if self.first_s is None else self.given / SAMPLE_RATE_HZ - (now_s - self.first_s)


class Conductor:
    """Owns the decoding and the vocoder; speakers ask it from threads of their own."""

    def __init__(self, decoding: Decoding, waveforms: Waveforms, device: torch.device) -> None:
        """Returns once a text was said that nobody hears: its thread's first use of the device takes long.

        Raises: NotReadyError if that fails.
        """
        self._decoding = decoding
        self._waveforms = waveforms
        self._device = device
        self._wakes = threading.Condition()
        self._waiting: deque[Recital] = deque()
        self._rows: dict[int, Recital] = {}
        self._closing = False
        self._rehearsed: Future[None] = Future()
        self._thread = threading.Thread(target=self._work, name="xtts", daemon=True)
        self._thread.start()
        try:
            self._rehearsed.result()
        except RuntimeError as failed:
            raise NotReadyError(f"XTTS cannot speak on {self._device}: {failed}") from failed

    def recite(
        self, tokens: Tensor, conditioning: Tensor, speaker: Tensor, speaking_rate: float
    ) -> Generator[Piece, None, None]:
        """The sound of a text, piece by piece, as soon as each is made. Closing the iterator ends the work.

        Args: speaker: shape (1, speaker width, 1), on the device.
        Raises: EngineError if the model fails, or was closed.
        """
        recital = Recital(tokens, conditioning, Pieces(speaker, speaking_rate))
        with self._wakes:
            if self._closing:
                raise EngineError("the voice model was closed")
            self._waiting.append(recital)
            self._wakes.notify_all()
        try:
            while (piece := self._next(recital)) is not None:
                yield piece
        finally:
            with self._wakes:
                recital.is_cancelled = True
                self._wakes.notify_all()

    def _next(self, recital: Recital) -> Piece | None:
        with self._wakes:
            self._wakes.wait_for(lambda: recital.made or recital.is_over)
            if recital.made:
                piece = recital.made.popleft()
                recital.ahead -= len(piece.samples)
                self._wakes.notify_all()
                return piece
            if recital.failure is not None:
                raise recital.failure
            return None

    def close(self) -> None:
        """End the thread; whoever still waits is told."""
        with self._wakes:
            self._closing = True
            self._wakes.notify_all()
        self._thread.join(_SHORTEST_STOP_S)

    def _work(self) -> None:
        try:
            with torch.inference_mode():
                self._rehearse()
        except RuntimeError as failed:
            self._rehearsed.set_exception(failed)
            return
        self._rehearsed.set_result(None)
        while self._wait():
            try:
                with torch.inference_mode():
                    self._go_on()
            except Exception as failed:
                # Whatever the device raises: those who listen are told, and the next ones may have more luck.
                log.exception("xtts_failed")
                self._end_all(EngineError(f"the voice model failed: {failed}"))
        self._end_all(EngineError("the voice model was closed"))

    def _rehearse(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)
        self._decoding.rehearse()
        self._waveforms.rehearse()

    def _wait(self) -> bool:
        """Return once there is something to do; False to end."""
        with self._wakes:
            self._wakes.wait_for(lambda: self._closing or self._waiting or any(map(_wants, self._rows.values())))
            return not self._closing

    def _go_on(self) -> None:
        """Let whoever waits in, then everybody some steps further, then give out what can be heard."""
        with self._wakes:
            gone = [recital for recital in self._rows.values() if recital.is_cancelled]
            free = [row for row in range(self._decoding.rows) if row not in self._rows]
            self._waiting = deque(recital for recital in self._waiting if not recital.is_cancelled)
            joining = [self._waiting.popleft() for _ in range(min(len(self._waiting), len(free), _JOIN_AT_ONCE))]
            for row, recital in zip(free, joining, strict=False):
                recital.row = row
                self._rows[row] = recital
            ahead = {row: recital.ahead for row, recital in self._rows.items()}
        for recital in gone:
            self._leave(recital)
        if joining:
            self._decoding.join(
                [Newcomer(each.row, each.conditioning, each.tokens) for each in joining if each.row is not None]
            )
        self._decoding.hold({row for row in self._rows if ahead[row] >= _AHEAD_SAMPLES})
        self._decoding.advance(self._steps())
        spoken, runs = self._decoding.progress()
        for row, recital in self._rows.items():
            recital.spoken, recital.runs = spoken[row], runs[row]
        self._give()

    def _steps(self) -> int:
        """Until the next piece of somebody who hears all that there is soon, and a few at most."""
        now_s = time.monotonic()
        urgent = [each for each in self._rows.values() if each.left_s(now_s) < _SOON_S]
        return min([_MOST_STEPS, *(each.pieces.lacking(each.spoken) for each in urgent)])

    def _give(self) -> None:
        """Make the pieces that there are, one of each listener at a time, those first who have the least to hear."""
        now_s = time.monotonic()
        rows = sorted(self._rows, key=lambda row: self._rows[row].left_s(now_s))
        while rows:
            due: list[tuple[int, Window]] = []
            for row in rows:
                recital = self._rows[row]
                if recital.is_cancelled:
                    continue
                latents = self._decoding.latents(row, recital.spoken)
                if (window := recital.pieces.take(latents, is_whole=not recital.runs)) is not None:
                    due.append((row, window))
            for (row, _), samples in zip(due, self._waveforms.of([window for _, window in due]), strict=True):
                self._hand(self._rows[row], samples)
            rows = [row for row, _ in due]
        for recital in list(self._rows.values()):
            if recital.is_over or recital.is_cancelled:
                self._leave(recital)

    def _hand(self, recital: Recital, samples: NDArray[np.float32]) -> None:
        is_last = not recital.runs and recital.pieces.is_done(recital.spoken)
        if is_last and recital.spoken == self._decoding.most:
            log.warning("xtts_text_cut_off", audio_tokens=recital.spoken, text_tokens=len(recital.tokens))
        with self._wakes:
            recital.made.append(Piece(samples, is_last))
            recital.given += len(samples)
            recital.first_s = recital.first_s or time.monotonic()
            recital.ahead += len(samples)
            recital.is_over = is_last
            self._wakes.notify_all()

    def _leave(self, recital: Recital) -> None:
        with self._wakes:
            recital.is_over = True
            if recital.row is not None and self._rows.get(recital.row) is recital:
                del self._rows[recital.row]
                self._decoding.leave(recital.row)

    def _end_all(self, why: EngineError) -> None:
        with self._wakes:
            for recital in (*self._rows.values(), *self._waiting):
                recital.failure, recital.is_over = why, True
            rows = list(self._rows)
            self._rows.clear()
            self._waiting.clear()
            self._wakes.notify_all()
        try:
            for row in rows:
                self._decoding.leave(row)
        except RuntimeError:
            # After some errors a device does nothing any more for this process.
            log.exception("xtts_lost_its_device")
            with self._wakes:
                self._closing = True


def _wants(recital: Recital) -> bool:
    return recital.is_cancelled or recital.ahead < _AHEAD_SAMPLES
