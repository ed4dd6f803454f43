"""Live faces and files at one engine, without a second of waiting: real scheduler and capacity, simulated time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from services.render.capacity import Capacity, Costs
from services.render.scheduler import Scheduler, Ticket
from tests.fakes.drawing_in_batches import COSTS_S, ManualClock

# What the orchestrator gives a frame: the time by which it asks ahead, and half a slot.
USEFUL_S = 0.05


@dataclass
class Caller:
    """Somebody who asks for frames: a live one in slots of its rate, one frame at a time; a file as fast as they come.

    Attributes:
        speaks: whether the engine is needed at a time; else the caller's idle loop plays.
    """

    session: int
    rate_hz: int = 25
    phase_s: float = 0.0
    is_file: bool = False
    until_s: float = float("inf")
    speaks: Callable[[float], bool] = lambda _: True
    asked: int = 0
    drawn: int = 0
    dropped: int = 0
    late: int = 0
    skipped: int = 0
    waits_s: list[float] = field(default_factory=list)
    waiting: Ticket | None = None
    due_slot_s: float = 0.0


class Simulation:
    """One engine and its callers. Everything that `drawing_thread` and `seat` decide by time is decided here alike."""

    def __init__(self, costs_s: Mapping[int, float] = COSTS_S) -> None:
        self.clock = ManualClock()
        self.costs_s = costs_s
        self.costs = Costs(tuple(costs_s))
        for size, cost_s in costs_s.items():
            self.costs.observe(size, cost_s)
        self.scheduler = Scheduler(self.costs)
        self.capacity = Capacity(lambda: self.costs.frames_per_s)
        self.callers: dict[int, Caller] = {}
        self.batches: list[int] = []
        self.busy_s = 0.0
        self._arrivals: list[tuple[float, int]] = []

    def enter(self, caller: Caller, *, is_forced: bool = False) -> bool:
        """Let a caller in. Args: is_forced: whether there is room or not. Returns: False if there is none."""
        if is_forced:
            self.capacity.join(caller.session, caller.rate_hz, self.clock())
        elif not caller.is_file and not self.capacity.admit(caller.session, caller.rate_hz, self.clock()):
            return False
        self.callers[caller.session] = caller
        heapq.heappush(self._arrivals, (self.clock() + caller.phase_s, caller.session))
        return True

    def run(self, until_s: float) -> None:
        """Let time pass."""
        while True:
            while self._arrivals and self._arrivals[0][0] <= self.clock.now_s:
                at_s, session = heapq.heappop(self._arrivals)
                self._ask(self.callers[session], at_s)
            chosen = self.scheduler.next(self.clock.now_s)
            for ticket in chosen.dropped:
                caller = self.callers[ticket.session]
                caller.dropped += 1
                caller.waiting = None
            if chosen.batch:
                size = self.costs.padded(len(chosen.batch))
                self.clock.now_s += self.costs_s[size]
                self.costs.observe(size, self.costs_s[size])
                self.busy_s += self.costs_s[size]
                self.batches.append(len(chosen.batch))
                for ticket in chosen.batch:
                    self._answer(self.callers[ticket.session], ticket)
            elif not self._arrivals or self._arrivals[0][0] >= until_s:
                self.clock.now_s = until_s
                return
            else:
                self.clock.now_s = max(self.clock.now_s, self._arrivals[0][0])
            if self.clock.now_s >= until_s:
                return

    def _ask(self, caller: Caller, at_s: float) -> None:
        if at_s >= caller.until_s:
            if not caller.is_file:
                self.capacity.leave(caller.session)
            self.scheduler.forget(caller.session)
            return
        if caller.is_file:
            caller.asked += 1
            self.scheduler.add(Ticket(caller.session, 1 / caller.rate_hz, at_s))
            return
        rate_hz = self.capacity.rate_hz(caller.session, at_s)
        heapq.heappush(self._arrivals, (at_s + 1 / rate_hz, caller.session))
        if not caller.speaks(at_s):
            return
        caller.asked += 1
        if caller.waiting is not None:
            caller.skipped += 1
            return
        self.capacity.drew(caller.session, at_s)
        caller.waiting = Ticket(caller.session, 1 / rate_hz, at_s, at_s + USEFUL_S, is_droppable=True)
        self.scheduler.add(caller.waiting)

    def _answer(self, caller: Caller, ticket: Ticket) -> None:
        now_s = self.clock.now_s
        caller.drawn += 1
        caller.waiting = None
        caller.waits_s.append(now_s - ticket.asked_s)
        caller.late += now_s > ticket.due_s
        if caller.is_file:
            heapq.heappush(self._arrivals, (now_s, caller.session))
