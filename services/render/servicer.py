"""RenderService: messages in, frames out."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2, render_pb2_grpc
from google.api import httpbody_pb2
from google.rpc import code_pb2, status_pb2

from services.common.audio import samples_of_pcm16
from services.common.errors import InvalidRequestError, OverloadedError, ProtocolError, UnsupportedError
from services.common.log import get_logger
from services.common.streaming import write_within
from services.common.timing import duration_of, duration_of_s, seconds_of
from services.render.avatars import avatar_id_of
from services.render.blendshapes import BLENDSHAPE_NAMES
from services.render.drawing_thread import Drawn
from services.render.engine import FaceState, VideoCodec
from services.render.expressions import expression_pose, expression_weights, gaze_weights
from services.render.idle_motion import IdleLoop, IdleMotion
from services.render.performance import DEFAULT_TRANSITION_S, Moment, Performance
from services.render.requests import (
    check_config,
    check_cue_count,
    check_driving,
    check_utterance_id,
    checked_expression,
    checked_gaze,
    checked_still_size,
    cue_of,
)
from services.render.seat import Dropped, Seat
from services.render.settings import RenderSettings
from services.render.speech_motion import LOOK_AHEAD_S
from services.render.stage import Stage
from services.render.visemes import SHAPES

MAX_CHUNK_S = 1.0
MAX_TRANSITION_S = 10.0
log = get_logger(__name__)

_FrameDropped = render_pb2.StreamingRenderResponse.FrameDropped
_REASONS = {Dropped.LATE: _FrameDropped.REASON_LATE, Dropped.RATE: _FrameDropped.REASON_RATE}


class RenderServicer(render_pb2_grpc.RenderServiceServicer):
    """Serves streams and stills; engines draw on threads of the stage, never on the event loop."""

    def __init__(self, settings: RenderSettings, stage: Stage) -> None:
        self._settings = settings
        self._stage = stage
        self._streams = 0

    @contextmanager
    def _slot(self) -> Iterator[None]:
        limit = self._settings.max_streams
        if self._streams >= limit:
            raise OverloadedError(f"all {limit} streams are taken; try again later", limit=f"max_streams={limit}")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    async def StreamingRender(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        with self._slot():
            await _Stream(self._settings, self._stage, context).serve()

    async def RenderStill(self, request: render_pb2.RenderStillRequest, context: Any) -> httpbody_pb2.HttpBody:
        kind, intensity = checked_expression(request.expression)
        size = checked_still_size(request.size)
        gaze = checked_gaze(request.gaze) if request.HasField("gaze") else (0.0, 0.0)
        if request.viseme not in range(len(SHAPES)):
            raise InvalidRequestError(f"viseme {request.viseme} is not known; use 0 to {len(SHAPES) - 1}")
        weights = expression_weights(kind, intensity) + SHAPES[request.viseme] + gaze_weights(*gaze)
        state = FaceState(weights.clip(0.0, 1.0), expression_pose(kind, intensity))
        jpeg = await self._stage.still(self._stage.sitter(avatar_id_of(request.avatar)), state, size)
        return httpbody_pb2.HttpBody(content_type="image/jpeg", data=jpeg)

    async def GetHealth(self, request: render_pb2.GetHealthRequest, context: Any) -> render_pb2.GetHealthResponse:
        return render_pb2.GetHealthResponse(status="healthy", engine=self._stage.info)


class _Stream:
    """One call of StreamingRender: a straight line of read, do, write."""

    def __init__(self, settings: RenderSettings, stage: Stage, context: Any) -> None:
        self._settings = settings
        self._stage = stage
        self._context = context
        self._config = render_pb2.RenderConfig()
        self._performance: Performance
        self._seat: Seat
        self._frame_rate = 0
        self._sample_rate = 0
        self._frames = 0
        self._dropped = 0
        self._last_index = -1
        # Of each utterance: the next chunk's number and the samples that came. With the audio clock: frames made of it.
        self._sequences: dict[str, int] = {}
        self._samples: dict[str, int] = {}
        self._drawn: dict[str, int] = {}
        # What has come of a driving file.
        self._driving = bytearray()

    async def _read(self) -> Any:
        limit = self._settings.idle_timeout_s
        try:
            async with asyncio.timeout(limit):
                return await self._context.read()
        except TimeoutError:
            raise ProtocolError(f"nothing was sent for {limit:g} s; open a new stream") from None

    async def serve(self) -> None:
        request = await self._read()
        if request is grpc.aio.EOF:
            return
        if request.WhichOneof("request") != "config":
            raise ProtocolError("the first message holds config; send it before anything else")
        await self._sit(request.config)
        try:
            await self._start()
            while (request := await self._read()) is not grpc.aio.EOF:
                await self._do(request)
        finally:
            self._seat.leave()
        log.info("stream_finished", frames=self._frames, dropped=self._dropped)

    async def _sit(self, config: render_pb2.RenderConfig) -> None:
        self._config = check_config(config)
        video = self._config.video_format
        self._frame_rate = video.frame_rate_hertz
        self._seat = await self._stage.sit(
            *(avatar_id_of(config.avatar), video.width, VideoCodec(video.codec), video.frame_rate_hertz),
            is_live=not self._by_audio,
        )

    async def _start(self) -> None:
        if self._config.HasField("audio_format"):
            self._sample_rate = self._config.audio_format.sample_rate_hertz
        seat = self._seat
        idle = IdleLoop(seat.session) if seat.plays_idle_loops else IdleMotion(seat.session)
        terms = seat.tell()
        self._config.video_format.frame_rate_hertz = terms.rate_hz
        self._performance = Performance(idle, terms.rate_hz, self._sample_rate or None)
        started = render_pb2.StreamingRenderResponse.Started(
            config=self._config,
            engine=terms.engine,
            blendshape_names=BLENDSHAPE_NAMES,
            look_ahead_duration=duration_of_s(LOOK_AHEAD_S),
            reads_motion=seat.home.thread.engine.capabilities.reads_motion,
        )
        await self._write(started=started)

    async def _write(self, **fields: Any) -> None:
        await write_within(self._context, render_pb2.StreamingRenderResponse(**fields), self._settings.idle_timeout_s)

    async def _do(self, request: render_pb2.StreamingRenderRequest) -> None:
        match request.WhichOneof("request"):
            case "frame":
                await self._on_request(request.frame)
            case "visemes":
                check_utterance_id(request.visemes.utterance_id)
                check_cue_count(len(request.visemes.visemes))
                # The shapes of a long text take a tenth of a second; nobody else need wait for them.
                await asyncio.to_thread(self._add_visemes, request.visemes)
            case "audio":
                await self._on_audio(request.audio)
            case "utterance_done":
                await self._on_done(request.utterance_done.utterance_id)
            case "expression":
                self._on_expression(request.expression)
            case "gaze":
                self._performance.set_gaze(checked_gaze(request.gaze.gaze) if request.gaze.HasField("gaze") else None)
            case "interrupt":
                await self._on_interrupt(request.interrupt.utterance_id)
            case "switch_avatar":
                await self._seat.switch(self._stage.sitter(avatar_id_of(request.switch_avatar.avatar)))
            case "drive":
                await self._on_drive(request.drive)
            case "config":
                raise ProtocolError("a second config came; it is fixed for the stream, open a new one to change it")
            case None:
                raise InvalidRequestError("a message was empty; set one of its fields")

    def _add_visemes(self, visemes: render_pb2.StreamingRenderRequest.Visemes) -> None:
        self._performance.add_visemes(visemes.utterance_id, [cue_of(timing) for timing in visemes.visemes])

    def _on_expression(self, request: render_pb2.StreamingRenderRequest.SetExpression) -> None:
        transition_s = DEFAULT_TRANSITION_S
        if request.HasField("transition_duration"):
            transition_s = seconds_of(request.transition_duration)
            if not 0 <= transition_s <= MAX_TRANSITION_S:
                raise InvalidRequestError(f"transition_duration is {transition_s:g} s; use 0 to {MAX_TRANSITION_S:g} s")
        self._performance.set_expression(*checked_expression(request.expression), transition_s)

    async def _on_interrupt(self, utterance_id: str) -> None:
        check_utterance_id(utterance_id)
        if self._performance.is_interrupted(utterance_id):
            return
        last_offset_s = self._performance.interrupt(utterance_id)
        self._forget(utterance_id)
        interrupted = render_pb2.StreamingRenderResponse.Interrupted(
            utterance_id=utterance_id, last_offset=duration_of_s(last_offset_s)
        )
        await self._write(interrupted=interrupted)

    async def _on_drive(self, piece: render_pb2.StreamingRenderRequest.Drive) -> None:
        engine = self._seat.home.thread.engine
        if not engine.capabilities.reads_motion:
            why = f"{engine.name} draws it ({self._seat.terms().engine.reason})"
            raise UnsupportedError(f"recorded motion cannot move this face: {why}; liveportrait reads motion")
        check_driving(len(piece.data), len(self._driving) + len(piece.data))
        self._driving += piece.data
        if not piece.is_last:
            return
        file, self._driving = bytes(self._driving), bytearray()
        driving = render_pb2.StreamingRenderResponse.Driving(duration=duration_of_s(0.0))
        if file:
            motion, kept = await self._stage.read_motion(self._seat, file)
            self._performance.drive(motion)
            driving.duration.CopyFrom(duration_of_s(motion.duration_s))
            driving.frame_count, driving.motion = motion.frame_count, kept
        else:
            self._performance.drive(None)
        await self._write(driving=driving)

    def _forget(self, utterance_id: str) -> None:
        for kept in (self._sequences, self._samples, self._drawn):
            kept.pop(utterance_id, None)

    async def _on_request(self, request: render_pb2.StreamingRenderRequest.FrameRequest) -> None:
        if self._config.frame_clock != render_pb2.FRAME_CLOCK_REQUEST:
            raise ProtocolError(
                "frames follow the audio in this stream; open one with FRAME_CLOCK_REQUEST to ask for them"
            )
        if request.frame_index <= self._last_index:
            raise InvalidRequestError(f"frame_index {request.frame_index} came after {self._last_index}; it must rise")
        self._last_index = request.frame_index
        # Filled in place: copying half a megabyte once more takes time from the other streams.
        response = render_pb2.StreamingRenderResponse()
        frame = response.frame
        frame.frame_index = request.frame_index
        frame.presentation_offset.CopyFrom(request.presentation_offset)
        moment = self._moment(frame, request.utterance_id, request.utterance_offset)
        useful_s = seconds_of(request.useful_duration) if request.HasField("useful_duration") else None
        drawn = await self._seat.draw(moment.state, seconds_of(request.presentation_offset), useful_s, moment.loop_s)
        await self._tell()
        if isinstance(drawn, Dropped):
            await self._drop(frame.frame_index, drawn)
        else:
            await self._send(response, moment, drawn)

    def _moment(self, frame: render_pb2.VideoFrame, utterance_id: str, offset: Any) -> Moment:
        """The face of a frame, which then says what it shows."""
        moment = self._performance.state(seconds_of(frame.presentation_offset), utterance_id, seconds_of(offset))
        if moment.is_spoken:
            frame.utterance_id = utterance_id
            frame.utterance_offset.CopyFrom(offset)
        return moment

    async def _send(self, response: render_pb2.StreamingRenderResponse, moment: Moment, drawn: Drawn) -> None:
        self._performance.was_shown()
        frame = response.frame
        frame.data = drawn.data
        frame.render_duration.CopyFrom(duration_of_s(drawn.seconds))
        if self._config.include_face_state:
            state = moment.state
            frame.face_state.blendshape_weights.extend(state.weights.tolist())
            frame.face_state.head_yaw_degrees = state.pose.yaw
            frame.face_state.head_pitch_degrees = state.pose.pitch
            frame.face_state.head_roll_degrees = state.pose.roll
        self._frames += 1
        await write_within(self._context, response, self._settings.idle_timeout_s)

    async def _drop(self, frame_index: int, why: Dropped) -> None:
        self._dropped += 1
        await self._write(frame_dropped=_FrameDropped(frame_index=frame_index, reason=_REASONS[why]))

    async def _tell(self) -> None:
        """Tell what the caller does not know yet of what the server really does."""
        news = self._seat.news()
        if news is None:
            return
        self._config.video_format.frame_rate_hertz = news.terms.rate_hz
        self._performance.set_frame_rate(news.terms.rate_hz)
        if news.warning is not None:
            await self._write(warning=news.warning)
        changed = render_pb2.StreamingRenderResponse.Changed(config=self._config, engine=news.terms.engine)
        await self._write(changed=changed)

    async def _on_audio(self, chunk: media_pb2.AudioChunk) -> None:
        key = chunk.utterance_id
        check_utterance_id(key)
        if not self._sample_rate:
            raise ProtocolError("audio came, but config had no audio_format; set it in the stream's first message")
        if len(chunk.data) % 2:
            raise InvalidRequestError(f"an audio chunk has {len(chunk.data)} bytes; send whole samples of 2 bytes")
        samples = samples_of_pcm16(chunk.data)
        if len(samples) > MAX_CHUNK_S * self._sample_rate:
            raise InvalidRequestError(
                f"an audio chunk lasts {len(samples) / self._sample_rate:.2f} s; send at most {MAX_CHUNK_S:g} s"
            )
        if self._performance.is_interrupted(key):
            return
        if self._by_audio and key not in self._samples and self._samples:
            raise ProtocolError(
                f"audio of {key!r} came before utterance_done of {next(iter(self._samples))!r}; finish one first"
            )
        expected = self._sequences.get(key, 0)
        if chunk.sequence != expected:
            await self._warn(
                f"audio chunk {chunk.sequence} of {key!r} came where {expected} was due; it is taken as the next one"
            )
        self._sequences[key] = chunk.sequence + 1
        total = self._samples.get(key, 0) + len(samples)
        if total > self._settings.max_utterance_s * self._sample_rate:
            raise InvalidRequestError(
                f"{key!r} has more than {self._settings.max_utterance_s:g} s of audio; split it into utterances"
            )
        self._samples[key] = total
        await asyncio.to_thread(self._performance.add_audio, key, samples)
        for forgotten in [known for known in self._samples if not self._performance.knows(known)]:
            self._forget(forgotten)
        if self._by_audio:
            ready_s = total / self._sample_rate - LOOK_AHEAD_S
            await self._draw_until(key, max(0, math.floor(ready_s * self._frame_rate)))

    @property
    def _by_audio(self) -> bool:
        return bool(self._config.frame_clock == render_pb2.FRAME_CLOCK_AUDIO)

    async def _draw_until(self, utterance_id: str, count: int) -> None:
        """With the audio clock: make the utterance's frames up to `count` of them."""
        begin, at_once = self._drawn.get(utterance_id, 0), self._seat.at_once
        for first in range(begin, count, at_once):
            responses, moments = [], []
            for number in range(first, min(first + at_once, count)):
                index = self._frames + number - first
                response = render_pb2.StreamingRenderResponse()
                response.frame.frame_index = index
                response.frame.presentation_offset.CopyFrom(duration_of(index, self._frame_rate))
                offset = duration_of(number, self._frame_rate)
                moments.append(self._moment(response.frame, utterance_id, offset))
                responses.append(response)
            drawn = await asyncio.gather(*(self._seat.draw(moment.state) for moment in moments))
            await self._tell()
            for response, moment, each in zip(responses, moments, drawn, strict=True):
                assert not isinstance(each, Dropped), "a frame of a file has no deadline"
                await self._send(response, moment, each)
            self._drawn[utterance_id] = first + len(responses)

    async def _on_done(self, utterance_id: str) -> None:
        check_utterance_id(utterance_id)
        if self._performance.is_interrupted(utterance_id):
            return
        self._performance.finish(utterance_id)
        samples = self._samples.get(utterance_id, 0)
        if self._by_audio:
            # A whole number of frames that is not shorter than the sound.
            count = -(-samples * self._frame_rate // self._sample_rate)
            await self._draw_until(utterance_id, count)
            rendered = render_pb2.StreamingRenderResponse.UtteranceRendered(
                utterance_id=utterance_id, frame_count=count
            )
            await self._write(utterance_rendered=rendered)
        self._forget(utterance_id)

    async def _warn(self, message: str) -> None:
        await self._write(warning=status_pb2.Status(code=code_pb2.DATA_LOSS, message=message))
