"""Which frames an engine draws next: a pure decision, fed with times.

Live frames come by earliest deadline first, which loses none as long as all can be in time (Liu and Layland, 1973).
When not all can be, the face that was shown least comes first (fair queueing by virtual time, after Goyal, Vin and
Cheng, "Start-time fair queuing", 1996), because deadlines would always favour the same faces. What has no deadline
(frames of files, stills, idle loops) fills the places that are left, and has a tenth of the time in any case.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from services.render.capacity import Costs

# Share of the time that frames without a deadline have, however many faces are live.
SPARE_SHARE = 0.1
# While faces are live, frames without a deadline hold the engine up no longer than this.
_BLOCKING_S = 0.01
# Faces are live for so long after their last frame was asked for.
_LIVE_S = 1.0
# A face that was not drawn for a while may claim this much of what it missed.
_CLAIM_S = 1.0
# Where not all can be in time, full batches draw most. They may leave the same face out for so long.
_TOLERATED_S = 0.2


@dataclass(slots=True, eq=False)
class Ticket:
    """A frame that waits.

    Attributes:
        session: who shares: all frames of a session count together.
        shows_s: how much of the session's time the frame shows, one over its frame rate.
        asked_s: when it was asked for.
        due_s: when it should be done; infinity for a frame without a deadline.
        is_droppable: it is of no use after `due_s`.
    """

    session: int
    shows_s: float
    asked_s: float
    due_s: float = math.inf
    is_droppable: bool = False


@dataclass(frozen=True, slots=True)
class Round:
    """What to draw now, in one batch, and which frames can no longer be in time."""

    batch: tuple[Ticket, ...] = ()
    dropped: tuple[Ticket, ...] = ()


class _Shares:
    """How much each session was shown, in seconds of its own time."""

    def __init__(self) -> None:
        self._shown_s: dict[int, float] = {}
        self._virtual_s = 0.0

    def arrive(self, ticket: Ticket) -> None:
        earliest = self._virtual_s - _CLAIM_S
        self._shown_s[ticket.session] = max(self._shown_s.get(ticket.session, self._virtual_s), earliest)

    def order(self, ticket: Ticket) -> tuple[float, float, float]:
        """What was shown least comes first."""
        return self._shown_s[ticket.session], ticket.due_s, ticket.asked_s

    def behind_s(self, ticket: Ticket) -> float:
        """How much less than the others its session was shown."""
        return self._virtual_s - self._shown_s[ticket.session]

    def show(self, tickets: Sequence[Ticket]) -> None:
        if tickets:
            self._virtual_s = max(self._virtual_s, min(self._shown_s[ticket.session] for ticket in tickets))
        for ticket in tickets:
            self._shown_s[ticket.session] += ticket.shows_s

    def forget(self, session: int) -> None:
        self._shown_s.pop(session, None)


class Scheduler:
    """The frames that wait for one engine. It has no clock of its own, and is not for two threads at once."""

    def __init__(self, costs: Costs) -> None:
        """Args: costs: of the engine's batches; what is observed there is heeded here."""
        self._costs = costs
        self._live: list[Ticket] = []
        self._spare: list[Ticket] = []
        self._live_shares, self._spare_shares = _Shares(), _Shares()
        self._live_until_s = -math.inf
        # From then on the next frame without a deadline comes first.
        self._spare_turn_s = -math.inf

    @property
    def waiting(self) -> int:
        """How many frames wait."""
        return len(self._live) + len(self._spare)

    def add(self, ticket: Ticket) -> None:
        """A frame was asked for."""
        if ticket.due_s == math.inf:
            self._spare_shares.arrive(ticket)
            self._spare.append(ticket)
        else:
            self._live_shares.arrive(ticket)
            self._live.append(ticket)
            self._live_until_s = max(self._live_until_s, ticket.asked_s + _LIVE_S)

    def withdraw(self, ticket: Ticket) -> None:
        """Nobody waits for the frame any more; one that is not here is no mistake."""
        for waiting in (self._live, self._spare):
            if ticket in waiting:
                waiting.remove(ticket)

    def forget(self, session: int) -> None:
        """A session is over."""
        self._live_shares.forget(session)
        self._spare_shares.forget(session)

    def clear(self) -> tuple[Ticket, ...]:
        """Give up on all that waits. Returns: the tickets."""
        waiting = (*self._live, *self._spare)
        self._live, self._spare = [], []
        return waiting

    def next(self, now_s: float) -> Round:
        """What the engine, which is free, does now; the tickets in the answer no longer wait."""
        dropped = tuple(ticket for ticket in self._live if self._is_late(ticket, now_s + self._costs.of(1)))
        self._live = [ticket for ticket in self._live if ticket not in dropped]
        places = self._costs.max_batch
        guest = bool(self._spare) and now_s >= self._spare_turn_s
        batch = self._choose(now_s, int(guest)) if self._live else []
        if guest and self._live and not batch and places > 1:
            # Nobody who may not wait would be in time beside it.
            guest, batch = False, self._choose(now_s, 0)
        if self._live or not self._spare:
            room = self._costs.padded(len(batch) + guest) - len(batch) if batch or guest else 0
        elif now_s < self._live_until_s:
            room = max((n for n in range(1, places + 1) if self._costs.of(n) <= _BLOCKING_S), default=1)
        else:
            room = places
        # One by one: a file may have several frames here.
        spare: list[Ticket] = []
        while len(spare) < min(room, len(self._spare)):
            spare.append(min((t for t in self._spare if t not in spare), key=self._spare_shares.order))
            self._spare_shares.show(spare[-1:])
        self._live_shares.show(batch)
        self._live = [ticket for ticket in self._live if ticket not in batch]
        self._spare = [ticket for ticket in self._spare if ticket not in spare]
        drawn = (*batch, *spare)
        if spare:
            taken_s = self._costs.of(len(drawn)) * len(spare) / self._costs.padded(len(drawn))
            self._spare_turn_s = now_s + taken_s / SPARE_SHARE
        return Round(drawn, dropped)

    def _is_late(self, ticket: Ticket, done_s: float) -> bool:
        return ticket.is_droppable and done_s > ticket.due_s

    def _choose(self, now_s: float, guests: int) -> list[Ticket]:
        """The live frames of the next batch: those due first if all can be in time, else those of the least shown.

        Args: guests: how many frames without a deadline come with them.
        """
        by_deadline = sorted(self._live, key=lambda ticket: ticket.due_s)
        counts = range(1, min(len(by_deadline), self._costs.max_batch - guests) + 1)
        in_time = [count for count in counts if self._all_in_time(by_deadline, count, guests, now_s)]
        if in_time:
            return by_deadline[: max(in_time, key=lambda count: self._rate(count, guests))]
        by_share = sorted(self._live, key=self._live_shares.order)
        # Who is far behind is drawn now, even if that allows of a small batch only.
        neediest = by_share[0] if self._live_shares.behind_s(by_share[0]) > _TOLERATED_S else None
        best: list[Ticket] = []
        for count in counts:
            done_s = now_s + self._costs.of(count + guests)
            able = [ticket for ticket in by_share if not self._is_late(ticket, done_s)][:count]
            is_fair = neediest is None or (able and able[0] is neediest)
            if is_fair and self._rate(len(able), guests) > self._rate(len(best), guests):
                best = able
        return best

    def _rate(self, count: int, guests: int) -> float:
        """Live frames per second of a batch; before anything was measured, more is better."""
        return count / max(self._costs.of(count + guests), 1e-9) if count else 0.0

    def _all_in_time(self, by_deadline: list[Ticket], count: int, guests: int, now_s: float) -> bool:
        """Whether a first batch of `count` leaves time for all, if the rest follows in the largest batches."""
        first = 0
        while first < len(by_deadline):
            now_s += self._costs.of(min(count, len(by_deadline) - first) + guests)
            if now_s > by_deadline[first].due_s:
                return False
            first, count, guests = first + count, self._costs.max_batch, 0
        return True
