"""A short performance before the doors open: what the first stream of a process pays for, no caller pays."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2, render_pb2_grpc

from services.common.errors import EngineError
from services.common.timing import duration_of
from services.render.avatars import DEFAULT_ID
from services.render.engine import MAX_SIZE

_SAID = "rehearsal"
_RATE_HZ = 25
_FRAMES = 10
# An engine that is slower than real time is as slow with its hundredth frame.
_ENOUGH_S = 0.5
_TIMEOUT_S = 60.0
_Request = render_pb2.StreamingRenderRequest


async def rehearse(channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
    """Let the default avatar say a vowel, frame after frame, until ten have come or half a second is over.

    Args: metadata: lets the call in.
    Raises: EngineError if no frame comes, with what came instead.
    """
    call = render_pb2_grpc.RenderServiceStub(channel).StreamingRender(metadata=metadata, timeout=_TIMEOUT_S)
    loop = asyncio.get_running_loop()
    end_s = loop.time() + _ENOUGH_S
    try:
        for request in _opening():
            await call.write(request)
        for number in range(_FRAMES):
            await call.write(_frame(number))
            await _picture(call)
            if loop.time() > end_s:
                break
        await call.done_writing()
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as failed:
        raise EngineError(f"the face did not draw its first frames: {failed.details()}") from failed


def _opening() -> tuple[_Request, ...]:
    video = render_pb2.VideoFormat(codec=render_pb2.VIDEO_CODEC_I420, width=MAX_SIZE, height=MAX_SIZE)
    config = render_pb2.RenderConfig(avatar=f"avatars/{DEFAULT_ID}", video_format=video)
    vowel = media_pb2.VisemeTiming(viseme=media_pb2.VISEME_AA, end_offset=duration_of(_FRAMES, _RATE_HZ), weight=1.0)
    return _Request(config=config), _Request(visemes=_Request.Visemes(utterance_id=_SAID, visemes=[vowel]))


def _frame(number: int) -> _Request:
    at = duration_of(number, _RATE_HZ)
    frame = _Request.FrameRequest(frame_index=number, presentation_offset=at, utterance_id=_SAID, utterance_offset=at)
    return _Request(frame=frame)


async def _picture(call: Any) -> None:
    """Return once a frame has come. Raises: EngineError if the stream ends without one."""
    while (answer := await call.read()) is not grpc.aio.EOF:
        if answer.WhichOneof("response") == "frame":
            return
    raise EngineError("the face drew none of its first frames")
