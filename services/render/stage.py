"""What every call of the face service shares: the engines, the avatars that they draw, and the loops of idle ones."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from functools import partial

from avatar.media.v1 import media_pb2

from services.common.errors import EngineError, InvalidRequestError, NotReadyError, OverloadedError
from services.common.inference import InferenceThread
from services.common.log import get_logger
from services.render import metrics
from services.render.avatars import DEFAULT_ID, AvatarStore
from services.render.engine import DeviceLostError, FaceState, RecordedMotion, RenderEngine, VideoCodec
from services.render.engine_host import RESTART_AFTER_S, EngineHost, Sitter
from services.render.engines import Chosen
from services.render.idle_loop import IdleLoops
from services.render.seat import Dropped, Seat, away_info
from services.render.settings import RenderSettings

# Each may take seconds and hold 20 MiB.
MAX_WAITING_PORTRAITS = 4
# Each may take a minute and hold 64 MiB.
MAX_WAITING_MOTIONS = 2
# Somebody ends a conversation about so often where every place is taken.
_RETRY_AFTER_S = 5.0
log = get_logger(__name__)


class Stage:
    """Owns the engines, each with a thread that draws, and three threads more.

    `preparing` reads the faces that are kept, `looking` reads portraits, and another one driving files: so a new face
    delays no frame, a slow portrait no face, and a long video neither.
    """

    def __init__(
        self,
        settings: RenderSettings,
        chosen: Chosen,
        store: AvatarStore,
        restart_after_s: Sequence[float] = RESTART_AFTER_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Args: restart_after_s: waits before the tries to start a lost engine again."""
        self.store = store
        self.preparing = InferenceThread("prepare", max_pending=2 * settings.max_streams + 16)
        self.looking = InferenceThread("portrait", max_pending=MAX_WAITING_PORTRAITS)
        self._watching = InferenceThread("motion", max_pending=MAX_WAITING_MOTIONS)
        sitters = [self.sitter(record.avatar_id).key for record in store.records()]
        self.idle_loops = IdleLoops(settings.data_dir / "idle_loops", settings.idle_loops_mb * 1_000_000, sitters)
        self._sessions = itertools.count(1)

        def host(kind: str, engine: RenderEngine, reason: str) -> EngineHost:
            return EngineHost(
                kind,
                engine,
                reason,
                self.preparing,
                max_prepared=settings.max_prepared,
                max_waiting=4 * settings.max_streams + 16,
                restart=chosen.restart if engine is chosen.engine else None,
                restart_after_s=restart_after_s,
                clock=clock,
            )

        self._main = host("draw", chosen.engine, chosen.reason)
        self._fallback: EngineHost | None = None
        if chosen.fallback is not None:
            self._fallback = host("fallback", chosen.fallback, f"{chosen.fallback.name} stands by")

    @property
    def engines(self) -> tuple[EngineHost, ...]:
        """The one that draws, and the one that stands by if there is one."""
        return (self._main,) if self._fallback is None else (self._main, self._fallback)

    @property
    def info(self) -> media_pb2.EngineInfo:
        """What draws now, and why. Raises: NotReadyError if nothing does."""
        if self._main.lost is None:
            return self._main.info
        if self._fallback is None:
            raise NotReadyError(f"{self._main.name} lost its device: {self._main.lost}")
        return away_info(self._fallback, self._main)

    def sitter(self, avatar_id: str) -> Sitter:
        """An avatar that is kept. Raises: NotFoundError if there is none of that id."""
        record = self.store.record(avatar_id)
        # Another portrait may come under the same name later.
        return Sitter(f"{avatar_id} {record.created_at.isoformat()}", partial(self.store.portrait, avatar_id))

    async def sit(self, avatar_id: str, size: int, codec: VideoCodec, rate_hz: int, *, is_live: bool) -> Seat:
        """A place for a stream, whose avatar is ready; to be left by `leave`.

        Args: rate_hz: the frames per second that it asks for; is_live: its frames are of use for a moment only.
        Raises: NotFoundError; OverloadedError if no engine has room; NotReadyError if none can draw.
        """
        sitter, session = self.sitter(avatar_id), next(self._sessions)
        why_not = ""
        for home in self.engines:
            away = self._fallback if home is self._main else None
            if is_live and not home.admit(session, rate_hz, is_last=away is None):
                why_not = why_not or home.fullness
                continue
            info = media_pb2.EngineInfo(name=home.name, reason=f"{home.name} draws: {why_not}") if why_not else None
            make = partial(Seat, session, sitter, home, away, size, codec, rate_hz)
            try:
                return await self._seated(partial(make, is_live=is_live, loops=self.idle_loops, info=info), session)
            except (EngineError, InvalidRequestError, OverloadedError) as failed:
                if away is None:
                    raise
                # Too little memory for one more face, or a portrait that this engine cannot draw.
                log.warning("avatar_not_prepared", engine=home.name, error=str(failed))
                why_not = f"{home.name} could not: {failed}"
        metrics.FACES_REFUSED.inc()
        raise OverloadedError(f"{why_not}; try again later", limit=f"{home.name}_faces", retry_after_s=_RETRY_AFTER_S)

    async def _seated(self, make: Callable[[], Seat], session: int) -> Seat:
        try:
            seat = make()
            await seat.prepare()
        except BaseException:
            for host in self.engines:
                host.leave(session)
            raise
        return seat

    async def still(self, sitter: Sitter, state: FaceState, size: int) -> bytes:
        """A JPEG. Raises: NotFoundError; OverloadedError if too many frames wait; NotReadyError; EngineError."""
        # A seat without a rate of its own: one of the many that share what live faces leave.
        seat = Seat(
            *(next(self._sessions), sitter, self._main, self._fallback, size, VideoCodec.JPEG, 1),
            is_live=False,
            loops=self.idle_loops,
        )
        try:
            drawn = await seat.draw(state)
        finally:
            seat.leave()
        assert not isinstance(drawn, Dropped), "a still has no deadline"
        return drawn.data

    async def read_motion(self, seat: Seat, file: bytes) -> tuple[RecordedMotion, bytes]:
        """Motion for the face at a seat, and the file that it is kept as.

        Raises:
            UnsupportedError: if the engine of the seat reads none.
            InvalidRequestError: if the file is no motion.
            OverloadedError: if too many files wait.
            EngineError.
        """
        host = seat.home
        engine = host.thread.engine

        def read() -> tuple[RecordedMotion, bytes]:
            motion = engine.read_motion(file)
            return motion, motion.to_file()

        try:
            return await self._watching.run(read)
        except DeviceLostError as lost:
            if engine is host.thread.engine:
                host.thread.lose(lost)
            raise

    def forget(self, sitter: Sitter) -> None:
        """Streams that draw it go on; nobody else gets it, and its idle loops are removed."""
        for host in self.engines:
            host.forget(sitter.key)
        self.idle_loops.forget(sitter.key)

    async def warm_up(self) -> None:
        """Draw and code the default avatar, and measure what each engine can do: everything is compiled after it.

        Raises: EngineError if the engine cannot draw.
        """
        sitter = self.sitter(DEFAULT_ID)
        outcomes = await asyncio.gather(*(host.warm_up(sitter) for host in self.engines), return_exceptions=True)
        # One after the other: beside another one that compiles or draws, an engine would seem to be slow.
        for host in self.engines:
            outcomes += await asyncio.gather(host.calibrate(sitter), return_exceptions=True)
        for host, outcome in zip(2 * self.engines, outcomes, strict=True):
            if isinstance(outcome, DeviceLostError) and host is not self.engines[-1]:
                host.thread.lose(outcome)
            elif outcome is not None:
                raise outcome

    async def keep(self) -> None:
        """Bring lost engines back, and draw the loops of idle faces, until cancelled."""
        sitter = self.sitter(DEFAULT_ID)
        async with asyncio.TaskGroup() as tasks:
            for host in self.engines:
                tasks.create_task(host.keep(sitter))
            tasks.create_task(self.idle_loops.keep())

    def close(self) -> None:
        """Wait for what the threads are doing now, and free the devices."""
        for host in self.engines:
            host.close()
        for thread in (self.preparing, self.looking, self._watching):
            thread.close()
        self.idle_loops.close()
