"""The production face behind the real service: a device that is lost in mid-session, and one that is full."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from avatar.render.v1 import render_pb2
from google.rpc import code_pb2

from services.render.engines.liveportrait.engine import LivePortraitEngine
from services.render.engines.mesh import MeshEngine
from tests.fakes.drawing_in_batches import ManualClock
from tests.fakes.until import until
from tests.services.render.face_service import Serving, asked, config, frame, opened, rest_of, serving

ILLEGAL = "CUDA error: an illegal memory access was encountered"


@pytest.fixture
def start(official_folder: Path, tmp_path: Path) -> Callable[[], LivePortraitEngine]:
    return partial(LivePortraitEngine, official_folder, "cpu", 8, tmp_path / "triton")


def failing(error: RuntimeError) -> Callable[..., torch.Tensor]:
    """A tensor operation that every frame needs, as the device answers it from now on."""

    def operation(*_: Any, **__: Any) -> torch.Tensor:
        raise type(error)(*error.args)

    return operation


async def health(face: Serving) -> Any:
    return (await face.render.GetHealth(render_pb2.GetHealthRequest())).engine


async def test_a_device_lost_in_mid_session_ends_nothing_and_is_told_and_the_engine_comes_back(
    data_dir: Path, engine: MeshEngine, start: Callable[[], LivePortraitEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(data_dir, start(), fallback=engine, restart=start, clock=ManualClock()) as face:
        live = await opened(face)
        first = await asked(live, frame(0))
        assert (await health(face)).path == "cpu plain"
        with monkeypatch.context() as broken:
            broken.setattr("torch.nn.functional.grid_sample", failing(torch.AcceleratorError(ILLEGAL)))
            warning, changed = await asked(live, frame(1)), await live.read()
            reason = f"mesh draws until liveportrait is back, which lost its device: cpu failed: {ILLEGAL}"
            assert (warning.warning.code, warning.warning.message) == (code_pb2.UNAVAILABLE, reason)
            assert (changed.changed.engine.name, changed.changed.engine.reason) == ("mesh", reason)
            away = await live.read()
            assert len(away.frame.data) == len(first.frame.data)
            # While every try to start it again fails.
            assert await health(face) == changed.changed.engine
            newcomer = await opened(face)
            assert (await asked(newcomer, frame(0))).HasField("frame")
        await until(lambda: face.stage.engines[0].lost is None)
        assert (await health(face)).name == "liveportrait"
        back, again = await asked(live, frame(2)), await live.read()
        assert back.changed.engine.name == "liveportrait"
        assert _difference(again, first) < _difference(away, first), "the same engine's picture"
        for call in (live, newcomer):
            await rest_of(call)


def _difference(a: Any, b: Any) -> float:
    planes = [np.frombuffer(answer.frame.data, np.uint8).astype(float) for answer in (a, b)]
    return float(np.abs(planes[0] - planes[1]).mean())


async def test_memory_that_is_full_for_a_moment_costs_a_call_and_not_the_engine(
    data_dir: Path, engine: MeshEngine, start: Callable[[], LivePortraitEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(data_dir, start(), fallback=engine, clock=ManualClock()) as face:
        call = await opened(face)
        with monkeypatch.context() as full:
            error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            full.setattr("torch.nn.functional.grid_sample", failing(error))
            await call.write(frame(0))
            with pytest.raises(grpc.aio.AioRpcError, match="the memory of cpu is full") as failed:
                await call.read()
            assert failed.value.code() is grpc.StatusCode.INTERNAL
        call = await opened(face)
        assert (await asked(call, frame(0))).HasField("frame")
        assert (await health(face)).name == "liveportrait"
        await rest_of(call)


async def test_sessions_of_two_faces_and_sizes_are_drawn_together(
    data_dir: Path, engine: MeshEngine, start: Callable[[], LivePortraitEngine]
) -> None:
    async with serving(data_dir, start(), fallback=engine, clock=ManualClock()) as face:
        small, large = await opened(face), await opened(face, config(video={"width": 512, "height": 512}))
        for index in range(3):
            await small.write(frame(index))
            await large.write(frame(index))
            assert len((await small.read()).frame.data) == 256 * 256 * 3 // 2
            assert len((await large.read()).frame.data) == 512 * 512 * 3 // 2
        for call in (small, large):
            await rest_of(call)
