"""What a process performs before its doors open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from services.common.errors import EngineError
from services.render.blendshapes import INDEX
from services.render.engine import MAX_SIZE, FrameJob, VideoCodec
from services.render.rehearsal import rehearse
from tests.fakes.drawing_flat import FlatEngine
from tests.services.render.face_service import serving


class _Watched(FlatEngine):
    """Keeps what it was asked for, until it breaks."""

    def __init__(self) -> None:
        self.jobs: list[FrameJob] = []
        self.is_broken = False

    def draw(self, jobs: Sequence[FrameJob]) -> list[bytes]:
        if self.is_broken:
            raise EngineError("the brush broke")
        self.jobs += jobs
        return super().draw(jobs)


async def test_the_default_face_speaks_before_anybody_can_see_it(data_dir: Path) -> None:
    engine = _Watched()
    async with serving(data_dir, engine) as service:
        warmed_up = len(engine.jobs)
        await rehearse(service.channel, ())
        rehearsed = engine.jobs[warmed_up:]
    assert 1 <= len(rehearsed) <= 10
    assert {(job.size, job.codec) for job in rehearsed} == {(MAX_SIZE, VideoCodec.I420)}
    assert rehearsed[-1].state.weights[INDEX["jawOpen"]] > rehearsed[0].state.weights[INDEX["jawOpen"]]


async def test_a_face_that_cannot_perform_opens_no_doors_and_says_why(data_dir: Path) -> None:
    engine = _Watched()
    async with serving(data_dir, engine) as service:
        engine.is_broken = True
        with pytest.raises(EngineError, match="did not draw its first frames"):
            await rehearse(service.channel, ())
