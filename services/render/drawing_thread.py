"""The bridge from the event loop to the one thread on which an engine draws, batch after batch."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from services.common import metrics
from services.common.errors import EngineError, OverloadedError
from services.render.capacity import Costs
from services.render.engine import DeviceLostError, FrameJob, RenderEngine
from services.render.metrics import BATCH_FRAMES, FRAMES_DRAWN, FRAMES_LATE
from services.render.scheduler import Scheduler, Ticket

R = TypeVar("R")
# While nobody asks for a frame, a path that has changed is noticed within this time.
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Drawn:
    """A coded frame, and how long the draw took that made it and the rest of its batch."""

    data: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class _Entry:
    ticket: Ticket
    job: FrameJob
    future: asyncio.Future[Drawn | None]


_Outcome = tuple[asyncio.Future[Any], Any]


class DrawingThread:
    """Draws what waits, as the scheduler says, without going back to the event loop between two batches."""

    def __init__(
        self,
        kind: str,
        engine: RenderEngine,
        max_waiting: int,
        *,
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Args:
        kind: of the thread, for metrics.
        max_waiting: more frames that wait are refused.
        on_change: called on the event loop when the engine took another path or lost its device.
        """
        self._kind = kind
        self._max_waiting = max_waiting
        self._on_change = on_change
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        # Guards everything below; held for microseconds.
        self._wakes = threading.Condition()
        self._entries: dict[Ticket, _Entry] = {}
        self._chores: deque[Callable[[], None]] = deque()
        self._closing = False
        self.lost: DeviceLostError | None = None
        self._take(engine)
        self._wait_seconds = metrics.MODEL_WAIT_SECONDS.labels(kind)
        self._run_seconds = metrics.MODEL_SECONDS.labels(kind)
        self._thread = threading.Thread(target=self._work, name=kind, daemon=True)
        self._thread.start()

    def _take(self, engine: RenderEngine) -> None:
        self.engine = engine
        self.costs = Costs(engine.capabilities.batch_sizes)
        self._scheduler = Scheduler(self.costs)
        self._path = engine.path

    def replace(self, engine: RenderEngine) -> None:
        """Take another engine after the one before was lost; frames are refused until `resume`."""
        with self._wakes:
            self._take(engine)

    def resume(self) -> None:
        """Draw again."""
        self.lost = None

    @property
    def now_s(self) -> float:
        """By the clock of the tickets."""
        return self._clock()

    @property
    def waiting(self) -> int:
        """How many frames wait."""
        return self._scheduler.waiting

    async def draw(self, ticket: Ticket, job: FrameJob) -> Drawn | None:
        """Draw a frame when its turn comes.

        Returns: None if it could not be in time.
        Raises: DeviceLostError; OverloadedError if too many frames wait; EngineError.
        """
        future: asyncio.Future[Drawn | None] = self._loop.create_future()
        with self._wakes:
            if self.lost is not None:
                raise DeviceLostError(str(self.lost))
            if self._scheduler.waiting >= self._max_waiting:
                metrics.MODEL_CALLS_REFUSED.labels(self._kind).inc()
                raise OverloadedError(
                    f"{self._max_waiting} frames wait to be drawn already", limit=f"waiting_frames={self._max_waiting}"
                )
            self._entries[ticket] = _Entry(ticket, job, future)
            self._scheduler.add(ticket)
            self._wakes.notify()
        try:
            return await future
        except asyncio.CancelledError:
            with self._wakes:
                self._scheduler.withdraw(ticket)
                self._entries.pop(ticket, None)
            raise

    async def run(self, chore: Callable[[], R]) -> R:
        """Do something else on the thread, such as to measure the engine, when no frame waits."""
        future: asyncio.Future[R] = self._loop.create_future()

        def do() -> None:
            try:
                outcome: Any = chore()
            except Exception as failed:
                outcome = failed
            self._settle([(future, outcome)])

        with self._wakes:
            self._chores.append(do)
            self._wakes.notify()
        return await future

    def forget(self, session: int) -> None:
        """A session is over."""
        with self._wakes:
            self._scheduler.forget(session)

    def _work(self) -> None:
        while True:
            with self._wakes:
                while not (self._closing or self._scheduler.waiting or self._chores):
                    if not self._wakes.wait(_LOOK_EVERY_S):
                        self._heed_path()
                if self._closing:
                    return
                chosen = self._scheduler.next(self._clock())
                batch = [self._entries.pop(ticket) for ticket in chosen.batch]
                dropped = [self._entries.pop(ticket) for ticket in chosen.dropped]
                chore = self._chores.popleft() if self._chores and not batch else None
            if dropped:
                self._settle([(entry.future, None) for entry in dropped])
            if batch:
                self._settle(self._draw(batch))
                self._heed_path()
            if chore is not None:
                chore()
                self._heed_path()

    def _draw(self, batch: Sequence[_Entry]) -> list[_Outcome]:
        """One draw. If it fails, each frame is tried alone, so that a failure stays with the frame that causes it."""
        begin_s = self._clock()
        try:
            frames = self.engine.draw([entry.job for entry in batch])
            if len(frames) != len(batch):
                raise EngineError(f"{self.engine.name} drew {len(frames)} frames of {len(batch)}")
        except DeviceLostError as lost:
            return [*((entry.future, lost) for entry in batch), *self._lose(lost)]
        except Exception as failed:
            if len(batch) == 1:
                return [(batch[0].future, failed)]
            return [outcome for entry in batch for outcome in self._draw([entry])]
        end_s = self._clock()
        with self._wakes:
            self.costs.observe(len(batch), end_s - begin_s)
        self._run_seconds.observe(end_s - begin_s)
        name = self.engine.name
        BATCH_FRAMES.labels(name).observe(len(batch))
        FRAMES_DRAWN.labels(name).inc(len(batch))
        for entry in batch:
            self._wait_seconds.observe(begin_s - entry.ticket.asked_s)
            if end_s > entry.ticket.due_s:
                FRAMES_LATE.labels(name).inc()
        return [(entry.future, Drawn(frame, end_s - begin_s)) for entry, frame in zip(batch, frames, strict=True)]

    def _lose(self, lost: DeviceLostError) -> list[_Outcome]:
        """Nothing is drawn from now on. Returns: what becomes of the frames that wait."""
        with self._wakes:
            if self.lost is not None:
                return []
            self.lost = lost
            waiting = [self._entries.pop(ticket) for ticket in self._scheduler.clear()]
        self._loop.call_soon_threadsafe(self._on_change)
        return [(entry.future, lost) for entry in waiting]

    def lose(self, lost: DeviceLostError) -> None:
        """The device was found to be lost by somebody else, who prepared an avatar."""
        self._settle(self._lose(lost))

    def _heed_path(self) -> None:
        path = self.engine.path
        if path != self._path:
            with self._wakes:
                self._path = path
                self.costs.forget()
            self._loop.call_soon_threadsafe(self._on_change)

    def _settle(self, outcomes: Sequence[_Outcome]) -> None:
        self._loop.call_soon_threadsafe(_settle, outcomes)

    def close(self) -> None:
        """Wait for what is drawn now, and drop what waits."""
        with self._wakes:
            self._closing = True
            self._wakes.notify()
        self._thread.join()
        self._settle([(entry.future, asyncio.CancelledError()) for entry in self._entries.values()])


def _settle(outcomes: Sequence[_Outcome]) -> None:
    """Give each waiter its outcome; one who has gone gets none."""
    for future, outcome in outcomes:
        if future.done():
            continue
        if isinstance(outcome, asyncio.CancelledError):
            future.cancel()
        elif isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
