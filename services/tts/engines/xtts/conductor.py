"""The one thread on which the model speaks for all: who joins is in the next steps, who leaves is out of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.common.errors import EngineError
from services.common.log import get_logger
from services.tts.engines.xtts.decoding import Decoding
from services.tts.engines.xtts.sizes import SAMPLE_RATE_HZ
from services.tts.engines.xtts.vocoder import Pieces, Vocoder

# Steps between two looks at what has been said: a look waits for the device.
_STEPS_ON_GPU = 4
# A listener who has so much sound that was not taken yet is passed over.
_AHEAD_SAMPLES = 2 * SAMPLE_RATE_HZ
_SHORTEST_STOP_S = 10.0
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of sound, float32, shape (n,); `is_last` with the last of its text."""

    samples: NDArray[np.float32]
    is_last: bool


@dataclass(eq=False)
class Recital:
    """One text on its way. Attributes: tokens: shape (t,); conditioning: shape (1, 32, width)."""

    tokens: Tensor
    conditioning: Tensor
    pieces: Pieces
    # Guarded by the conductor's condition.
    made: deque[Piece] = field(default_factory=deque)
    ahead: int = 0
    row: int | None = None
    is_cancelled: bool = False
    failure: EngineError | None = None
    is_over: bool = False


class Conductor:
    """Owns the decoding and the vocoder; speakers ask it from threads of their own."""

    def __init__(self, decoding: Decoding, vocoder: Vocoder) -> None:
        self._decoding = decoding
        self._vocoder = vocoder
        self._steps = _STEPS_ON_GPU if next(vocoder.parameters()).is_cuda else 1
        self._wakes = threading.Condition()
        self._waiting: deque[Recital] = deque()
        self._rows: dict[int, Recital] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="xtts", daemon=True)
        self._thread.start()

    def recite(
        self, tokens: Tensor, conditioning: Tensor, speaker: Tensor, speaking_rate: float
    ) -> Generator[Piece, None, None]:
        """The sound of a text, piece by piece, as soon as each is made. Closing the iterator ends the work.

        Args: speaker: shape (1, speaker width, 1), on the device.
        Raises: EngineError if the model fails, or was closed.
        """
        recital = Recital(tokens, conditioning, Pieces(self._vocoder, speaker, speaking_rate))
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
        while self._wait():
            try:
                with torch.inference_mode():
                    self._go_on()
            except Exception as failed:
                # Whatever the device raises: those who listen are told, and the next ones may have more luck.
                log.exception("xtts_failed")
                self._end_all(EngineError(f"the voice model failed: {failed}"))
        self._end_all(EngineError("the voice model was closed"))

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
            joining = []
            self._waiting = deque(recital for recital in self._waiting if not recital.is_cancelled)
            while self._waiting and free:
                recital = self._waiting.popleft()
                recital.row = free.pop(0)
                self._rows[recital.row] = recital
                joining.append(recital)
            held = {row: recital.ahead >= _AHEAD_SAMPLES for row, recital in self._rows.items()}
        for recital in gone:
            self._leave(recital)
        for recital in joining:
            assert recital.row is not None
            self._decoding.join(recital.row, recital.conditioning, recital.tokens)
        for row in self._rows:
            self._decoding.hold(row, is_held=held[row])
        self._decoding.advance(self._steps)
        spoken, runs = self._decoding.progress()
        for row, recital in list(self._rows.items()):
            self._give(recital, self._decoding.latents(row, spoken[row]), is_whole=not runs[row])

    def _give(self, recital: Recital, latents: Tensor, *, is_whole: bool) -> None:
        while not recital.is_cancelled:
            samples = recital.pieces.take(latents.float(), is_whole=is_whole)
            if samples is None:
                break
            is_last = is_whole and recital.pieces.is_done(len(latents))
            piece = Piece(samples.cpu().numpy(), is_last)
            with self._wakes:
                recital.made.append(piece)
                recital.ahead += len(piece.samples)
                recital.is_over = is_last
                self._wakes.notify_all()
        if recital.is_over or recital.is_cancelled:
            self._leave(recital)

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
            for row in self._rows:
                self._decoding.leave(row)
            self._rows.clear()
            self._waiting.clear()
            self._wakes.notify_all()


def _wants(recital: Recital) -> bool:
    return recital.is_cancelled or recital.ahead < _AHEAD_SAMPLES
