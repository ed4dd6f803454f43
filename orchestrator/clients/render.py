"""Client of the render service: one stream draws one conversation's face, frame by frame as they are asked for."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

import grpc
from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2, render_pb2_grpc

from orchestrator.clients.channel import domain_errors, prompt_answer, session_metadata
from orchestrator.media_clock import SAMPLE_RATE_HZ
from orchestrator.playout import Place
from services.common.errors import NotReadyError
from services.common.log import get_logger
from services.common.timing import duration_of, duration_of_s

log = get_logger(__name__)
Request = render_pb2.StreamingRenderRequest
Response = render_pb2.StreamingRenderResponse


class Drawing:
    """One open stream, written to by one task: a write that is cancelled would end the stream.

    Every method raises AvatarError once the stream is gone.
    """

    def __init__(self, call: grpc.aio.StreamStreamCall[Request, Response], started: Response.Started) -> None:
        self._call = call
        self._index = 0
        self.size = started.config.video_format.width
        # More frames than this are not drawn; it may change while a frame is waited for.
        self.frame_rate_hz = started.config.video_format.frame_rate_hertz
        self.engine = started.engine.name
        log.info("face_opened", engine=self.engine, frame_rate_hz=self.frame_rate_hz)

    async def _write(self, request: Request) -> None:
        with domain_errors():
            await self._call.write(request)

    async def draw(self, media_s: float, place: Place | None, useful_s: float) -> render_pb2.VideoFrame | None:
        """Ask for the frame of a media time and wait for it.

        Args: useful_s: for how long from now it is of use.
        Returns: None if it could not be drawn within that time; the picture before it stays.
        """
        self._index += 1
        request = Request.FrameRequest(
            frame_index=self._index,
            presentation_offset=duration_of_s(media_s),
            useful_duration=duration_of_s(useful_s),
        )
        if place is not None:
            request.utterance_id = place.utterance_id
            request.utterance_offset.CopyFrom(duration_of(max(0, place.offset_samples), SAMPLE_RATE_HZ))
        async with prompt_answer():
            await self._call.write(Request(frame=request))
            while (response := await self._call.read()) is not grpc.aio.EOF:
                assert isinstance(response, Response)
                match response.WhichOneof("response"):
                    case "frame" if response.frame.frame_index == self._index:
                        return response.frame
                    case "frame_dropped" if response.frame_dropped.frame_index == self._index:
                        return None
                    case "warning":
                        log.warning("face_warned", message=response.warning.message)
                    case "changed":
                        self._change(response.changed)
        raise NotReadyError("the face service ended the stream")

    def _change(self, changed: Response.Changed) -> None:
        self.frame_rate_hz = changed.config.video_format.frame_rate_hertz
        self.engine = changed.engine.name
        log.info("face_changed", engine=self.engine, frame_rate_hz=self.frame_rate_hz)

    async def add_visemes(self, utterance_id: str, visemes: Sequence[media_pb2.VisemeTiming]) -> None:
        """Tell mouth shapes before the frames that show them are asked for."""
        await self._write(Request(visemes=Request.Visemes(utterance_id=utterance_id, visemes=visemes)))

    async def interrupt(self, utterance_id: str) -> None:
        """Shut the mouth; no later frame shows the utterance."""
        await self._write(Request(interrupt=Request.Interrupt(utterance_id=utterance_id)))

    async def set_expression(self, kind: render_pb2.ExpressionKind.ValueType, intensity: float) -> None:
        """Change the expression. Args: intensity: 0 to 1."""
        expression = render_pb2.Expression(kind=kind, intensity=intensity)
        await self._write(Request(expression=Request.SetExpression(expression=expression)))

    async def switch_avatar(self, avatar: str) -> None:
        """Draw another face."""
        await self._write(Request(switch_avatar=Request.SwitchAvatar(avatar=avatar)))


@contextlib.asynccontextmanager
async def drawing(
    channel: grpc.aio.Channel, session_id: str, avatar: str, frame_rate_hz: int
) -> AsyncIterator[Drawing]:
    """Open a stream of I420 frames; it has been accepted when the body runs. Raises: AvatarError."""
    config = render_pb2.RenderConfig(
        avatar=avatar,
        video_format=render_pb2.VideoFormat(codec=render_pb2.VIDEO_CODEC_I420, frame_rate_hertz=frame_rate_hz),
        frame_clock=render_pb2.FRAME_CLOCK_REQUEST,
    )
    stub = render_pb2_grpc.RenderServiceStub(channel)
    call = stub.StreamingRender(metadata=session_metadata(session_id))
    try:
        async with prompt_answer():
            await call.write(Request(config=config))
            first = await call.read()
        if not isinstance(first, Response):
            raise NotReadyError("the face service ended the stream")
        yield Drawing(call, first.started)
    finally:
        call.cancel()


async def avatar_exists(channel: grpc.aio.Channel, name: str) -> None:
    """Raises: NotFoundError if there is no such face; AvatarError if the service cannot tell."""
    with domain_errors():
        await render_pb2_grpc.AvatarServiceStub(channel).GetAvatar(render_pb2.GetAvatarRequest(name=name), timeout=3)
