"""Which frames are drawn next, and what becomes of callers over a minute of simulated time."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.render.capacity import Costs
from services.render.scheduler import Scheduler, Ticket
from tests.fakes.drawing_in_batches import COSTS_S
from tests.fakes.simulated_serving import USEFUL_S, Caller, Simulation

MESH_S: Mapping[int, float] = {1: 0.0025}


def scheduler_of(costs_s: Mapping[int, float] = COSTS_S) -> Scheduler:
    costs = Costs(tuple(costs_s))
    for size, cost_s in costs_s.items():
        costs.observe(size, cost_s)
    return Scheduler(costs)


def live(session: int, asked_s: float = 0.0, useful_s: float = USEFUL_S) -> Ticket:
    return Ticket(session, 1 / 25, asked_s, asked_s + useful_s, is_droppable=True)


def spare(session: int, asked_s: float = 0.0) -> Ticket:
    return Ticket(session, 1 / 25, asked_s)


def sessions(tickets: tuple[Ticket, ...]) -> list[int]:
    return [ticket.session for ticket in tickets]


def test_frames_of_several_streams_that_wait_are_drawn_in_the_batches_that_draw_most() -> None:
    scheduler = scheduler_of()
    for session in range(1, 6):
        scheduler.add(live(session))
    # Five would take as long as eight.
    assert sessions(scheduler.next(0.001).batch) == [1, 2, 3, 4]
    assert sessions(scheduler.next(0.012).batch) == [5]
    assert scheduler.next(0.02).batch == ()


def test_what_is_due_first_is_drawn_first() -> None:
    scheduler = scheduler_of(MESH_S)
    for session, useful_s in ((1, 0.05), (2, 0.03), (3, 0.04)):
        scheduler.add(live(session, useful_s=useful_s))
    drawn = [scheduler.next(0.0025 * number).batch[0].session for number in range(3)]
    assert drawn == [2, 3, 1]


def test_a_batch_is_only_so_large_that_its_first_frame_is_in_time() -> None:
    scheduler = scheduler_of()
    scheduler.add(live(1, useful_s=0.012))
    for session in range(2, 9):
        scheduler.add(live(session))
    # Eight take 20 ms, four take 11.
    assert sessions(scheduler.next(0.0).batch) == [1, 2, 3, 4]
    assert sorted(sessions(scheduler.next(0.011).batch)) == [5, 6, 7, 8]


def test_a_frame_that_would_be_late_is_dropped_and_one_that_is_wanted_however_late_is_drawn() -> None:
    scheduler = scheduler_of()
    late, patient = live(1), live(2)
    patient.is_droppable = False
    scheduler.add(late)
    scheduler.add(patient)
    chosen = scheduler.next(USEFUL_S - 0.001)
    assert chosen.dropped == (late,)
    assert chosen.batch == (patient,)


def test_what_nobody_waits_for_any_more_is_not_drawn() -> None:
    scheduler = scheduler_of()
    gone, waiting, file = live(1), live(2), spare(3)
    for ticket in (gone, waiting, file):
        scheduler.add(ticket)
    scheduler.withdraw(gone)
    scheduler.withdraw(file)
    scheduler.withdraw(file)
    assert scheduler.next(0.0).batch == (waiting,)


def test_a_file_takes_the_places_that_live_frames_leave_in_a_batch() -> None:
    scheduler = scheduler_of()
    for session in (1, 2, 3):
        scheduler.add(live(session))
    for _ in range(3):
        scheduler.add(spare(9))
    # Three live frames take as long as four.
    assert sessions(scheduler.next(0.001).batch) == [1, 2, 3, 9]


def test_alone_files_are_drawn_in_full_batches_and_share() -> None:
    scheduler = scheduler_of()
    for session in (1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2):
        scheduler.add(spare(session))
    assert sorted(sessions(scheduler.next(0.0).batch)) == [1, 1, 1, 1, 2, 2, 2, 2]


def test_while_somebody_is_live_a_batch_of_a_file_is_short() -> None:
    scheduler = scheduler_of()
    scheduler.add(live(1))
    scheduler.next(0.0)
    for _ in range(8):
        scheduler.add(spare(9, 0.01))
    # 6.2 ms; four would take 11.
    assert len(scheduler.next(0.02).batch) == 2


def test_a_file_has_a_tenth_of_the_time_although_live_frames_fill_every_batch() -> None:
    scheduler = scheduler_of(MESH_S)
    now_s, files = 0.0, 0
    for number in range(1000):
        scheduler.add(live(1 + number % 20, now_s))
        scheduler.add(live(1 + (number + 7) % 20, now_s))
        scheduler.add(spare(99, now_s))
        (ticket,) = scheduler.next(now_s).batch
        files += ticket.session == 99
        now_s += MESH_S[1]
    assert 0.09 <= files / 1000 <= 0.11


def test_where_not_all_can_be_in_time_who_was_shown_least_is_drawn() -> None:
    scheduler = scheduler_of(MESH_S)
    now_s, shown = 0.0, dict.fromkeys(range(1, 5), 0)
    # Room for one of four; the first is always due before the others.
    for _ in range(400):
        for session in shown:
            scheduler.add(live(session, now_s, 0.003 + session * 1e-4))
        (ticket,) = scheduler.next(now_s).batch
        shown[ticket.session] += 1
        now_s += 0.01
    assert max(shown.values()) - min(shown.values()) <= 1


def test_who_comes_back_after_a_long_time_does_not_take_everything() -> None:
    scheduler = scheduler_of(MESH_S)
    now_s = 0.0
    scheduler.add(live(2, now_s))
    scheduler.next(now_s)
    shown = {1: 0, 2: 0}
    for number in range(3000):
        if number == 2000:
            shown = {1: 0, 2: 0}
        for session in (1, 2) if number >= 2000 else (1,):
            scheduler.add(live(session, now_s, 0.003))
        (ticket,) = scheduler.next(now_s).batch
        shown[ticket.session] += 1
        now_s += 0.01
    # A second of 25 frames is all that it may claim.
    assert 0 <= shown[2] - shown[1] <= 27


@given(
    st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["live", "patient", "file"]), st.floats(0.0, 0.03))),
    st.sampled_from([COSTS_S, MESH_S]),
)
def test_each_frame_is_drawn_or_dropped_once_and_a_dropped_one_was_late(
    asked: list[tuple[int, str, float]], costs_s: Mapping[int, float]
) -> None:
    scheduler = scheduler_of(costs_s)
    now_s = 0.0
    tickets: set[Ticket] = set()
    drawn: list[Ticket] = []
    dropped: list[Ticket] = []
    for session, kind, pause_s in [*asked, *[(0, "", 0.0)] * (len(asked) + 1)]:
        if kind:
            ticket = spare(session, now_s) if kind == "file" else live(session, now_s)
            ticket.is_droppable = kind == "live"
            tickets.add(ticket)
            scheduler.add(ticket)
        now_s += pause_s
        chosen = scheduler.next(now_s)
        assert len(chosen.batch) <= max(costs_s)
        assert all(ticket.is_droppable and ticket.due_s < now_s + costs_s[1] for ticket in chosen.dropped)
        drawn += chosen.batch
        dropped += chosen.dropped
        if chosen.batch:
            now_s += costs_s[next(size for size in costs_s if size >= len(chosen.batch))]
        else:
            assert scheduler.waiting == 0, "it never waits while there is something to draw"
    assert scheduler.waiting == 0
    assert len(drawn) + len(dropped) == len(tickets)
    assert {*drawn, *dropped} == tickets


# --- a minute of many callers -------------------------------------------------------------------------------


def simulated(
    callers: int, *, files: int = 0, seed: int = 1, seconds: float = 60.0, is_forced: bool = False
) -> Simulation:
    dice = random.Random(seed)
    simulation = Simulation()
    for session in range(1, callers + 1):
        simulation.enter(Caller(session, phase_s=dice.random() * 0.08), is_forced=is_forced)
    for session in range(1000, 1000 + files):
        simulation.enter(Caller(session, is_file=True))
    simulation.run(seconds)
    return simulation


def faces(simulation: Simulation) -> list[Caller]:
    return [caller for caller in simulation.callers.values() if not caller.is_file]


def lost_share(simulation: Simulation) -> float:
    asked = sum(caller.asked for caller in faces(simulation))
    return sum(caller.dropped + caller.late + caller.skipped for caller in faces(simulation)) / asked


def unevenness(simulation: Simulation) -> float:
    drawn = [caller.drawn for caller in faces(simulation)]
    return max(drawn) / min(drawn)


@pytest.mark.parametrize(("files", "seed"), [(0, 1), (0, 2), (2, 3)])
def test_twelve_faces_at_25_frames_for_a_minute_are_all_in_time_whatever_files_do(files: int, seed: int) -> None:
    simulation = simulated(12, files=files, seed=seed)
    assert len(faces(simulation)) == 12
    assert min(caller.drawn for caller in faces(simulation)) >= 60 * 25 - 2
    assert lost_share(simulation) < 0.001
    assert unevenness(simulation) <= 1.05
    for caller in simulation.callers.values():
        if caller.is_file:
            assert caller.drawn > 60 * 10


def test_24_faces_are_drawn_less_often_and_all_in_time() -> None:
    simulation = simulated(24)
    assert len(faces(simulation)) == 24
    assert simulation.capacity.step_hz == 12
    assert min(caller.drawn for caller in faces(simulation)) >= 60 * 12 - 2
    assert lost_share(simulation) < 0.001
    assert unevenness(simulation) <= 1.05


def test_at_twice_what_fits_those_who_were_let_in_are_drawn_in_time() -> None:
    simulation = simulated(2 * 27)
    assert len(faces(simulation)) == 27
    assert lost_share(simulation) < 0.001
    assert unevenness(simulation) <= 1.05


@pytest.mark.parametrize("callers", [33, 40, 64])
def test_even_where_far_too_many_are_let_in_all_are_shown_alike_and_the_engine_does_what_it_can(callers: int) -> None:
    simulation = simulated(callers, is_forced=True, seconds=30.0)
    assert unevenness(simulation) <= 1.05
    drawn = sum(caller.drawn for caller in faces(simulation))
    assert drawn / 30 > 0.95 * simulation.costs.frames_per_s
    assert sum(caller.late for caller in faces(simulation)) == 0


def test_idle_faces_cost_nothing_and_all_may_speak_at_once() -> None:
    simulation = Simulation()
    dice = random.Random(1)
    for session in range(1, 25):
        # Each speaks for 4 of 12 seconds; from 40 s on all of them do.
        turn_s = 12 * dice.random()

        def speaks(at_s: float, turn_s: float = turn_s) -> bool:
            return at_s > 40 or (at_s + turn_s) % 12 < 4

        assert simulation.enter(Caller(session, phase_s=dice.random() * 0.04, speaks=speaks))
    simulation.run(2)
    started_s, simulation.busy_s = simulation.clock.now_s, 0.0
    simulation.run(40)
    # A third of 24 speaks: as much as 8 that always do.
    assert simulation.busy_s / (40 - started_s) < 0.85
    assert lost_share(simulation) < 0.001
    simulation.run(60)
    assert simulation.capacity.step_hz == 12
    assert lost_share(simulation) < 0.005
    assert unevenness(simulation) <= 1.5


def test_a_machine_that_stalls_for_a_moment_is_back_at_once() -> None:
    simulation = simulated(12, seconds=10)
    before = [caller.drawn for caller in faces(simulation)]
    simulation.clock.now_s += 0.3
    simulation.run(20)
    for caller, drawn in zip(faces(simulation), before, strict=True):
        assert caller.drawn - drawn >= 25 * 10 - math.ceil(0.35 * 25)
