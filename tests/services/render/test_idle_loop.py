"""Idle faces that are played: a loop without a seam, kept whole on disk, joined and left by speech without a jump."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from avatar.render.v1 import render_pb2

from services.common.errors import OverloadedError
from services.render.engine import DeviceLostError, FaceState, VideoCodec
from services.render.expressions import ExpressionKind
from services.render.idle_loop import IdleLoops, LoopFile, LoopKey, LoopStore, frame_index
from services.render.idle_motion import BLINK_EVERY_S, LOOP_FRAMES, LOOP_RATE_HZ, LOOP_S, IdleLoop, IdleMotion
from services.render.performance import Performance, idle_state
from services.render.speech_motion import VisemeCue
from services.render.visemes import Viseme
from tests.fakes.drawing_flat import FlatEngine
from tests.fakes.drawing_in_batches import BatchEngine, ManualClock
from tests.fakes.until import until
from tests.services.render.face_service import FPS, Serving, asked, config, frame, opened, rest_of, serving, visemes

FRAME_S = 1 / FPS
KEY = LoopKey("default 2026", "batches v1", 256, VideoCodec.I420)
OTHER = LoopKey("other 2026", "batches v1", 256, VideoCodec.I420)
SITTERS = (KEY.sitter, OTHER.sitter)


def frames_of(size: int, shade: int = 0) -> list[bytes]:
    return [bytes([shade, number]) + bytes(size - 2) for number in range(LOOP_FRAMES)]


# --- the motion ---------------------------------------------------------------------------------------------


def test_the_end_of_the_loop_meets_its_beginning_and_it_moves_as_slowly_there_as_elsewhere() -> None:
    loop = IdleLoop(1)
    for later_s in (LOOP_S, 7 * LOOP_S):
        assert loop.at(later_s).pose.yaw == pytest.approx(loop.at(0.0).pose.yaw)
    assert loop.at(1.3).pose.yaw != pytest.approx(loop.at(1.3 + LOOP_S / 2).pose.yaw)
    times = np.arange(0.0, 3 * LOOP_S, FRAME_S)
    poses = np.array([(p.yaw, p.pitch, p.roll) for p in (loop.at(t).pose for t in times)])
    steps = np.abs(np.diff(poses, axis=0))
    assert steps.max() / FRAME_S < 3.0
    assert (np.ptp(poses, axis=0) > 0.5).all()
    assert (np.abs(poses).max(0) < 2.5).all()


def test_the_loop_blinks_as_people_do_also_from_its_end_to_its_beginning() -> None:
    loop = IdleLoop(1)
    times = np.arange(0.0, 3 * LOOP_S, 0.005)
    shut = np.array([loop.at(t).blink for t in times])
    begins = times[1:][(shut[1:] > 0.02) & (shut[:-1] <= 0.02)]
    gaps = np.diff(begins)
    assert gaps.min() > BLINK_EVERY_S[0] - 0.05
    assert gaps.max() < BLINK_EVERY_S[1] + 0.05
    for begin in begins[:3]:
        at_frames = np.arange(begin - FRAME_S, begin + 0.3, FRAME_S)
        assert max(loop.at(t).blink for t in at_frames) > 0.97


def test_each_stream_has_its_phase_and_meets_the_frames_of_the_loop_exactly() -> None:
    phases = {IdleLoop(seed).position_s(0.0) for seed in range(20)}
    assert len(phases) > 10
    loop = IdleLoop(3)
    positions = [loop.position_s(number / FPS) for number in range(LOOP_FRAMES)]
    assert sorted(frame_index(position) for position in positions) == list(range(LOOP_FRAMES))
    for position in positions:
        assert abs(position - frame_index(position) / LOOP_RATE_HZ) % LOOP_S < 1e-9
    assert frame_index(LOOP_S - 1e-9) == 0


# --- what a face does that may be played --------------------------------------------------------------------


def same(one: FaceState, other: FaceState) -> bool:
    return bool(np.abs(one.weights - other.weights).max() < 1e-6) and one.pose.yaw == pytest.approx(other.pose.yaw)


def test_an_idle_face_is_the_loop_at_every_moment() -> None:
    performance = Performance(IdleLoop(5), FPS)
    for number in range(300):
        moment = performance.state(number * FRAME_S)
        assert moment.loop_s is not None
        assert same(moment.state, idle_state(moment.loop_s))


def test_speech_leaves_the_loop_at_once_and_is_back_within_200_ms_of_its_end_without_a_jump() -> None:
    performance = Performance(IdleLoop(5), FPS)
    performance.add_visemes("u", [VisemeCue(Viseme.AA, 0.0, 0.5), VisemeCue(Viseme.OU, 0.5, 1.0)])
    moments = [performance.state(number * FRAME_S) for number in range(10)]
    moments += [performance.state((10 + number) * FRAME_S, "u", number * FRAME_S) for number in range(40)]
    mouth = np.array([moment.state.weights[17:].max() for moment in moments])
    played = np.array([moment.loop_s is not None for moment in moments])
    first, last = np.flatnonzero(mouth > 0.02)[[0, -1]]
    assert played[:10].all()
    assert not played[first : last + 1].any()
    assert played[last + 1 + 6 :].all()
    # No weight and no angle moves more at the joins than speech itself moves them.
    steps = np.array(
        [
            (np.abs(b.state.weights - a.state.weights).max(), abs(b.state.pose.pitch - a.state.pose.pitch))
            for a, b in itertools.pairwise(moments)
        ]
    )
    joins = [int(np.flatnonzero(~played)[0]) - 1, int(np.flatnonzero(~played)[-1])]
    within = steps[first : last + 1].max(0)
    for join in joins:
        assert (steps[join] <= within).all()
        assert steps[join][1] < 0.4


def test_an_expression_or_a_gaze_is_drawn_until_it_is_given_back() -> None:
    performance = Performance(IdleLoop(5), FPS)
    assert performance.state(0.0).loop_s is not None
    performance.set_expression(ExpressionKind.HAPPY, 0.5, 0.2)
    assert all(performance.state(number * FRAME_S).loop_s is None for number in range(1, 20))
    performance.set_expression(ExpressionKind.NEUTRAL, 0.0, 0.2)
    away = [performance.state(number * FRAME_S).loop_s is None for number in range(20, 30)]
    assert away == [True] * 4 + [False] * 6
    performance.set_gaze((10.0, 0.0))
    assert all(performance.state(number * FRAME_S).loop_s is None for number in range(30, 50))
    performance.set_gaze(None)
    assert [performance.state(number * FRAME_S).loop_s is None for number in range(50, 60)][-1] is False


def test_a_face_that_does_not_idle_in_a_loop_is_never_played() -> None:
    performance = Performance(IdleMotion(5), FPS)
    assert all(performance.state(number * FRAME_S).loop_s is None for number in range(20))


# --- on disk ------------------------------------------------------------------------------------------------


def store_of(
    folder: Path, max_bytes: int = 10_000_000, sitters: tuple[str, ...] = ("default 2026", "other 2026")
) -> LoopStore:
    return LoopStore(folder / "loops", max_bytes, sitters)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "loops").glob("*"))


def test_a_loop_that_was_kept_is_read_again_frame_by_frame(tmp_path: Path) -> None:
    frames = [os.urandom(10 + number) for number in range(LOOP_FRAMES)]
    saved = store_of(tmp_path).save(KEY, frames)
    assert saved is not None
    again = store_of(tmp_path).open(KEY)
    assert again is not None
    for loop in (saved, again):
        assert [loop.frame(number) for number in range(LOOP_FRAMES)] == frames
    assert store_of(tmp_path).open(OTHER) is None


@pytest.mark.parametrize(
    "other",
    [
        LoopKey("default 2027", "batches v1", 256, VideoCodec.I420),
        LoopKey("default 2026", "batches v2", 256, VideoCodec.I420),
        LoopKey("default 2026", "batches v1", 512, VideoCodec.I420),
        LoopKey("default 2026", "batches v1", 256, VideoCodec.JPEG),
    ],
)
def test_another_portrait_look_size_or_codec_is_another_loop(tmp_path: Path, other: LoopKey) -> None:
    store = store_of(tmp_path)
    store.save(KEY, frames_of(10))
    assert store.open(other) is None


@pytest.mark.parametrize("damage", ["cut", "longer", "empty", "magic", "count", "table"])
def test_a_damaged_loop_is_removed_and_not_played(tmp_path: Path, damage: str) -> None:
    store = store_of(tmp_path)
    store.save(KEY, frames_of(100))
    path = tmp_path / "loops" / KEY.file_name
    data = bytearray(path.read_bytes())
    match damage:
        case "cut":
            del data[-1:]
        case "longer":
            data += b"\0"
        case "empty":
            data.clear()
        case "magic":
            data[0] ^= 1
        case "count":
            data[8] ^= 1
        case "table":
            data[20:28] = (2**60).to_bytes(8, "little")
    path.write_bytes(data)
    assert store.open(KEY) is None
    assert names(tmp_path) == []


def test_a_loop_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    frames: list[Any] = [*frames_of(10)[:-1], "the disk is full"]
    with pytest.raises(TypeError):
        store.save(KEY, frames)
    assert names(tmp_path) == []
    (tmp_path / "loops" / "~cut-off-by-a-crash").write_bytes(b"AVLOOP")
    store_of(tmp_path)
    assert names(tmp_path) == []


def test_the_loop_that_was_used_longest_ago_makes_room_and_plays_on_where_it_is_open(tmp_path: Path) -> None:
    size = 1000 * LOOP_FRAMES
    store = store_of(tmp_path, max_bytes=int(2.5 * size))
    third = LoopKey("default 2026", "batches v1", 512, VideoCodec.I420)
    store.save(KEY, frames_of(1000, 1))
    store.save(OTHER, frames_of(1000, 2))
    for key, age_s in ((KEY, 20), (OTHER, 10)):
        path = tmp_path / "loops" / key.file_name
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age_s))
    playing = store.open(OTHER)
    assert store.open(KEY) is not None
    os.utime(tmp_path / "loops" / OTHER.file_name, (0, 0))
    store.save(third, frames_of(1000, 3))
    assert names(tmp_path) == sorted([KEY.file_name, third.file_name])
    assert playing is not None
    assert playing.frame(7)[:2] == bytes([2, 7])
    assert sum(path.stat().st_size for path in (tmp_path / "loops").iterdir()) <= 2.5 * size


def test_a_loop_that_is_larger_than_all_may_be_is_not_kept(tmp_path: Path) -> None:
    assert store_of(tmp_path, max_bytes=1000).save(KEY, frames_of(100)) is None
    assert names(tmp_path) == []


def test_pictures_of_people_who_were_deleted_are_not_kept(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    for key in (KEY, OTHER):
        store.save(key, frames_of(10))
    store.remove(OTHER.sitter)
    assert names(tmp_path) == [KEY.file_name]
    # One that was deleted while another process served.
    store_of(tmp_path, sitters=(OTHER.sitter,))
    assert names(tmp_path) == []


# --- drawn when they are wanted -----------------------------------------------------------------------------


class Painter:
    """Draws loops when the test lets it."""

    def __init__(self) -> None:
        self.may_draw = asyncio.Event()
        self.asked = 0
        self.fails: Exception | None = None

    async def draw(self, states: list[FaceState]) -> list[bytes]:
        self.asked += 1
        await self.may_draw.wait()
        if self.fails is not None:
            raise self.fails
        assert len(states) == LOOP_FRAMES
        return frames_of(10, self.asked)


@contextlib.asynccontextmanager
async def kept(folder: Path, max_bytes: int = 10_000_000) -> AsyncIterator[IdleLoops]:
    loops = IdleLoops(folder / "loops", max_bytes, SITTERS)
    keeping = asyncio.create_task(loops.keep())
    try:
        yield loops
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        loops.close()


async def test_a_loop_is_drawn_once_for_all_who_want_it_and_the_next_start_finds_it(tmp_path: Path) -> None:
    painter = Painter()
    async with kept(tmp_path) as loops:
        assert [loops.get(KEY, painter.draw) for _ in range(5)] == [None] * 5
        await until(lambda: painter.asked)
        assert loops.get(KEY, painter.draw) is None
        painter.may_draw.set()
        await until(lambda: loops.get(KEY, painter.draw))
    async with kept(tmp_path) as loops:
        await until(lambda: loops.get(KEY, painter.draw))
        loop = loops.get(KEY, painter.draw)
        assert isinstance(loop, LoopFile)
        assert loop.frame(3)[:2] == bytes([1, 3])
    assert painter.asked == 1


async def test_a_loop_that_failed_for_the_moment_is_tried_again_and_another_failure_is_for_good(tmp_path: Path) -> None:
    painter, other = Painter(), Painter()
    painter.may_draw.set()
    other.may_draw.set()
    async with kept(tmp_path) as loops:
        for failure in (DeviceLostError("gone"), OverloadedError("too many wait")):
            painter.fails = failure
            assert loops.get(KEY, painter.draw) is None
            await until(lambda: loops.is_at_rest)
        assert painter.asked == 2
        painter.fails = None
        await until(lambda: loops.get(KEY, painter.draw))
        other.fails = OSError("no space left on device")
        loops.get(OTHER, other.draw)
        await until(lambda: other.asked and loops.is_at_rest)
        assert loops.get(OTHER, other.draw) is None
        assert loops.is_at_rest
    assert other.asked == 1


async def test_a_face_that_is_deleted_while_its_loop_is_drawn_leaves_nothing(tmp_path: Path) -> None:
    painter = Painter()
    async with kept(tmp_path) as loops:
        loops.get(KEY, painter.draw)
        await until(lambda: painter.asked)
        loops.forget(KEY.sitter)
        painter.may_draw.set()
        await until(lambda: loops.is_at_rest)
        assert names(tmp_path) == []


async def test_without_disk_space_granted_nothing_is_drawn_or_kept(tmp_path: Path) -> None:
    painter = Painter()
    async with kept(tmp_path, max_bytes=0) as loops:
        assert loops.get(KEY, painter.draw) is None
        assert loops.is_at_rest


# --- in the service -----------------------------------------------------------------------------------------

SPOKEN = range(60, 110)
# The loop is there from this frame on.
WARM = 41


async def conversation(data_dir: Path, engine: BatchEngine, *, idle_loops_mb: int) -> tuple[list[bytes], set[int]]:
    """A face idles, speaks and idles again. Returns: its frames, and which of them from WARM on the engine drew."""
    drew: set[int] = set()
    frames = []
    assert engine.clock is not None
    async with serving(data_dir, engine, clock=engine.clock, idle_loops_mb=idle_loops_mb) as face:
        call = await opened(face)
        await call.write(visemes("u", (Viseme.AA, 0.0, 0.5), (Viseme.PP, 0.5, 0.7), (Viseme.OU, 0.7, 1.2)))
        for number in range(160):
            if number == WARM:
                await until(lambda: face.stage.idle_loops.is_at_rest)
            before = len(engine.batches)
            speaks = number in SPOKEN
            answer = await asked(call, frame(number, "u" if speaks else "", (number - 60) / FPS if speaks else 0.0))
            frames.append(answer.frame.data)
            assert answer.frame.utterance_id == ("u" if speaks else "")
            if number >= WARM and len(engine.batches) > before:
                drew.add(number)
        await rest_of(call)
    return frames, drew


async def test_with_a_loop_every_frame_is_the_same_as_without_and_idle_ones_cost_nothing(
    data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other_dir = tmp_path_factory.mktemp("drawn")
    (other_dir / "models").symlink_to((data_dir / "models").resolve())
    engines = [BatchEngine(clock=ManualClock(), plays_idle_loops=True) for _ in range(2)]
    played, drew = await conversation(data_dir, engines[0], idle_loops_mb=200)
    drawn, drew_all = await conversation(other_dir, engines[1], idle_loops_mb=0)
    assert drew_all == set(range(WARM, 160))
    assert played == drawn
    # From the first frame in which the mouth moves to 200 ms after the last.
    assert min(drew) in range(60, 63)
    assert max(drew) <= 60 + round(1.2 * FPS) + 1 + 5
    assert drew == set(range(min(drew), max(drew) + 1))
    assert list((data_dir / "idle_loops").iterdir())
    assert not (other_dir / "idle_loops").exists()


async def idled(face: Serving, call: Any) -> None:
    """Let a face idle until its loop is there."""
    for number in range(30):
        assert (await asked(call, frame(number))).HasField("frame")
    await until(lambda: face.stage.idle_loops.is_at_rest)


async def test_a_deleted_face_leaves_no_loop_and_its_stream_goes_on(data_dir: Path, default_file: bytes) -> None:
    engine = BatchEngine(clock=(clock := ManualClock()), plays_idle_loops=True)
    async with serving(data_dir, engine, clock=clock) as face:
        portrait = render_pb2.Avatar(portrait=default_file, consent="a drawing")
        await face.avatars.CreateAvatar(render_pb2.CreateAvatarRequest(avatar=portrait, avatar_id="zoe"))
        call = await opened(face, config(avatar="avatars/zoe"))
        await idled(face, call)
        assert len(list((data_dir / "idle_loops").iterdir())) == 1
        await face.avatars.DeleteAvatar(render_pb2.DeleteAvatarRequest(name="avatars/zoe"))
        await until(lambda: not list((data_dir / "idle_loops").iterdir()))
        assert (await asked(call, frame(40))).frame.data
        await rest_of(call)
        await until(lambda: face.stage.idle_loops.is_at_rest)
        assert not list((data_dir / "idle_loops").iterdir())


async def test_while_the_device_is_lost_nothing_of_its_pictures_is_played(data_dir: Path) -> None:
    engine = BatchEngine(clock=(clock := ManualClock()), plays_idle_loops=True)
    async with serving(data_dir, engine, fallback=FlatEngine(), clock=clock) as face:
        call = await opened(face)
        await idled(face, call)
        assert len(set((await asked(call, frame(40))).frame.data[:256])) > 1
        engine.lost.set()
        # Until the first word nothing is drawn, so nobody notices.
        await call.write(visemes("u", (Viseme.AA, 0.0, 1.0)))
        answers = [await asked(call, frame(41, "u", 0.3))]
        while not answers[-1].HasField("frame"):
            answers.append(await call.read())
        assert [answer.WhichOneof("response") for answer in answers] == ["warning", "changed", "frame"]
        for number in range(60, 90):
            assert len(set((await asked(call, frame(number))).frame.data[:256])) == 1
        await rest_of(call)
