"""The older stack's face, over real gRPC: real portraits, an engine that draws one colour."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from avatar.render.v1 import legacy_pb2, legacy_pb2_grpc

from services.common.server import Server
from services.common.settings import DrainSettings
from services.render.avatars import AvatarStore
from services.render.engine import FaceState, FrameJob, Portrait
from services.render.engines import Chosen
from services.render.legacy_servicer import EXPRESSIONS, LegacyRenderServicer
from services.render.servicer import RenderServicer
from services.render.settings import RenderSettings
from services.render.stage import Stage
from tests.fakes.drawing_flat import FlatEngine
from tests.legacy_calls import Answer, answer_of, form_body

NAME = "avatar.render.v1.LegacyRenderService"


class WatchedEngine(FlatEngine):
    """Remembers what it was asked to do."""

    def __init__(self) -> None:
        self.prepared = 0
        # Cleared to hold it inside its next portrait.
        self.may_work = threading.Event()
        self.may_work.set()
        self.states: list[FaceState] = []

    def prepare(self, portrait: Portrait) -> Any:
        assert self.may_work.wait(timeout=30)
        self.prepared += 1
        return super().prepare(portrait)

    def draw(self, jobs: Sequence[FrameJob]) -> list[bytes]:
        self.states += [job.state for job in jobs]
        return super().draw(jobs)


class Face:
    """A caller."""

    def __init__(self, stub: Any, engine: WatchedEngine, data_dir: Path) -> None:
        self._stub = stub
        self.engine = engine
        self._folder = data_dir / "avatars"

    async def get(self, method: str) -> Any:
        answer = await answer_of(getattr(self._stub, method)(getattr(legacy_pb2, f"{method}Request")()))
        assert answer.status == 200
        return answer.json

    async def render(self, portrait: bytes | None, /, **texts: str) -> Answer:
        files = {} if portrait is None else {"source_image": portrait}
        request = legacy_pb2.RenderPortraitRequest(form=form_body(texts, files))
        return await answer_of(self._stub.RenderPortrait(request))

    async def video(self, **files: bytes) -> Answer:
        return await answer_of(self._stub.RenderVideo(legacy_pb2.RenderVideoRequest(form=form_body(files=files))))

    def kept(self) -> list[Path]:
        """Files of avatars."""
        return list(self._folder.rglob("*"))


@asynccontextmanager
async def serving(data_dir: Path) -> AsyncIterator[Face]:
    settings = RenderSettings(port=0, drain=DrainSettings(announce_s=0.0, grace_s=2.0))
    engine = WatchedEngine()
    stage = Stage(settings, Chosen(engine, "a test asked for it"), AvatarStore(data_dir, settings.max_avatars))
    server = Server(settings, [NAME])
    await server.start()
    older = LegacyRenderServicer(RenderServicer(settings, stage), stage)
    legacy_pb2_grpc.add_LegacyRenderServiceServicer_to_server(older, server.grpc)
    await server.ready()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield Face(legacy_pb2_grpc.LegacyRenderServiceStub(channel), engine, data_dir)
    finally:
        await server.stop()
        stage.close()


def png(image: np.ndarray[Any, Any]) -> bytes:
    done, data = cv2.imencode(".png", image)
    assert done
    return bytes(data.data)


async def test_health_has_the_fields_of_both_stacks(data_dir: Path) -> None:
    async with serving(data_dir) as face:
        health = await face.get("GetServiceHealth")
    assert health == {
        "status": "healthy",
        "engine": {"name": "flat", "reason": "a test asked for it"},
        "model_loaded": True,
        "device": "cpu",
        "gpu_available": False,
        "gpu_name": None,
    }


async def test_the_four_expressions_are_listed_each_with_a_sentence(data_dir: Path) -> None:
    async with serving(data_dir) as face:
        listed = await face.get("GetExpressions")
    assert listed["expressions"] == ["neutral", "happy", "sad", "surprised"]
    assert list(listed["description"]) == listed["expressions"]


@pytest.mark.parametrize("texts", [{}, {"expression": "surprised", "intensity": "2.0", "output_format": "png"}])
async def test_a_portrait_becomes_a_jpeg_of_512_pixels(
    data_dir: Path, default_file: bytes, texts: dict[str, str]
) -> None:
    async with serving(data_dir) as face:
        answer = await face.render(default_file, **texts)
        assert face.kept() == []
    assert (answer.status, answer.content_type) == (200, "image/jpeg")
    image = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (512, 512, 3)


async def test_each_expression_and_strength_is_another_face_and_stronger_than_twice_is_no_more(
    data_dir: Path, default_file: bytes
) -> None:
    asked = [(name, 1.0) for name in EXPRESSIONS] + [("happy", n) for n in (0.5, 0.0, -3.0, 2.0, 5.0)]
    async with serving(data_dir) as face:
        for expression, intensity in asked:
            assert (await face.render(default_file, expression=expression, intensity=str(intensity))).status == 200
    neutral, happy, sad, surprised, half, none, below, double, more = face.engine.states
    assert not neutral.weights.any()
    assert len({state.weights.tobytes() for state in (happy, sad, surprised, half)}) == 4
    np.testing.assert_allclose(half.weights, happy.weights / 2)
    assert not none.weights.any()
    assert not below.weights.any()
    assert (double.weights <= 1).all()
    np.testing.assert_array_equal(double.weights, more.weights)


async def test_a_portrait_that_comes_again_is_not_looked_at_again(data_dir: Path, default_file: bytes) -> None:
    async with serving(data_dir) as face:
        for _ in range(3):
            await face.render(default_file)
        assert face.engine.prepared == 1
        # The bytes that decide.
        await face.render(default_file + b"\0")
        assert face.engine.prepared == 2


async def test_a_portrait_that_comes_many_times_at_once_is_looked_at_once(data_dir: Path, default_file: bytes) -> None:
    async with serving(data_dir) as face:
        answers = await asyncio.gather(*(face.render(default_file) for _ in range(16)))
        assert [answer.status for answer in answers] == [200] * 16
        assert face.engine.prepared == 1


async def test_who_would_wait_for_long_is_told_to_come_again(data_dir: Path, default_file: bytes) -> None:
    async with serving(data_dir) as face:
        face.engine.may_work.clear()
        waiting = [asyncio.ensure_future(face.render(default_file + bytes([number]))) for number in range(17)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = [call.result() for call in done]
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert "16 portraits wait" in refused.detail
        # What is too large is never one of those that wait.
        assert (await face.render(b"\0" * (21 << 20))).status == 400
        face.engine.may_work.set()
        assert sorted(answer.status for answer in await asyncio.gather(*waiting)) == [200] * 16 + [429]


@pytest.mark.parametrize("expression", ["bogus", "angry", "Happy", "x" * 1000])
async def test_another_expression_is_refused_with_the_four(
    data_dir: Path, default_file: bytes, expression: str
) -> None:
    async with serving(data_dir) as face:
        answer = await face.render(default_file, expression=expression)
    assert answer.status == 400
    assert expression[:40] in answer.detail
    assert answer.detail.endswith("Available: neutral, happy, sad, surprised")
    assert len(answer.detail) < 200


@pytest.mark.parametrize(
    ("portrait", "words"),
    [
        (b"not an image", "JPEG, PNG or WebP"),
        (b"", "empty"),
        (png(np.full((400, 400, 3), 200, np.uint8)), "no face was found"),
        (b"\0" * (21 << 20), "20 MiB"),
    ],
)
async def test_what_is_no_portrait_is_refused_in_words(data_dir: Path, portrait: bytes, words: str) -> None:
    async with serving(data_dir) as face:
        answer = await face.render(portrait)
    assert answer.status == 400
    assert words in answer.detail


async def test_a_portrait_that_is_cut_off_is_refused(data_dir: Path, default_file: bytes) -> None:
    async with serving(data_dir) as face:
        assert (await face.render(default_file[: len(default_file) // 2])).status == 400
        assert (await face.render(default_file)).status == 200


async def test_fields_that_are_missing_or_wrong_are_named(data_dir: Path) -> None:
    async with serving(data_dir) as face:
        answer = await face.render(None, intensity="abc")
        assert answer.problems() == [("missing", ["body", "source_image"]), ("float_parsing", ["body", "intensity"])]
        assert (await face.render(None, source_image="a.png")).problems() == [("value_error", ["body", "source_image"])]
        assert (await face.video(audio=b"sound")).problems() == [("missing", ["body", "character_image"])]


async def test_a_video_is_refused_with_what_makes_one(data_dir: Path) -> None:
    async with serving(data_dir) as face:
        answer = await face.video(character_image=b"picture", audio=b"sound")
    assert answer.status == 501
    assert "/api/render" in answer.detail
