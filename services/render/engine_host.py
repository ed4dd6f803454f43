"""One engine in service: its thread, the avatars that it holds ready, what it can draw, and its return after a loss."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from avatar.media.v1 import media_pb2

from services.common.errors import EngineError
from services.common.inference import InferenceThread
from services.common.log import get_logger
from services.render import metrics
from services.render.blendshapes import weights_of
from services.render.capacity import RATES_HZ, Capacity
from services.render.drawing_thread import DrawingThread, Drawn
from services.render.engine import (
    MAX_SIZE,
    DeviceLostError,
    FaceState,
    FrameJob,
    HeadPose,
    Portrait,
    PreparedAvatar,
    RenderEngine,
    VideoCodec,
)
from services.render.scheduler import Ticket

# Waits before the tries to start a lost engine again; the last is repeated. An engine that is lost again soon goes on
# where it was.
RESTART_AFTER_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_STABLE_S = 120.0
# For how long each batch size is drawn, after once that is not measured, and how often at most. The fastest is what the
# engine can do: whatever else starts with this process slows down the others. What it does under load, frames tell.
_CALIBRATION_S, _CALIBRATION_DRAWS = 0.05, 40
# A face that speaks, looks aside and smiles: whatever an engine leaves out at rest is drawn.
_LIVELY = FaceState(weights_of({"jawOpen": 0.5, "mouthSmile": 0.3, "eyeLookUp": 0.3}), HeadPose(2.0, 1.0, 1.0))
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sitter:
    """Whom an engine is to draw.

    Attributes:
        key: unique for the portrait, not only for its name.
        portrait: blocking; raises NotFoundError if it is gone.
    """

    key: str
    portrait: Callable[[], Portrait]


class EngineHost:
    """Serves one engine. `preparing` is a thread that hosts share: a new face delays no frame."""

    def __init__(
        self,
        kind: str,
        engine: RenderEngine,
        reason: str,
        preparing: InferenceThread,
        *,
        max_prepared: int,
        max_waiting: int,
        restart: Callable[[], RenderEngine] | None = None,
        restart_after_s: Sequence[float] = RESTART_AFTER_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Args:
        kind: of its thread, for metrics.
        restart: makes another engine in the place of one whose device was lost; None if there is no way.
        """
        self._reason = reason
        self._preparing = preparing
        self._max_prepared = max_prepared
        self._restart = restart
        self._restart_after_s = restart_after_s
        self._prepared: OrderedDict[str, PreparedAvatar] = OrderedDict()
        self._one_prepares = asyncio.Lock()
        # Rises with each engine: what one prepared, another cannot draw.
        self.generation = 0
        # Set while there is something to do for `keep`: a lost engine to restart, a path to measure.
        self._called = asyncio.Event()
        self._closed: RenderEngine | None = None
        self.thread = DrawingThread(kind, engine, max_waiting, on_change=self._changed, clock=clock)
        # Tries to start the engine again, and since when it has drawn.
        self._tries, self._since_s = 0, self.thread.now_s
        self._capacity = Capacity(lambda: self.thread.costs.frames_per_s)
        self.info = self._described()
        metrics.ENGINE_UP.labels(self.name).set(1)

    @property
    def name(self) -> str:
        """The engine's."""
        return self.thread.engine.name

    @property
    def lost(self) -> DeviceLostError | None:
        """Why it does not draw now; None while it does."""
        return self.thread.lost

    def _described(self) -> media_pb2.EngineInfo:
        return media_pb2.EngineInfo(name=self.name, reason=self._reason, path=self.thread.engine.path or None)

    async def prepared(self, sitter: Sitter) -> PreparedAvatar:
        """An avatar that this engine can draw. Raises: NotFoundError; DeviceLostError; EngineError."""
        if sitter.key not in self._prepared:
            async with self._one_prepares:
                if sitter.key not in self._prepared:
                    await self._prepare(sitter)
        self._prepared.move_to_end(sitter.key)
        return self._prepared[sitter.key]

    async def _prepare(self, sitter: Sitter) -> None:
        engine = self.thread.engine
        try:
            prepared = await self._preparing.run(lambda: engine.prepare(sitter.portrait()))
        except DeviceLostError as lost:
            if engine is self.thread.engine:
                self.thread.lose(lost)
            raise
        if engine is not self.thread.engine:
            raise DeviceLostError(f"{self.name} was started anew meanwhile")
        self._prepared[sitter.key] = prepared
        while len(self._prepared) > self._max_prepared:
            self._prepared.popitem(last=False)
        self._count_prepared()

    def forget(self, key: str) -> None:
        """Who draws it goes on; nobody else gets it."""
        self._prepared.pop(key, None)
        self._count_prepared()

    def _count_prepared(self) -> None:
        each = self.thread.engine.capabilities.prepared_bytes
        metrics.PREPARED_BYTES.labels(self.name).set(len(self._prepared) * each)

    def admit(self, session: int, asked_hz: int, *, is_last: bool) -> bool:
        """Let a live stream in.

        Args: is_last: nobody else could draw it, so an empty engine takes it however slow it is.
        Returns: False if there is no room.
        """
        is_in = self._capacity.admit(session, asked_hz, self.thread.now_s)
        if not is_in and not self._capacity.faces:
            # Measured while the machine was busy, perhaps; and while nothing is drawn, nothing tells.
            self._called.set()
            if is_last:
                self._capacity.join(session, asked_hz, self.thread.now_s)
                is_in = True
        metrics.FACES.labels(self.name).set(self._capacity.faces)
        return is_in

    def join(self, session: int, asked_hz: int) -> None:
        """Let a live stream in that has nowhere else to go."""
        self._capacity.join(session, asked_hz, self.thread.now_s)
        metrics.FACES.labels(self.name).set(self._capacity.faces)

    def leave(self, session: int) -> None:
        """A stream is over, or drawn elsewhere; one that was never in is no mistake."""
        self._capacity.leave(session)
        self.thread.forget(session)
        metrics.FACES.labels(self.name).set(self._capacity.faces)

    def rate_hz(self, session: int) -> int:
        """How many frames per second a live stream may have now."""
        rate_hz = self._capacity.rate_hz(session, self.thread.now_s)
        metrics.CAPACITY.labels(self.name).set(self.thread.costs.frames_per_s)
        metrics.RATE_LIMIT.labels(self.name).set(self._capacity.step_hz)
        return rate_hz

    def drew(self, session: int) -> None:
        """A live stream asks for a frame."""
        self._capacity.drew(session, self.thread.now_s)

    @property
    def fullness(self) -> str:
        """For people: how many faces fill it."""
        return (
            f"{self.name} draws {self._capacity.faces} faces, "
            f"and has no room for one more even at {RATES_HZ[-1]} frames per second"
        )

    async def draw(self, ticket: Ticket, job: FrameJob) -> Drawn | None:
        """As of `DrawingThread`."""
        return await self.thread.draw(ticket, job)

    async def warm_up(self, sitter: Sitter) -> None:
        """Draw once in every way: everything is compiled after it. Raises: EngineError if it cannot draw."""
        prepared = await self.prepared(sitter)
        for codec in VideoCodec:
            await self._spent_s(FrameJob(prepared, _LIVELY, MAX_SIZE, codec), 1)

    async def calibrate(self, sitter: Sitter) -> None:
        """Measure what a batch of each size takes. Raises: EngineError if it cannot draw."""
        job = FrameJob(await self.prepared(sitter), _LIVELY, MAX_SIZE, VideoCodec.I420)
        costs = self.thread.costs
        for size in self.thread.engine.capabilities.batch_sizes:
            await self._spent_s(job, size)
            spent_s: list[float] = []
            while sum(spent_s) < _CALIBRATION_S and len(spent_s) < _CALIBRATION_DRAWS:
                spent_s.append(await self._spent_s(job, size))
            # On the thread that observes what frames take.
            await self.thread.run(partial(costs.measured, size, min(spent_s)))
        metrics.CAPACITY.labels(self.name).set(costs.frames_per_s)
        log.info("engine_calibrated", engine=self.name, path=self.info.path, frames_per_s=round(costs.frames_per_s, 1))

    async def _spent_s(self, job: FrameJob, size: int) -> float:
        """Seconds that a batch takes."""
        engine = self.thread.engine

        def draw() -> float:
            begin_s = self.thread.now_s
            engine.draw([job] * size)
            return self.thread.now_s - begin_s

        return await self.thread.run(draw)

    def _changed(self) -> None:
        lost = self.lost
        if lost is not None:
            log.error("engine_lost", engine=self.name, reason=str(lost))
            metrics.ENGINE_UP.labels(self.name).set(0)
            if self.thread.now_s - self._since_s > _STABLE_S:
                self._tries = 0
            self._prepared.clear()
            self._count_prepared()
        else:
            self.info = self._described()
            log.info("engine_path", engine=self.name, path=self.info.path)
        self._called.set()

    async def keep(self, sitter: Sitter) -> None:
        """Bring the engine back whenever it is lost, and measure it whenever its path changes, until cancelled.

        Args: sitter: somebody to draw for that.
        """
        while True:
            await self._called.wait()
            self._called.clear()
            if self.lost is None:
                try:
                    await self.calibrate(sitter)
                except DeviceLostError as lost:
                    self.thread.lose(lost)
                except EngineError as failed:
                    # Frames that are drawn tell what they cost too.
                    log.warning("engine_not_calibrated", engine=self.name, error=str(failed))
            elif self._restart is not None:
                await self._bring_back(self._restart, sitter)

    async def _bring_back(self, restart: Callable[[], RenderEngine], sitter: Sitter) -> None:
        def renew() -> RenderEngine:
            self._close_engine()
            return restart()

        waits = itertools.chain(self._restart_after_s, itertools.repeat(self._restart_after_s[-1]))
        for wait_s in itertools.islice(waits, self._tries, None):
            self._tries += 1
            await asyncio.sleep(wait_s)
            try:
                self.thread.replace(await self.thread.run(renew))
                self.generation += 1
                self._prepared.clear()
                await self.warm_up(sitter)
                await self.calibrate(sitter)
            except Exception as failed:
                # Whatever a broken device raises, it is no reason to stop serving with the other engine.
                log.warning("engine_restart_failed", engine=self.name, tries=self._tries, error=str(failed))
                continue
            break
        self._since_s = self.thread.now_s
        self.info = self._described()
        self.thread.resume()
        metrics.ENGINE_UP.labels(self.name).set(1)
        log.info("engine_back", engine=self.name, tries=self._tries)

    def close(self) -> None:
        """Wait for what is drawn now, then free the device."""
        self.thread.close()
        self._close_engine()

    def _close_engine(self) -> None:
        if self._closed is not self.thread.engine:
            self._closed = self.thread.engine
            self._closed.close()
