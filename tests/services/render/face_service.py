"""The face service over a real channel, and what its callers send: shared by the tests of its servicers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2, render_pb2_grpc

from services.common.audio import pcm16_of
from services.common.server import Server
from services.common.settings import DrainSettings
from services.common.timing import duration_of, duration_of_s
from services.render.__main__ import SERVICES
from services.render.avatar_servicer import AvatarServicer
from services.render.avatars import AvatarStore
from services.render.blendshapes import INDEX
from services.render.engine import RenderEngine
from services.render.engines import Chosen
from services.render.servicer import RenderServicer
from services.render.settings import RenderSettings
from services.render.stage import Stage
from services.render.visemes import Viseme
from tests.fakes.drawing_flat import FlatEngine

Request = render_pb2.StreamingRenderRequest
RATE, FPS = 16_000, 25


@dataclass(frozen=True)
class Serving:
    """A running service. Attributes: render, avatars: stubs on the channel."""

    channel: grpc.aio.Channel
    render: Any
    avatars: Any
    stage: Stage


@asynccontextmanager
async def serving(
    data_dir: Path,
    engine: RenderEngine | None = None,
    *,
    fallback: RenderEngine | None = None,
    restart: Callable[[], RenderEngine] | None = None,
    restart_after_s: Sequence[float] = (0.0,),
    clock: Callable[[], float] = time.perf_counter,
    **settings: Any,
) -> AsyncIterator[Serving]:
    """The service, warmed up and kept as its process does. Args: clock: by which frames are due and batches cost."""
    drain = DrainSettings(announce_s=0.0, grace_s=2.0)
    merged: dict[str, Any] = {"port": 0, "drain": drain, "AVATAR_DATA_DIR": data_dir} | settings
    chosen = RenderSettings(**merged)
    stage = Stage(
        chosen,
        Chosen(engine or FlatEngine(), "a test asked for it", fallback, restart),
        AvatarStore(data_dir, chosen.max_avatars),
        restart_after_s,
        clock,
    )
    await stage.warm_up()
    keeping = asyncio.create_task(stage.keep())
    server = Server(chosen, SERVICES)
    await server.start()
    render_pb2_grpc.add_RenderServiceServicer_to_server(RenderServicer(chosen, stage), server.grpc)
    render_pb2_grpc.add_AvatarServiceServicer_to_server(AvatarServicer(stage), server.grpc)
    await server.ready()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            render = render_pb2_grpc.RenderServiceStub(channel)
            yield Serving(channel, render, render_pb2_grpc.AvatarServiceStub(channel), stage)
    finally:
        keeping.cancel()
        (kept,) = await asyncio.gather(keeping, return_exceptions=True)
        await server.stop()
        stage.close()
        assert isinstance(kept, asyncio.CancelledError), kept


def config(**fields: Any) -> Any:
    video = {"codec": render_pb2.VIDEO_CODEC_I420, "width": 256, "height": 256} | fields.pop("video", {})
    return Request(
        config=render_pb2.RenderConfig(
            avatar=fields.pop("avatar", "avatars/default"),
            video_format=render_pb2.VideoFormat(**video),
            include_face_state=True,
            **fields,
        )
    )


def by_audio(**fields: Any) -> Any:
    audio = media_pb2.AudioFormat(encoding=media_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=RATE, channel_count=1)
    return config(frame_clock=render_pb2.FRAME_CLOCK_AUDIO, audio_format=audio, **fields)


def frame(index: int, utterance_id: str = "", offset_s: float = 0.0, useful_s: float | None = None) -> Any:
    return Request(
        frame=Request.FrameRequest(
            frame_index=index,
            presentation_offset=duration_of(index, FPS),
            utterance_id=utterance_id,
            utterance_offset=duration_of_s(offset_s),
            useful_duration=None if useful_s is None else duration_of_s(useful_s),
        )
    )


def visemes(utterance_id: str, *cues: tuple[Viseme, float, float]) -> Any:
    timings = [
        media_pb2.VisemeTiming(
            viseme=int(viseme),  # type: ignore[arg-type]
            start_offset=duration_of_s(start),
            end_offset=duration_of_s(end),
            weight=1.0,
        )
        for viseme, start, end in cues
    ]
    return Request(visemes=Request.Visemes(utterance_id=utterance_id, visemes=timings))


def audio(utterance_id: str, sequence: int, samples: Any) -> Any:
    return Request(
        audio=media_pb2.AudioChunk(
            utterance_id=utterance_id, sequence=sequence, data=pcm16_of(np.asarray(samples, np.float32))
        )
    )


def interrupt(utterance_id: str) -> Any:
    return Request(interrupt=Request.Interrupt(utterance_id=utterance_id))


def done(utterance_id: str) -> Any:
    return Request(utterance_done=Request.UtteranceDone(utterance_id=utterance_id))


async def opened(serving: Serving, first: Any = None) -> Any:
    call = serving.render.StreamingRender()
    await call.write(first or config())
    assert (await call.read()).HasField("started")
    return call


async def asked(call: Any, request: Any) -> Any:
    await call.write(request)
    return await call.read()


def jaw(answer: Any) -> float:
    return float(answer.frame.face_state.blendshape_weights[INDEX["jawOpen"]])


async def rest_of(call: Any) -> list[Any]:
    await call.done_writing()
    answers = []
    while (answer := await call.read()) is not grpc.aio.EOF:
        answers.append(answer)
    return answers


async def refusal(serving: Serving, *requests: Any) -> grpc.aio.AioRpcError:
    call = serving.render.StreamingRender(iter(requests))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in call:
            pass
    return refused.value


def tone(seconds: float) -> Any:
    t = np.arange(round(seconds * RATE)) / RATE
    return 0.4 * np.sin(2 * np.pi * 150 * t) + 0.3 * np.sin(2 * np.pi * 700 * t)
