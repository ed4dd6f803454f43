"""Which frames an engine draws next: a pure decision, fed with times.

Live frames come by earliest deadline first, which loses none as long as all can be in time (Liu and Layland, 1973).
When not all can be, the face that was shown least comes first (fair queueing by virtual time, after Goyal, Vin and
Cheng, "Start-time fair queuing", 1996), because deadlines would always favour the same faces. What has no deadline
(frames of files, stills, idle loops) fills the places that are left, and has a tenth of the time in any case.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
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

    def show(self, tickets: Iterable[Ticket]) -> None:
        for ticket in tickets:
            self._virtual_s = max(self._virtual_s, self._shown_s[ticket.session])
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
        batch = self._choose(now_s, places - guest) if self._live else []
        if self._live or not self._spare:
            room = self._costs.padded(len(batch) + guest) - len(batch) if batch or guest else 0
        elif now_s < self._live_until_s:
            room = max((n for n in range(1, places + 1) if self._costs.of(n) <= _BLOCKING_S), default=1)
        else:
            room = places
        spare = sorted(self._spare, key=self._spare_shares.order)[:room]
        self._live_shares.show(batch)
        self._spare_shares.show(spare)
        self._live = [ticket for ticket in self._live if ticket not in batch]
        self._spare = [ticket for ticket in self._spare if ticket not in spare]
        drawn = (*batch, *spare)
        if spare:
            taken_s = self._costs.of(len(drawn)) * len(spare) / self._costs.padded(len(drawn))
            self._spare_turn_s = now_s + taken_s / SPARE_SHARE
        return Round(drawn, dropped)

    def _is_late(self, ticket: Ticket, done_s: float) -> bool:
        return ticket.is_droppable and done_s > ticket.due_s

    def _choose(self, now_s: float, places: int) -> list[Ticket]:
        """The live frames of the next batch: those due first if all can be in time, else those of the least shown."""
        by_deadline = sorted(self._live, key=lambda ticket: ticket.due_s)
        counts = range(1, min(len(by_deadline), places) + 1)
        best: tuple[float, list[Ticket]] = (-1.0, [])
        for count in counts:
            if self._all_in_time(by_deadline, count, now_s):
                best = max(best, (self._rate(count), by_deadline[:count]), key=lambda found: found[0])
        if best[1]:
            return best[1]
        by_share = sorted(self._live, key=self._live_shares.order)
        for count in counts:
            done_s = now_s + self._costs.of(count)
            able = [ticket for ticket in by_share if not self._is_late(ticket, done_s)][:count]
            if able:
                best = max(best, (self._rate(len(able)), able), key=lambda found: found[0])
        return best[1]

    def _rate(self, count: int) -> float:
        cost_s = self._costs.of(count)
        return count / cost_s if cost_s > 0 else float(count)

    def _all_in_time(self, by_deadline: list[Ticket], count: int, now_s: float) -> bool:
        """Whether a first batch of `count` leaves time for all, if the rest follows in the largest batches."""
        first = 0
        while first < len(by_deadline):
            now_s += self._costs.of(min(count, len(by_deadline) - first))
            if now_s > by_deadline[first].due_s:
                return False
            first, count = first + count, self._costs.max_batch
        return True
