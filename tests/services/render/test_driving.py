"""Driving files over a real channel: sent in pieces, read, answered, and moving the frames that follow."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from services.common.timing import seconds_of
from services.render.requests import MAX_DRIVING_BYTES, MAX_PIECE_BYTES
from services.render.stage import MAX_WAITING_MOTIONS
from tests.fakes.drawing_driven import Clip, DrivenEngine
from tests.fakes.drawing_flat import FlatEngine
from tests.services.render.face_service import (
    RATE,
    Request,
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
)


def drive(data: bytes, *, is_last: bool = True) -> Any:
    return Request(drive=Request.Drive(data=data, is_last=is_last))


def brightness(answer: Any) -> float:
    """What the engine was driven by: a hundred times the place in the motion."""
    luma = np.frombuffer(answer.frame.data, np.uint8)[: 256 * 256]
    return float((luma.mean() - 16) * 255 / 219)


async def test_a_caller_is_told_first_whether_motion_is_read(data_dir: Path) -> None:
    for engine, reads_motion in ((DrivenEngine(), True), (FlatEngine(), False)):
        async with serving(data_dir, engine) as render:
            call = render.render.StreamingRender()
            assert (await asked(call, config())).started.reads_motion is reads_motion
            await rest_of(call)


async def test_a_file_in_pieces_is_read_and_moves_the_frames_that_follow(data_dir: Path) -> None:
    async with serving(data_dir, DrivenEngine()) as render:
        call = await opened(render)
        assert brightness(await asked(call, frame(0))) < 1
        file = Clip(2.0).to_file()
        await call.write(drive(file[:5], is_last=False))
        answer = await asked(call, drive(file[5:]))
        assert seconds_of(answer.driving.duration) == 2.0
        assert answer.driving.frame_count == 50
        assert answer.driving.motion == file
        assert brightness(await asked(call, frame(10))) < 1
        assert brightness(await asked(call, frame(35))) == pytest.approx(100, abs=2)
        assert await rest_of(call) == []


async def test_what_was_kept_drives_again(data_dir: Path) -> None:
    async with serving(data_dir, DrivenEngine()) as render:
        call = await opened(render)
        kept = (await asked(call, drive(Clip(2.0).to_file() + b"a picture"))).driving.motion
        again = await asked(call, drive(kept))
        assert again.driving.motion == kept
        await rest_of(call)


async def test_a_file_without_a_byte_ends_what_drives(data_dir: Path) -> None:
    async with serving(data_dir, DrivenEngine()) as render:
        call = await opened(render)
        await asked(call, drive(Clip(10.0).to_file()))
        await asked(call, frame(0))
        ended = await asked(call, drive(b""))
        assert seconds_of(ended.driving.duration) == 0.0
        assert brightness(await asked(call, frame(50))) < 1
        await rest_of(call)


async def test_the_frames_of_a_file_are_driven_too(data_dir: Path) -> None:
    async with serving(data_dir, DrivenEngine()) as render:
        call = await opened(render, by_audio())
        await asked(call, drive(Clip(2.0).to_file()))
        for sequence in range(2):
            await call.write(audio("u", sequence, np.zeros(RATE)))
        await call.write(done("u"))
        frames = [answer for answer in await rest_of(call) if answer.HasField("frame")]
        assert len(frames) == 50
        assert [brightness(each) for each in frames[::10]] == pytest.approx([0, 40, 80, 120, 160], abs=2)


async def test_an_engine_that_reads_no_motion_says_so_and_why_it_draws(data_dir: Path) -> None:
    async with serving(data_dir, FlatEngine()) as render:
        error = await refusal(render, config(), drive(b"CLIP", is_last=False))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "recorded motion cannot move this face: flat draws it (a test asked for it)" in str(error.details())


async def test_a_file_that_is_no_motion_is_refused_in_the_engines_words(data_dir: Path) -> None:
    async with serving(data_dir, DrivenEngine()) as render:
        error = await refusal(render, config(), drive(b"something else"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "this is no clip; a clip begins with CLIP"


async def test_pieces_and_files_have_a_limit(data_dir: Path) -> None:
    async with serving(data_dir, DrivenEngine()) as render:
        error = await refusal(render, config(), drive(bytes(MAX_PIECE_BYTES + 1)))
        assert f"a piece of a driving file has {MAX_PIECE_BYTES + 1} bytes" in str(error.details())
        pieces = [drive(bytes(MAX_PIECE_BYTES), is_last=False)] * (MAX_DRIVING_BYTES // MAX_PIECE_BYTES + 1)
        error = await refusal(render, config(), *pieces)
        assert "at most 64 MiB" in str(error.details())
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_one_more_file_than_may_wait_is_refused_and_frames_go_on(data_dir: Path) -> None:
    engine = DrivenEngine()
    async with serving(data_dir, engine) as render:
        engine.may_read.clear()
        waiting = [await opened(render) for _ in range(MAX_WAITING_MOTIONS)]
        for call in waiting:
            await call.write(drive(Clip(1.0).to_file()))
        async with asyncio.timeout(10):
            # Nobody tells when a call has begun to wait.
            while render.stage._watching._free:  # noqa: ASYNC110
                await asyncio.sleep(0)
        error = await refusal(render, config(), drive(Clip(1.0).to_file()))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        another = await opened(render)
        assert (await asked(another, frame(0))).HasField("frame")
        engine.may_read.set()
        for call in waiting:
            assert (await call.read()).HasField("driving")
            await rest_of(call)
        await rest_of(another)


async def test_a_device_that_is_lost_while_a_file_is_read_is_noticed(data_dir: Path) -> None:
    engine = DrivenEngine()
    async with serving(
        data_dir, engine, fallback=FlatEngine(), restart=DrivenEngine, restart_after_s=(3600.0,)
    ) as render:
        call = await opened(render)
        engine.is_lost = True
        await call.write(drive(Clip(1.0).to_file()))
        with pytest.raises(grpc.aio.AioRpcError) as lost:
            await rest_of(call)
        assert lost.value.code() is grpc.StatusCode.INTERNAL
        assert render.stage.info.name == "flat"
