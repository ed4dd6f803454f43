"""A service may go and come back; the conversation goes on and says so in words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from avatar.conversation.v1.conversation_pb2 import ConversationEvent

from orchestrator import metrics
from services.common.errors import AvatarError, InvalidRequestError, NotFoundError, NotReadyError, UnsupportedError
from services.common.log import get_logger
from services.common.status import only_member

_FIRST_RETRY_S = 0.25
_LAST_RETRY_S = 4.0
log = get_logger(__name__)


class Availability:
    """Whether one service serves this conversation; announced when it changes."""

    def __init__(
        self, service: str, without_it: str, announce: Callable[[ConversationEvent.ServiceChanged], None]
    ) -> None:
        """Args: without_it: one sentence for people: what the conversation does in the meantime."""
        self._service = service
        self._without_it = without_it
        self._announce = announce
        self._available: bool | None = None

    def came(self) -> None:
        """The service serves. The first time is no news."""
        if self._available is False:
            self._say(available=True, message=f"The {self._service} service is back.")
        self._available = True

    def went(self, error: AvatarError) -> None:
        """The service failed."""
        if self._available is not False:
            metrics.SERVICE_LOST.labels(self._service).inc()
            log.warning("service_lost", service=self._service, reason=error.reason, pii_error=str(error))
            # A service that is not there has nothing to say to people; one that refuses has.
            reason = "" if isinstance(error, NotReadyError) else f" ({error})"
            self._say(available=False, message=self._without_it + reason)
        self._available = False

    def _say(self, *, available: bool, message: str) -> None:
        self._announce(ConversationEvent.ServiceChanged(service=self._service, available=available, message=message))


async def keep_serving(attempt: Callable[[], Awaitable[None]], availability: Availability) -> None:
    """Run `attempt` (one stream) again and again while its service comes and goes.

    Returns: when the service refuses for a reason that no retry changes (a language that it does not know).
    """
    retry_s = _FIRST_RETRY_S
    loop = asyncio.get_running_loop()
    while True:
        started_s = loop.time()
        try:
            await attempt()
        except (AvatarError, ExceptionGroup) as raised:
            error = only_member(raised)
            if not isinstance(error, AvatarError):
                raise
            availability.went(error)
            if isinstance(error, UnsupportedError | InvalidRequestError | NotFoundError):
                return
        if loop.time() - started_s > _LAST_RETRY_S:
            retry_s = _FIRST_RETRY_S
        await asyncio.sleep(retry_s)
        retry_s = min(2 * retry_s, _LAST_RETRY_S)
