"""Every conversation of this process: those that run, and the last ones that ended."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator

import structlog

from orchestrator import metrics
from orchestrator.replies import replier_named
from orchestrator.session import Session
from orchestrator.session_config import Channels, SessionConfig
from services.common import telemetry
from services.common.errors import NotFoundError, OverloadedError


class Conversations:
    """Starts conversations up to a limit and finds them by name."""

    def __init__(self, channels: Channels, max_running: int, kept: int) -> None:
        """Args: kept: how many ended conversations are remembered."""
        self._channels = channels
        self._max_running = max_running
        self._kept = kept
        self._running: dict[str, Session] = {}
        self._ended: OrderedDict[str, Session] = OrderedDict()

    @contextlib.asynccontextmanager
    async def conversation(self, config: SessionConfig, traceparent: str = "") -> AsyncIterator[Session]:
        """A conversation that is remembered when the body ends.

        Args: traceparent: of the caller, if it traces.
        Raises: OverloadedError at the limit.
        """
        if len(self._running) >= self._max_running:
            metrics.CONVERSATIONS_REFUSED.inc()
            raise OverloadedError(
                f"{self._max_running} conversations run already; try again when one has ended",
                limit=f"max_streams={self._max_running}",
                retry_after_s=10.0,
            )
        span = self._channels.tracer.start("conversation", parent=traceparent)
        # Every task of the conversation is begun below here.
        before = telemetry.traceparent.set(span.traceparent or traceparent)
        session = Session(config, self._channels, replier_named(config.reply, config.language_code))
        self._running[session.name] = session
        metrics.CONVERSATIONS.inc()
        metrics.CONVERSATIONS_ACTIVE.inc()
        try:
            with structlog.contextvars.bound_contextvars(session_id=session.session_id):
                yield session
        finally:
            del self._running[session.name]
            metrics.CONVERSATIONS_ACTIVE.dec()
            span.end(attributes={"session.id": session.session_id})
            telemetry.traceparent.reset(before)
            self._ended[session.name] = session
            while len(self._ended) > self._kept:
                self._ended.popitem(last=False)

    def get(self, name: str) -> Session:
        """Raises: NotFoundError if no conversation of that name runs or is remembered."""
        session = self._running.get(name) or self._ended.get(name)
        if session is None:
            raise NotFoundError(f"there is no conversation {name[:80]!r}; list them to see which there are")
        return session

    def all(self) -> list[Session]:
        """The newest first."""
        return [*reversed(self._running.values()), *reversed(self._ended.values())]
