"""What the conversation shows: a picture for each video slot, drawn for what is heard in it."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import grpc
from avatar.media.v1.media_pb2 import VisemeTiming
from avatar.render.v1 import render_pb2

from orchestrator import metrics
from orchestrator.availability import Availability, keep_serving
from orchestrator.clients.render import Drawing, avatar_exists, drawing
from orchestrator.media_clock import MediaClock
from orchestrator.playout import Playout
from orchestrator.tracks import HOLD_S, Picture
from services.common.errors import InvalidRequestError

# A frame is asked for so long before it is sent: drawing takes 5 to 10 ms, the way there and back 2. It is asked for
# earlier where that takes longer, because many faces share a GPU, or because the way is far.
LEAD_S, MAX_LEAD_S = 0.03, 0.08
# A frame should be there this long before it is sent. One that is not moves the next ones by the first step, all others
# move them back by the second: where drawing takes longer than LEAD_S, one in twenty is a little late.
_SPARE_S, _EARLIER_S, _LATER_S = 0.005, 0.004, 0.0002
_REMEMBERED_STOPS = 16
# What the stream is told waits for the next slot; while there is none, the oldest is dropped.
_MAX_TO_TELL = 256


class Lead:
    """How long before it is sent the next frame is asked for, by how early the last ones came."""

    def __init__(self) -> None:
        self.seconds = LEAD_S

    def heed(self, spare_s: float) -> None:
        """Learn of a frame. Args: spare_s: how long before its time it was there, negative if it came too late."""
        step_s = _EARLIER_S if spare_s < _SPARE_S else -_LATER_S
        self.seconds = min(max(self.seconds + step_s, LEAD_S), MAX_LEAD_S)


class Face:
    """One conversation's render stream, reopened when it is lost; meanwhile the last picture stands still."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        session_id: str,
        avatar: str,
        frame_rate_hz: int,
        clock: MediaClock,
        playout: Playout,
        availability: Availability,
        show: Callable[[Picture], None],
    ) -> None:
        self._channel = channel
        self._session_id = session_id
        self.avatar = avatar
        self._frame_rate_hz = frame_rate_hz
        self._clock = clock
        self._playout = playout
        self._availability = availability
        self._show = show
        self._switched = asyncio.Event()
        self._stopped: deque[str] = deque(maxlen=_REMEMBERED_STOPS)
        self._to_tell: deque[Callable[[Drawing], Awaitable[None]]] = deque(maxlen=_MAX_TO_TELL)
        self._expression: tuple[render_pb2.ExpressionKind.ValueType, float] | None = None
        # Slots that passed without a picture, because drawing took too long.
        self.skipped_slots = 0
        self._lead = Lead()

    async def run(self) -> None:
        """Draw until cancelled."""
        while True:
            self._switched.clear()
            await keep_serving(self._attempt, self._availability)
            # This face is refused for good; another one may be had.
            await self._switched.wait()

    async def _attempt(self) -> None:
        # What was meant for the stream before is not missed, but for the expression.
        self._to_tell.clear()
        async with drawing(self._channel, self._session_id, self.avatar, self._frame_rate_hz) as stream:
            self._availability.came()
            if self._expression is not None:
                await stream.set_expression(*self._expression)
            await self._draw_slots(stream)

    async def _draw_slots(self, stream: Drawing) -> None:
        rate_hz = stream.frame_rate_hz
        slot = math.ceil(self._clock.media_s * rate_hz)
        while True:
            due_s = slot / rate_hz
            await self._clock.sleep_until(due_s + HOLD_S - self._lead.seconds)
            while self._to_tell:
                await self._to_tell.popleft()(stream)
            # Half a slot after its time a picture is no better than the one before.
            useful_s = max(due_s + HOLD_S + 0.5 / rate_hz - self._clock.media_s, 0.0)
            frame = await stream.draw(due_s, self._playout.place_at(due_s), useful_s)
            if frame is not None:
                self._show(Picture(frame.data, stream.size, due_s, frame.utterance_id))
            self._lead.heed(due_s + HOLD_S - self._clock.media_s)
            # The rate may have changed, and with it where slots lie.
            rate_hz = stream.frame_rate_hz
            passed = math.floor(due_s * rate_hz + 1e-6)
            slot = max(passed + 1, math.ceil((self._clock.media_s - HOLD_S) * rate_hz))
            self._skip(slot - passed - (1 if frame is not None else 0))

    def _skip(self, slots: int) -> None:
        self.skipped_slots += slots
        metrics.FRAMES_SKIPPED.inc(slots)

    def may_show(self, picture: Picture) -> bool:
        """False for a picture of an utterance that was stopped after it was drawn."""
        return picture.utterance_id not in self._stopped

    def stop(self, utterance_id: str) -> None:
        """From now on nothing of the utterance is shown, and the mouth shuts."""
        self._stopped.append(utterance_id)
        self._to_tell.append(lambda stream: stream.interrupt(utterance_id))

    def add_visemes(self, utterance_id: str, visemes: Sequence[VisemeTiming]) -> None:
        """Tell mouth shapes; without a face they are not missed."""
        self._to_tell.append(lambda stream: stream.add_visemes(utterance_id, visemes))

    def set_expression(self, name: str, intensity: float) -> None:
        """Change the expression. Raises: InvalidRequestError if there is none of that name, or no such intensity."""
        kind = expression_kind(name)
        if not 0 <= intensity <= 1:
            raise InvalidRequestError(f"the intensity of an expression is 0 to 1, not {intensity}")
        self._expression = (kind, intensity)
        self._to_tell.append(lambda stream: stream.set_expression(kind, intensity))

    async def switch(self, avatar: str) -> None:
        """Show another face. Raises: NotFoundError if there is none of that name."""
        await avatar_exists(self._channel, avatar)
        self.avatar = avatar
        self._to_tell.append(lambda stream: stream.switch_avatar(avatar))
        self._switched.set()


def expression_kind(name: str) -> render_pb2.ExpressionKind.ValueType:
    """The expression of a name, such as "happy". Raises: InvalidRequestError if there is none."""
    kinds = render_pb2.ExpressionKind.DESCRIPTOR.values_by_name
    value = kinds.get(f"EXPRESSION_KIND_{name.upper()}")
    if value is None or value.number == render_pb2.EXPRESSION_KIND_UNSPECIFIED:
        known = ", ".join(kind.removeprefix("EXPRESSION_KIND_").lower() for kind in list(kinds)[1:])
        raise InvalidRequestError(f"there is no expression {name[:40]!r}; there are {known}")
    return render_pb2.ExpressionKind.Value(value.name)
