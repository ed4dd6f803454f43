"""Many streams at one engine that draws in batches, over a real channel: shared, full, lost and back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status

from services.common.errors import AvatarError, EngineError, InvalidRequestError, OverloadedError
from services.render.blendshapes import Weights
from services.render.capacity import RAISE_AFTER_S
from services.render.engine import FaceState, FrameJob, HeadPose, Portrait, RenderEngine, VideoCodec
from services.render.image_file import decode
from services.render.video import jpeg_of
from services.render.visemes import Viseme
from tests.fakes.drawing_flat import FlatEngine
from tests.fakes.drawing_in_batches import BatchAvatar, BatchEngine, ManualClock
from tests.fakes.until import until
from tests.services.render.face_service import (
    FPS,
    Serving,
    asked,
    audio,
    by_audio,
    config,
    done,
    frame,
    opened,
    refusal,
    rest_of,
    serving,
    tone,
    visemes,
)

Response = render_pb2.StreamingRenderResponse
# One face at 25 frames per second, or two at 12.
SLOW_S: Mapping[int, float] = {1: 0.033}


async def dark_face(face: Serving, default_file: bytes) -> None:
    """Make avatars/dark."""
    dark = jpeg_of((decode(default_file) * 0.6).astype(np.uint8))
    portrait = render_pb2.Avatar(portrait=dark, consent="a drawing")
    await face.avatars.CreateAvatar(render_pb2.CreateAvatarRequest(avatar=portrait, avatar_id="dark"))


def shown_state(answer: Any) -> FaceState:
    """What a frame says that it shows."""
    told = answer.frame.face_state
    weights: Weights = np.array(told.blendshape_weights, np.float32)
    return FaceState(weights, HeadPose(told.head_yaw_degrees, told.head_pitch_degrees, told.head_roll_degrees))


def kinds(answers: list[Any]) -> list[str]:
    return [answer.WhichOneof("response") for answer in answers]


async def waiting(face: Serving, count: int) -> None:
    """Wait until so many frames wait for the engine."""
    await until(lambda: face.stage.engines[0].thread.waiting == count)


# --- batches ------------------------------------------------------------------------------------------------


async def two_faces(data_dir: Path, default_file: bytes, *, together: bool) -> tuple[list[bytes], list[int]]:
    """Three streams, the third of another face. Returns: the frames of the last two, and how many each draw made."""
    engine = BatchEngine(clock=(clock := ManualClock()))
    async with serving(data_dir, engine, clock=clock) as face:
        await dark_face(face, default_file)
        first, second = await opened(face), await opened(face)
        third = await opened(face, config(avatar="avatars/dark"))
        engine.batches.clear()
        if together:
            engine.may_draw.clear()
            await first.write(frame(0))
            await asyncio.to_thread(engine.draws.wait, 10)
            await second.write(frame(3))
            await third.write(frame(5))
            await waiting(face, 2)
            engine.may_draw.set()
            assert (await first.read()).frame.data
            drawn = [(await call.read()).frame.data for call in (second, third)]
        else:
            assert (await asked(first, frame(0))).frame.data
            drawn = [(await asked(second, frame(3))).frame.data, (await asked(third, frame(5))).frame.data]
        for call in (first, second, third):
            await rest_of(call)
    return drawn, [len(batch) for batch in engine.batches]


async def test_two_faces_in_one_batch_are_byte_for_byte_what_each_is_alone(
    data_dir: Path, tmp_path_factory: pytest.TempPathFactory, default_file: bytes
) -> None:
    together, sizes = await two_faces(data_dir, default_file, together=True)
    assert sizes == [1, 2]
    other_dir = tmp_path_factory.mktemp("alone")
    (other_dir / "models").symlink_to((data_dir / "models").resolve())
    alone, sizes = await two_faces(other_dir, default_file, together=False)
    assert sizes == [1, 1, 1]
    assert together == alone
    assert alone[0] != alone[1]


async def test_each_of_24_streams_gets_its_own_face_and_state_in_order(data_dir: Path, default_file: bytes) -> None:
    engine = BatchEngine(clock=(clock := ManualClock()))
    async with serving(data_dir, engine, clock=clock, max_streams=24) as face:
        await dark_face(face, default_file)
        prepared = {name: await face.stage.engines[0].prepared(face.stage.sitter(name)) for name in ("default", "dark")}

        async def watch(number: int) -> None:
            name = "dark" if number % 3 == 0 else "default"
            call = await opened(face, config(avatar=f"avatars/{name}"))
            await call.write(visemes("u", (Viseme(2 + number % 14), 0.0, 1.0)))
            for index in range(10):
                await call.write(frame(index, "u", index / FPS))
            answers = await rest_of(call)
            frames = [answer for answer in answers if answer.HasField("frame")]
            assert [answer.frame.frame_index for answer in frames] == list(range(10))
            for answer in frames:
                job = FrameJob(prepared[name], shown_state(answer), 256, VideoCodec.I420)
                assert answer.frame.data == engine.frame(job)

        await asyncio.gather(*(watch(number) for number in range(24)))
    sizes = [len(batch) for batch in engine.batches]
    assert max(sizes) == 8, "frames of several streams were drawn together"


async def test_a_file_is_drawn_in_batches_and_a_still_beside_it(data_dir: Path) -> None:
    engine = BatchEngine(clock=(clock := ManualClock()))
    async with serving(data_dir, engine, clock=clock) as face:
        call = await opened(face, by_audio())
        engine.batches.clear()
        await call.write(audio("u", 0, tone(1.0)))
        await call.write(done("u"))
        still = await face.render.RenderStill(render_pb2.RenderStillRequest(avatar="avatars/default"))
        answers = await rest_of(call)
    assert decode(still.data).shape == (512, 512, 3)
    assert [answer.frame.frame_index for answer in answers[:-1]] == list(range(25))
    assert sum(len(batch) for batch in engine.batches) == 26
    assert len(engine.batches) <= 8


async def test_a_frame_that_would_be_late_is_answered_by_its_drop_and_the_next_one_is_drawn(data_dir: Path) -> None:
    engine = BatchEngine(clock=(clock := ManualClock()))
    async with serving(data_dir, engine, clock=clock) as face:
        first, second = await opened(face), await opened(face)
        await second.write(visemes("u", (Viseme.AA, 0.0, 1.0)))
        engine.may_draw.clear()
        await first.write(frame(0))
        await asyncio.to_thread(engine.draws.wait, 10)
        await second.write(frame(7, "u", 0.2, useful_s=0.05))
        await waiting(face, 1)
        clock.now_s += 0.1
        engine.may_draw.set()
        dropped = await second.read()
        assert dropped.frame_dropped.frame_index == 7
        assert dropped.frame_dropped.reason == Response.FrameDropped.REASON_LATE
        # What was not shown does not count for the interruption.
        interrupted = await asked(second, interrupt_of("u"))
        assert not interrupted.interrupted.last_offset.nanos
        assert (await asked(second, frame(8, useful_s=0.05))).frame.frame_index == 8
        assert (await first.read()).frame.frame_index == 0
        for call in (first, second):
            await rest_of(call)


def interrupt_of(utterance_id: str) -> Any:
    request = render_pb2.StreamingRenderRequest
    return request(interrupt=request.Interrupt(utterance_id=utterance_id))


async def test_a_frame_always_has_the_time_that_two_drawings_take(data_dir: Path) -> None:
    engine = BatchEngine({1: 0.1}, clock := ManualClock())
    async with serving(data_dir, engine, clock=clock) as face:
        call = await opened(face, config(video={"frame_rate_hertz": 5}))
        assert (await asked(call, frame(0, useful_s=0.01))).frame.data
        await rest_of(call)


# --- full ---------------------------------------------------------------------------------------------------


async def started(face: Serving, **video: int) -> tuple[Any, Any]:
    call = face.render.StreamingRender()
    answer = await asked(call, config(video=video))
    return call, answer.started


async def test_one_face_more_means_fewer_frames_for_each_and_both_are_told(data_dir: Path) -> None:
    engine = BatchEngine(SLOW_S, clock := ManualClock())
    async with serving(data_dir, engine, clock=clock) as face:
        first, told = await started(face)
        assert told.config.video_format.frame_rate_hertz == 25
        assert (await asked(first, frame(0, useful_s=0.1))).HasField("frame")
        second, told = await started(face)
        assert told.config.video_format.frame_rate_hertz == 12
        assert told.engine.name == "batches"
        answers = [await asked(first, frame(1, useful_s=0.1)), await first.read(), await first.read()]
        assert kinds(answers) == ["warning", "changed", "frame"]
        assert answers[0].warning.code == code_pb2.RESOURCE_EXHAUSTED
        assert "12 frames per second instead of 25" in answers[0].warning.message
        assert answers[1].changed.config.video_format.frame_rate_hertz == 12
        assert answers[1].changed.config.avatar == "avatars/default"
        # At 25 frames per second every second one is too many, and costs nothing.
        engine.batches.clear()
        answers = [await asked(first, frame(index, useful_s=0.1)) for index in range(2, 14)]
        assert kinds(answers) == ["frame_dropped", "frame"] * 6
        assert answers[0].frame_dropped.reason == Response.FrameDropped.REASON_RATE
        assert len(engine.batches) == 6
        # Who does not say for how long a frame is of use gets every one.
        assert (await asked(first, frame(14))).HasField("frame")
        await rest_of(second)
        clock.now_s += 1.5
        await asked(first, frame(40, useful_s=0.1))
        clock.now_s += RAISE_AFTER_S + 0.1
        answers = [await asked(first, frame(200, useful_s=0.1)), await first.read()]
        assert kinds(answers) == ["changed", "frame"]
        assert answers[0].changed.config.video_format.frame_rate_hertz == 25
        await rest_of(first)


async def test_who_finds_no_room_gets_the_other_engine_and_is_told_why(data_dir: Path) -> None:
    engine = BatchEngine(SLOW_S, clock := ManualClock())
    fallback = BatchEngine(SLOW_S, clock, name="simple")
    async with serving(data_dir, engine, fallback=fallback, clock=clock) as face:
        calls = []
        for name in ("batches", "batches", "simple", "simple"):
            call, told = await started(face)
            assert told.engine.name == name
            calls.append(call)
        assert told.engine.reason == (
            "simple draws: batches draws 2 faces, and has no room for one more even at 12 frames per second"
        )
        engine.batches.clear()
        fallback.batches.clear()
        assert (await asked(calls[3], frame(0))).HasField("frame")
        assert (len(engine.batches), len(fallback.batches)) == (0, 1)
        # Refusal comes last, with the time for another try.
        error = await refusal(face, config())
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        details = [detail.TypeName() for detail in rpc_status.from_call(error).details]
        assert "google.rpc.RetryInfo" in details
        retry = error_details_pb2.RetryInfo()
        rpc_status.from_call(error).details[details.index("google.rpc.RetryInfo")].Unpack(retry)
        assert retry.retry_delay.seconds == 5
        # Files and stills are drawn all the same, in the time that is left.
        file = await opened(face, by_audio())
        await file.write(audio("u", 0, tone(0.2)))
        await file.write(done("u"))
        assert kinds(await rest_of(file)) == ["frame"] * 5 + ["utterance_rendered"]
        # A place that is left is free for the next.
        await rest_of(calls[0])
        call, told = await started(face)
        assert told.engine.name == "batches"
        for open_call in (*calls[1:], call):
            await rest_of(open_call)


async def test_without_another_engine_one_face_too_many_is_refused(data_dir: Path) -> None:
    engine = BatchEngine(SLOW_S, clock := ManualClock())
    async with serving(data_dir, engine, clock=clock) as face:
        calls = [await opened(face) for _ in range(2)]
        error = await refusal(face, config())
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "batches draws 2 faces" in (error.details() or "")
        for call in calls:
            await rest_of(call)


async def test_an_engine_that_nothing_else_can_replace_takes_the_first_however_slow_it_is(data_dir: Path) -> None:
    engine = BatchEngine({1: 0.2}, clock := ManualClock())
    async with serving(data_dir, engine, clock=clock) as face:
        call = await opened(face)
        assert (await refusal(face, config())).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await rest_of(call)


async def test_an_engine_that_was_measured_on_a_busy_machine_is_measured_again(data_dir: Path) -> None:
    costs_s = {1: 0.2}
    engine = BatchEngine(costs_s, clock := ManualClock())
    async with serving(data_dir, engine, fallback=FlatEngine(), clock=clock) as face:
        costs_s[1] = 0.002
        call, told = await started(face)
        assert told.engine.name == "flat"
        await until(lambda: face.stage.engines[0].thread.costs.frames_per_s > 100)
        other, told = await started(face)
        assert told.engine.name == "batches"
        for open_call in (call, other):
            await rest_of(open_call)


@pytest.mark.parametrize("error", [EngineError, InvalidRequestError, OverloadedError])
async def test_a_portrait_that_the_engine_cannot_take_is_drawn_by_the_other_and_the_place_is_free(
    data_dir: Path, default_file: bytes, error: type[AvatarError]
) -> None:
    class Small(BatchEngine):
        def prepare(self, portrait: Portrait) -> BatchAvatar:
            if self.prepared == 1:
                raise error("4 MB are left of the GPU's memory, and a face needs 8 MB")
            return super().prepare(portrait)

    engine = Small(SLOW_S, clock := ManualClock())
    async with serving(data_dir, engine, fallback=FlatEngine(), clock=clock) as face:
        await dark_face(face, default_file)
        call = face.render.StreamingRender()
        told = (await asked(call, config(avatar="avatars/dark"))).started
        assert told.engine.name == "flat"
        assert told.engine.reason.endswith(
            "batches could not: 4 MB are left of the GPU's memory, and a face needs 8 MB"
        )
        assert told.config.video_format.frame_rate_hertz == 25
        other, told = await started(face)
        assert (told.engine.name, told.config.video_format.frame_rate_hertz) == ("batches", 25)
        for open_call in (call, other):
            await rest_of(open_call)


# --- lost ---------------------------------------------------------------------------------------------------


async def engine_of(face: Serving) -> media_pb2.EngineInfo:
    health: render_pb2.GetHealthResponse = await face.render.GetHealth(render_pb2.GetHealthRequest())
    return health.engine


class Bench:
    """Makes engines, of which the first `broken` cannot be started."""

    def __init__(self, broken: int = 0) -> None:
        self.made: list[BatchEngine] = []
        self.broken = broken
        self.allowed = threading.Event()

    def restart(self) -> RenderEngine:
        assert self.allowed.wait(timeout=20)
        self.made.append(BatchEngine())
        if len(self.made) <= self.broken:
            self.made[-1].lost.set()
        if len(self.made) == 1 and self.broken > 1:
            raise RuntimeError("no device was found")
        return self.made[-1]


async def test_a_lost_device_ends_no_stream_and_comes_back_after_several_tries(data_dir: Path) -> None:
    engine, bench = BatchEngine(), Bench(broken=3)
    async with serving(data_dir, engine, fallback=FlatEngine(), restart=bench.restart) as face:
        live, other, file = await opened(face), await opened(face), await opened(face, by_audio())
        assert (await asked(live, frame(0))).HasField("frame")
        engine.lost.set()
        answers = [await asked(live, frame(1)), await live.read(), await live.read()]
        assert kinds(answers) == ["warning", "changed", "frame"]
        reason = "flat draws until batches is back, which lost its device: the cable was pulled"
        assert (answers[0].warning.code, answers[0].warning.message) == (code_pb2.UNAVAILABLE, reason)
        assert (answers[1].changed.engine.name, answers[1].changed.engine.reason) == ("flat", reason)
        assert len(set(answers[2].frame.data[:100])) == 1, "one colour: the other engine"
        assert await engine_of(face) == answers[1].changed.engine
        # It is told once, and to each stream.
        assert kinds([await asked(live, frame(2))]) == ["frame"]
        assert kinds([await asked(other, frame(0)), await other.read()]) == ["warning", "changed"]
        assert (await other.read()).HasField("frame")
        await file.write(audio("u", 0, tone(0.2)))
        await file.write(done("u"))
        assert kinds(await rest_of(file)) == ["warning", "changed"] + ["frame"] * 5 + ["utterance_rendered"]
        newcomer, told = await started(face)
        assert told.engine.name == "flat"
        still = await face.render.RenderStill(render_pb2.RenderStillRequest(avatar="avatars/default"))
        assert still.data
        assert engine.is_closed

        bench.allowed.set()
        await until(lambda: face.stage.engines[0].lost is None)
        assert len(bench.made) == 4
        assert [made.is_closed for made in bench.made] == [False, True, True, False]
        assert (await engine_of(face)).name == "batches"
        answers = [await asked(live, frame(3)), await live.read()]
        assert kinds(answers) == ["changed", "frame"]
        assert answers[0].changed.engine.name == "batches"
        assert bench.made[-1].batches[-1][0].size == 256
        assert kinds([await asked(newcomer, frame(0)), await newcomer.read()]) == ["changed", "frame"]
        for call in (live, other, newcomer):
            await rest_of(call)


async def test_a_device_that_is_lost_while_a_face_is_prepared_is_survived_too(
    data_dir: Path, default_file: bytes
) -> None:
    engine = BatchEngine()
    async with serving(data_dir, engine, fallback=FlatEngine()) as face:
        await dark_face(face, default_file)
        engine.lost.set()
        call = face.render.StreamingRender()
        answer = await asked(call, config(avatar="avatars/dark"))
        assert answer.started.engine.name == "flat"
        assert kinds([await asked(call, frame(0))]) == ["frame"]
        await rest_of(call)


async def test_without_another_engine_a_lost_device_ends_what_runs_and_the_service_says_so(data_dir: Path) -> None:
    engine, bench = BatchEngine(), Bench()
    async with serving(data_dir, engine, restart=bench.restart) as face:
        call = await opened(face)
        engine.lost.set()
        await call.write(frame(0))
        with pytest.raises(grpc.aio.AioRpcError, match="lost its device") as ended:
            await call.read()
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        for failing in (engine_of(face), opened(face)):
            with pytest.raises(grpc.aio.AioRpcError, match="the cable was pulled") as refused:
                await failing
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        bench.allowed.set()
        await until(lambda: face.stage.engines[0].lost is None)
        call = await opened(face)
        assert (await asked(call, frame(0))).HasField("frame")
        await rest_of(call)


async def test_a_device_that_is_lost_before_the_first_call_leaves_the_other_engine(data_dir: Path) -> None:
    engine = BatchEngine()
    engine.lost.set()
    async with serving(data_dir, engine, fallback=FlatEngine()) as face:
        assert (await engine_of(face)).name == "flat"


# --- another path -------------------------------------------------------------------------------------------


async def test_a_faster_path_is_swapped_in_without_a_dropped_frame_told_and_measured(data_dir: Path) -> None:
    clock = ManualClock()
    engine = BatchEngine({1: 0.02, 2: 0.04}, clock)
    async with serving(data_dir, engine, clock=clock) as face:
        call, told = await started(face)
        assert told.engine.path == "plain"
        answers = [await asked(call, frame(0, useful_s=0.1))]
        engine.path, engine.costs_s = "graph+triton", {1: 0.004, 2: 0.006}
        answers += [await asked(call, frame(index, useful_s=0.1)) for index in range(1, 4)]
        answers += await rest_of(call)
        assert [a.frame.frame_index for a in answers if a.HasField("frame")] == [0, 1, 2, 3]
        (changed,) = [answer.changed for answer in answers if answer.HasField("changed")]
        assert changed.engine.path == "graph+triton"
        assert set(kinds(answers)) == {"frame", "changed"}
        await until(lambda: face.stage.engines[0].thread.costs.frames_per_s == pytest.approx(2 / 0.006))
        assert (await engine_of(face)).path == "graph+triton"
