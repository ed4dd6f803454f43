"""A stream's place at an engine: which one draws it, how often, and what it plays while it idles."""

from __future__ import annotations

import asyncio
import enum
import math
import time
from dataclasses import dataclass
from functools import partial

from avatar.media.v1 import media_pb2
from google.rpc import code_pb2, status_pb2

from services.common.errors import NotReadyError
from services.render import metrics
from services.render.drawing_thread import Drawn
from services.render.engine import DeviceLostError, FaceState, FrameJob, PreparedAvatar, VideoCodec
from services.render.engine_host import EngineHost, Sitter
from services.render.idle_loop import IdleLoops, LoopKey, frame_index
from services.render.idle_motion import LOOP_RATE_HZ
from services.render.scheduler import Ticket

# A frame is never given less time than so many draws of one frame take.
_GRANTED_DRAWS = 2
# Frames of a stream at a lower rate come a little unevenly.
_EARLIEST_SHARE = 0.9
# Who stays for so many idle frames gets a loop.
_LOOP_AFTER_FRAMES = 25
# A frame of a loop is worth so many of a file: loops are drawn when there is nothing else to do.
_LOOP_WEIGHT = 10
_LOOP_SESSION = 0


class Dropped(enum.Enum):
    """Why a frame was not drawn: it would have been late, or is more than the stream may have now."""

    LATE = "late"
    RATE = "rate"


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for a stream: what draws it, and how many frames per second it may have."""

    engine: media_pb2.EngineInfo
    rate_hz: int


@dataclass(frozen=True, slots=True)
class News:
    """Terms that have changed, and what went wrong, if it did."""

    terms: Terms
    warning: status_pb2.Status | None


class Seat:
    """Drawn by its home engine, and by the fallback while that one is lost."""

    def __init__(
        self,
        session: int,
        sitter: Sitter,
        home: EngineHost,
        away: EngineHost | None,
        size: int,
        codec: VideoCodec,
        rate_hz: int,
        *,
        is_live: bool,
        loops: IdleLoops,
        info: media_pb2.EngineInfo | None = None,
    ) -> None:
        """Args:
        session: above 0, unique in the process.
        home: has admitted the session if it is live.
        away: the fallback of `home`, None if there is none.
        rate_hz: that was asked for.
        info: what is told instead of the engine's own, where a better one had no room.
        """
        self.session = session
        self.sitter = sitter
        self.home = home
        self._away = away
        self._size = size
        self._codec = codec
        self._asked_hz = rate_hz
        self._is_live = is_live
        self._loops = loops
        self._info = info
        # The avatar as an engine holds it: of which host, of which of its engines, of whom.
        self._held: tuple[EngineHost, int, Sitter, PreparedAvatar] | None = None
        self._drawn_at_s = -math.inf
        self._idle_frames = 0
        self._is_away = False
        self._told = self.terms()

    @property
    def plays_idle_loops(self) -> bool:
        """Whether it idles in a loop, at its home."""
        return self._is_live and self.home.thread.engine.capabilities.plays_idle_loops

    @property
    def at_once(self) -> int:
        """How many frames of a file are best asked for at a time."""
        return self.home.thread.engine.capabilities.max_batch

    def _host(self) -> EngineHost:
        """Who draws now. Raises: NotReadyError if nobody can."""
        host, lost = self.home, self.home.lost
        if lost is not None:
            if self._away is None or self._away.lost is not None:
                raise NotReadyError(f"{host.name} lost its device ({lost}) and is being started again")
            host = self._away
        if self._is_away != (host is self._away):
            self._move(self._away)
        return host

    def _move(self, away: EngineHost | None) -> None:
        """To the fallback, or back from there."""
        assert away is not None
        self._is_away = not self._is_away
        if self._is_live and self._is_away:
            away.join(self.session, self._asked_hz)
        elif self._is_live:
            away.leave(self.session)

    def terms(self) -> Terms:
        """What holds now. Raises: NotReadyError if nothing can draw."""
        host = self._host()
        rate_hz = host.rate_hz(self.session) if self._is_live else self._asked_hz
        info = away_info(host, self.home) if host is not self.home else self._info or host.info
        return Terms(info, rate_hz)

    def tell(self) -> Terms:
        """What holds now, for a caller who then knows it. Raises: NotReadyError if nothing can draw."""
        self._told = self.terms()
        return self._told

    def news(self) -> News | None:
        """What the caller does not know yet: told once."""
        before, now = self._told, self.tell()
        if now == before:
            return None
        warning = None
        if now.engine.name != before.engine.name and self._is_away:
            warning = status_pb2.Status(code=code_pb2.UNAVAILABLE, message=now.engine.reason)
        elif now.rate_hz < before.rate_hz:
            warning = status_pb2.Status(
                code=code_pb2.RESOURCE_EXHAUSTED,
                message=f"{now.engine.name} draws for many now: {now.rate_hz} frames per second instead of "
                f"{before.rate_hz}",
            )
        return News(now, warning)

    async def switch(self, sitter: Sitter) -> None:
        """Draw another avatar from the next frame on. Raises: NotReadyError; EngineError."""
        self.sitter, before = sitter, self.sitter
        try:
            await self.prepare()
        except BaseException:
            self.sitter = before
            raise

    async def prepare(self) -> None:
        """Have the avatar ready. Raises: NotFoundError; NotReadyError; EngineError."""
        while True:
            host = self._host()
            try:
                await self._prepared(host)
            except DeviceLostError:
                continue
            return

    async def _prepared(self, host: EngineHost) -> PreparedAvatar:
        wanted = (host, host.generation, self.sitter)
        if self._held is None or self._held[:3] != wanted:
            self._held = (*wanted, await host.prepared(self.sitter))
        return self._held[3]

    async def draw(
        self, state: FaceState, at_s: float = 0.0, useful_s: float | None = None, loop_s: float | None = None
    ) -> Drawn | Dropped:
        """One frame.

        Args:
            at_s: when it is shown, on the caller's clock.
            useful_s: for how long from now it is of use; None if it is to be drawn however late.
            loop_s: the place in the idle loop that looks the same, if there is one.
        Raises: NotReadyError if nothing can draw; EngineError.
        """
        asked_s = self.home.thread.now_s
        while True:
            host = self._host()
            if loop_s is not None and (played := self._played(host, loop_s)) is not None:
                return played
            if useful_s is not None and at_s - self._drawn_at_s < _EARLIEST_SHARE / self._told.rate_hz:
                return _dropped(Dropped.RATE)
            try:
                prepared = await self._prepared(host)
                if self._is_live:
                    host.drew(self.session)
                job = FrameJob(prepared, state, self._size, self._codec)
                drawn = await host.draw(self._ticket(host, asked_s, useful_s), job)
            except DeviceLostError:
                continue
            if drawn is None:
                return _dropped(Dropped.LATE)
            self._drawn_at_s = at_s
            return drawn

    def _ticket(self, host: EngineHost, asked_s: float, useful_s: float | None) -> Ticket:
        shows_s = 1 / self._told.rate_hz
        if not self._is_live:
            return Ticket(self.session, shows_s, asked_s)
        granted_s = _GRANTED_DRAWS * host.thread.costs.of(1)
        due_s = asked_s + max(shows_s if useful_s is None else useful_s, granted_s)
        return Ticket(self.session, shows_s, asked_s, due_s, is_droppable=useful_s is not None)

    def _played(self, host: EngineHost, loop_s: float) -> Drawn | None:
        """A frame of the idle loop, if there is one."""
        if host is not self.home:
            return None
        self._idle_frames += 1
        if self._idle_frames <= _LOOP_AFTER_FRAMES:
            return None
        look = f"{host.name} {host.thread.engine.capabilities.look}"
        key = LoopKey(self.sitter.key, look, self._size, self._codec)
        loop = self._loops.get(key, partial(draw_loop, host, self.sitter, self._size, self._codec))
        if loop is None:
            return None
        begin_s = time.perf_counter()
        data = loop.frame(frame_index(loop_s))
        metrics.IDLE_FRAMES.inc()
        return Drawn(data, time.perf_counter() - begin_s)

    def leave(self) -> None:
        """The stream is over."""
        for host in (self.home, self._away):
            if host is not None:
                host.leave(self.session)


def _dropped(why: Dropped) -> Dropped:
    metrics.FRAMES_DROPPED.labels(why.value).inc()
    return why


def away_info(host: EngineHost, home: EngineHost) -> media_pb2.EngineInfo:
    """What draws while another engine is lost, and why."""
    reason = f"{host.name} draws until {home.name} is back, which lost its device: {home.lost}"
    return media_pb2.EngineInfo(name=host.name, reason=reason, path=host.info.path or None)


async def draw_loop(
    host: EngineHost, sitter: Sitter, size: int, codec: VideoCodec, states: list[FaceState]
) -> list[bytes]:
    """Frames of states, when the engine has nothing else to do. Raises: NotFoundError; EngineError."""
    prepared = await host.prepared(sitter)
    at_once = host.thread.engine.capabilities.max_batch
    frames: list[bytes] = []
    for first in range(0, len(states), at_once):
        now_s = host.thread.now_s
        asked = (
            host.draw(Ticket(_LOOP_SESSION, _LOOP_WEIGHT / LOOP_RATE_HZ, now_s), FrameJob(prepared, state, size, codec))
            for state in states[first : first + at_once]
        )
        frames += [drawn.data for drawn in await asyncio.gather(*asked) if drawn is not None]
    return frames
