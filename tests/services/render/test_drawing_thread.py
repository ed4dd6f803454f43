"""The thread of an engine: frames in, coded frames out, and a failure stays with the frame that caused it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from services.common.errors import EngineError, OverloadedError
from services.render.blendshapes import weights_of
from services.render.drawing_thread import DrawingThread, Drawn
from services.render.engine import DeviceLostError, FaceState, FrameJob, Portrait, RenderEngine, VideoCodec
from services.render.scheduler import Ticket
from tests.fakes.drawing_in_batches import BatchAvatar, BatchEngine, ManualClock
from tests.fakes.until import until

COSTS_S = {1: 0.004, 2: 0.006, 4: 0.011}


class Drawing:
    """One engine on its thread, and who waits for it."""

    def __init__(self, engine: RenderEngine, clock: ManualClock, max_waiting: int) -> None:
        self.changes = 0
        self.clock = clock
        self.thread = DrawingThread("test", engine, max_waiting, on_change=self._changed, clock=clock)

    def _changed(self) -> None:
        self.changes += 1

    def ask(self, session: int, job: FrameJob, useful_s: float | None = None) -> asyncio.Task[Drawn | None]:
        now_s = self.clock()
        due_s = float("inf") if useful_s is None else now_s + useful_s
        ticket = Ticket(session, 1 / 25, now_s, due_s, is_droppable=useful_s is not None)
        return asyncio.ensure_future(self.thread.draw(ticket, job))


@contextlib.asynccontextmanager
async def drawing(
    engine: RenderEngine, clock: ManualClock | None = None, max_waiting: int = 16
) -> AsyncIterator[Drawing]:
    one = Drawing(engine, clock or ManualClock(), max_waiting)
    try:
        yield one
    finally:
        if isinstance(engine, BatchEngine):
            engine.may_draw.set()
        one.thread.close()


@contextlib.asynccontextmanager
async def held(one: Drawing, engine: BatchEngine, first: FrameJob) -> AsyncIterator[asyncio.Task[Drawn | None]]:
    """The engine draws `first` as long as the body runs, and what the body asks for waits."""
    engine.may_draw.clear()
    task = one.ask(0, first)
    await asyncio.to_thread(engine.draws.wait, 10)
    try:
        yield task
    finally:
        engine.may_draw.set()


def avatar_of(engine: BatchEngine, shade: int) -> BatchAvatar:
    blank = np.full((8, 8, 3), shade, np.uint8)
    return engine.prepare(Portrait(blank, np.zeros((478, 3), np.float32), blank[..., 0]))


def job_of(avatar: BatchAvatar, jaw: float = 0.0) -> FrameJob:
    return FrameJob(avatar, FaceState(weights_of({"jawOpen": jaw})), 64, VideoCodec.I420)


async def test_frames_that_wait_are_drawn_together_and_each_waiter_gets_its_own() -> None:
    clock = ManualClock()
    engine = BatchEngine(COSTS_S, clock)
    jobs = [job_of(avatar_of(engine, shade), jaw) for shade in (10, 200) for jaw in (0.0, 0.5)]
    async with drawing(engine, clock) as one:
        async with held(one, engine, jobs[0]) as first:
            others = [one.ask(number, job, 1.0) for number, job in enumerate(jobs, 1)]
            await asyncio.sleep(0)
            assert one.thread.waiting == 4
        drawn = await asyncio.gather(first, *others)
    assert [len(batch) for batch in engine.batches] == [1, 4]
    assert [frame.data for frame in drawn if frame] == [engine.frame(job) for job in (jobs[0], *jobs)]
    assert [frame.seconds for frame in drawn if frame] == pytest.approx([0.004] + [0.011] * 4)
    assert one.thread.costs.of(4) == pytest.approx(0.011)


async def test_a_frame_whose_time_has_passed_is_answered_by_nothing_and_not_drawn() -> None:
    clock = ManualClock()
    engine = BatchEngine(COSTS_S, clock)
    job = job_of(avatar_of(engine, 10))
    async with drawing(engine, clock) as one:
        async with held(one, engine, job):
            late = one.ask(1, job, 0.05)
            await asyncio.sleep(0)
            clock.now_s += 0.06
        assert await late is None
    assert len(engine.batches) == 1


async def test_a_frame_that_cannot_be_drawn_fails_alone() -> None:
    engine = BatchEngine(COSTS_S)
    avatar = avatar_of(engine, 10)
    good, bad = job_of(avatar, 0.1), job_of(avatar, 0.2)
    async with drawing(engine) as one:
        async with held(one, engine, good):
            tasks = [one.ask(number, job) for number, job in enumerate((good, bad, good), 1)]
            await asyncio.sleep(0)
            engine.poison = bad
        first, failed, last = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(failed, ValueError)
        for drawn in (first, last):
            assert isinstance(drawn, Drawn)
            assert drawn.data == engine.frame(good)
        # The engine goes on.
        assert await one.ask(9, good) is not None


async def test_an_engine_that_forgets_a_frame_is_told_so() -> None:
    class Forgetful(BatchEngine):
        def draw(self, jobs: Sequence[FrameJob]) -> list[bytes]:
            return super().draw(jobs)[1:]

    engine = Forgetful(COSTS_S)
    async with drawing(engine) as one:
        with pytest.raises(EngineError, match="0 frames of 1"):
            await one.ask(1, job_of(avatar_of(engine, 10)))


async def test_a_waiter_who_leaves_is_not_drawn_for() -> None:
    engine = BatchEngine(COSTS_S)
    job = job_of(avatar_of(engine, 10))
    async with drawing(engine) as one:
        async with held(one, engine, job) as first:
            gone = one.ask(1, job)
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            assert one.thread.waiting == 0
        assert await first is not None
    assert len(engine.batches) == 1


async def test_more_frames_than_may_wait_are_refused_with_the_number() -> None:
    engine = BatchEngine(COSTS_S)
    job = job_of(avatar_of(engine, 10))
    async with drawing(engine, max_waiting=2) as one, held(one, engine, job):
        waiting = [one.ask(number, job) for number in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="2 frames wait"):
            await one.ask(3, job)
        engine.may_draw.set()
        await asyncio.gather(*waiting)


async def test_when_the_device_is_lost_all_who_wait_are_told_and_all_who_come() -> None:
    engine = BatchEngine(COSTS_S)
    job = job_of(avatar_of(engine, 10))
    async with drawing(engine) as one:
        async with held(one, engine, job) as first:
            others = [one.ask(number, job) for number in range(1, 7)]
            await asyncio.sleep(0)
            engine.lost.set()
        for outcome in await asyncio.gather(first, *others, return_exceptions=True):
            assert isinstance(outcome, DeviceLostError)
        with pytest.raises(DeviceLostError, match="the cable was pulled"):
            await one.ask(9, job)
        assert str(one.thread.lost) == "the cable was pulled"
        assert one.changes == 1
        one.thread.lose(DeviceLostError("again"))
        assert str(one.thread.lost) == "the cable was pulled"
        another = BatchEngine(COSTS_S)
        one.thread.replace(another)
        with pytest.raises(DeviceLostError):
            await one.ask(9, job)
        one.thread.resume()
        assert await one.ask(9, job_of(avatar_of(another, 10))) is not None


async def test_another_path_is_noticed_and_its_cost_measured_anew() -> None:
    clock = ManualClock()
    engine = BatchEngine({1: 0.05}, clock)
    job = job_of(avatar_of(engine, 10))
    async with drawing(engine, clock) as one:
        await one.ask(1, job)
        assert one.thread.costs.of(1) == pytest.approx(0.05)
        engine.path, engine.costs_s = "graph", {1: 0.01}
        await one.ask(1, job)
        await one.ask(1, job)
        assert one.changes == 1
        assert one.thread.costs.of(1) == pytest.approx(0.01)


async def test_a_chore_waits_for_frames_and_its_failure_is_its_own() -> None:
    engine = BatchEngine(COSTS_S)
    job = job_of(avatar_of(engine, 10))
    async with drawing(engine) as one:
        async with held(one, engine, job):
            chore = asyncio.ensure_future(one.thread.run(lambda: len(engine.batches)))
            frame = one.ask(1, job)
            await asyncio.sleep(0)
        assert await chore == 2
        assert await frame is not None

        def fail() -> None:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await one.thread.run(fail)
        assert await one.ask(1, job) is not None


async def test_at_the_end_what_is_drawn_is_waited_for_and_what_waits_is_dropped() -> None:
    engine = BatchEngine(COSTS_S)
    job = job_of(avatar_of(engine, 10))
    one = Drawing(engine, ManualClock(), 16)
    async with held(one, engine, job) as first:
        waiting = [one.ask(number, job) for number in range(1, 9)]
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(asyncio.to_thread(one.thread.close))
        await until(lambda: one.thread._closing)
    await closing
    assert (await first) is not None
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)


async def test_a_path_that_changes_is_noticed_while_nobody_asks_for_a_frame() -> None:
    engine = BatchEngine(COSTS_S)
    one = Drawing(engine, ManualClock(), 16)
    engine.path = "graph+triton"
    await until(lambda: one.changes)
    assert one.changes == 1
    await asyncio.to_thread(one.thread.close)
