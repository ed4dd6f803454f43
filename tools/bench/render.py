"""The face alone, over real gRPC: time of a frame in the service, and what one stream and several reach."""

from __future__ import annotations

import argparse
import asyncio
import time

import grpc
from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2, render_pb2_grpc

from services.common.timing import duration_of_s, seconds_of
from tools.bench import liveportrait
from tools.bench.record import Record, row
from tools.cli.services import channels

_VISEMES = (media_pb2.VISEME_AA, media_pb2.VISEME_PP, media_pb2.VISEME_E, media_pb2.VISEME_OU, media_pb2.VISEME_SS)
_HELD_S = 0.12


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine",
        choices=("served", "liveportrait"),
        default="served",
        help="the engine of the service that runs, or LivePortrait's networks alone in this process",
    )
    parser.add_argument("--avatar", default="avatars/default")
    parser.add_argument("--frames", type=int, default=500, help="frames of a stream")
    parser.add_argument("--streams", type=int, default=4, help="streams at once, for the capacity")

    liveportrait.options(parser.add_argument_group("with --engine liveportrait"))


async def measure(given: argparse.Namespace) -> Record:
    """Draw speaking frames as fast as they come."""
    if given.engine == "liveportrait":
        return await liveportrait.measure(given)
    async with channels(["render"]) as to:
        alone_ms, fps = await _stream(to["render"], given.avatar, given.frames)
        start_s = time.perf_counter()
        await asyncio.gather(
            *(_stream(to["render"], given.avatar, given.frames // given.streams) for _ in range(given.streams))
        )
        together = given.frames // given.streams * given.streams / (time.perf_counter() - start_s)
    rows = [
        row("one frame, 512 x 512 I420, made", "ms", alone_ms, "10", "5"),
        row("frames per second, one stream", "1/s", [fps], "25"),
        row(f"frames per second, {given.streams} streams together", "1/s", [together]),
    ]
    return Record("render", rows, vars(given))


async def _stream(channel: grpc.aio.Channel, avatar: str, count: int) -> tuple[list[float], float]:
    request_type = render_pb2.StreamingRenderRequest
    call = render_pb2_grpc.RenderServiceStub(channel).StreamingRender()
    config = render_pb2.RenderConfig(
        avatar=avatar, video_format=render_pb2.VideoFormat(codec=render_pb2.VIDEO_CODEC_I420)
    )
    await call.write(request_type(config=config))
    await call.read()
    visemes = [
        media_pb2.VisemeTiming(
            viseme=_VISEMES[index % len(_VISEMES)],
            start_offset=duration_of_s(index * _HELD_S),
            end_offset=duration_of_s((index + 1) * _HELD_S),
            weight=1.0,
        )
        for index in range(int(count / 25 / _HELD_S) + 1)
    ]
    await call.write(request_type(visemes=request_type.Visemes(utterance_id="bench", visemes=visemes)))
    made_ms = []
    start_s = time.perf_counter()
    for index in range(count):
        at = duration_of_s(index / 25)
        frame = request_type.FrameRequest(
            frame_index=index, presentation_offset=at, utterance_id="bench", utterance_offset=at
        )
        await call.write(request_type(frame=frame))
        # A busy machine may say first that it has fewer frames for so many.
        answer = await call.read()
        while isinstance(answer, render_pb2.StreamingRenderResponse) and not answer.HasField("frame"):
            answer = await call.read()
        assert isinstance(answer, render_pb2.StreamingRenderResponse)
        made_ms.append(seconds_of(answer.frame.render_duration) * 1000)
    fps = count / (time.perf_counter() - start_s)
    await call.done_writing()
    return made_ms, fps
