"""What is shown when the face service draws less than it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2
from google.rpc import code_pb2, status_pb2

from orchestrator.availability import Availability
from orchestrator.face import LEAD_S, MAX_LEAD_S, Face, Lead
from orchestrator.media_clock import MediaClock
from orchestrator.playout import Playout
from orchestrator.tracks import HOLD_S, Picture
from services.common.timing import seconds_of
from tests.fakes.conversing_services import ScriptedFace, scripted_services

Response = render_pb2.StreamingRenderResponse
RATE_HZ = 100


def changed(rate_hz: int, engine: str = "mesh") -> list[Response]:
    config = render_pb2.RenderConfig(video_format=render_pb2.VideoFormat(frame_rate_hertz=rate_hz))
    return [
        Response(warning=status_pb2.Status(code=code_pb2.UNAVAILABLE, message="mesh draws until the GPU is back")),
        Response(changed=Response.Changed(config=config, engine=media_pb2.EngineInfo(name=engine))),
    ]


class Shown:
    """The pictures that a face offered."""

    def __init__(self, service: ScriptedFace, face: Face, clock: MediaClock) -> None:
        self.service = service
        self.face = face
        self.clock = clock
        self.pictures: asyncio.Queue[Picture] = asyncio.Queue()

    async def take(self, count: int) -> list[Picture]:
        async with asyncio.timeout(10):
            return [await self.pictures.get() for _ in range(count)]

    def show(self, picture: Picture) -> None:
        self.pictures.put_nowait(picture)


@contextlib.asynccontextmanager
async def drawn(
    dropped: set[int] | None = None, before: dict[int, list[Response]] | None = None
) -> AsyncIterator[Shown]:
    async with scripted_services() as services:
        services.face.dropped |= dropped or set()
        services.face.before |= before or {}
        clock = MediaClock()
        announced: list[str] = []
        availability = Availability("render", "It stands still.", lambda said: announced.append(said.message))
        face = Face(
            *(services.render, "session", "avatars/default", RATE_HZ, clock, Playout(), availability),
            lambda picture: shown.show(picture),
        )
        shown = Shown(services.face, face, clock)
        running = asyncio.create_task(face.run())
        try:
            yield shown
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert announced == []


async def test_a_dropped_frame_leaves_the_picture_before_and_the_next_slot_is_drawn() -> None:
    async with drawn(dropped={2, 3}) as shown:
        first, second = await shown.take(2)
        asked = shown.service.asked
    assert [request.frame_index for request in asked[:4]] == [1, 2, 3, 4]
    times = [seconds_of(request.presentation_offset) for request in asked[:4]]
    assert times == sorted(set(times))
    assert first.media_s == pytest.approx(times[0])
    assert second.media_s == pytest.approx(times[3])
    assert shown.face.skipped_slots >= 2


async def test_every_frame_is_asked_for_in_time_and_with_the_time_for_which_it_is_of_use() -> None:
    async with drawn() as shown:
        await shown.take(3)
        asked = list(shown.service.asked)
    for request in asked:
        useful_s = seconds_of(request.useful_duration)
        assert useful_s <= MAX_LEAD_S + 0.5 / RATE_HZ
    # The first may be asked for late: its stream had to be opened.
    assert max(seconds_of(request.useful_duration) for request in asked[1:]) > LEAD_S / 2


async def test_slots_follow_the_rate_that_the_service_has_room_for() -> None:
    async with drawn(before={3: changed(20)}) as shown:
        pictures = await shown.take(6)
    slower = [picture.media_s for picture in pictures[3:]]
    for media_s in slower:
        assert media_s * 20 == pytest.approx(round(media_s * 20))
    assert slower == sorted(set(slower))
    assert slower[0] - pictures[2].media_s <= 1 / 20 + HOLD_S


def test_frames_are_asked_for_earlier_once_drawing_takes_longer_and_later_again_when_it_does_not() -> None:
    lead = Lead()
    for _ in range(5):
        lead.heed(spare_s=-0.01)
    assert LEAD_S + 0.01 < lead.seconds < MAX_LEAD_S
    for _ in range(1000):
        lead.heed(spare_s=-0.01)
    assert lead.seconds == MAX_LEAD_S
    for _ in range(1000):
        lead.heed(spare_s=0.02)
    assert lead.seconds == LEAD_S


def test_where_drawing_takes_longer_most_frames_are_in_time_all_the_same() -> None:
    lead = Lead()
    # 24 faces on one GPU: 30 to 45 ms a frame.
    took_s = [0.03 + 0.015 * ((number * 7) % 20) / 20 for number in range(2000)]
    late = 0
    for took in took_s:
        late += took > lead.seconds
        lead.heed(lead.seconds - took)
    assert late < 0.03 * len(took_s)
