"""The three services of a conversation, each doing what a test tells it, over real gRPC."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2, render_pb2_grpc
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services.common.timing import duration_of, duration_of_s
from tests.stack import free_ports

SAMPLE_RATE_HZ = 48_000
WORD_S = 0.1
Turn = stt_pb2.TurnEvent


@dataclass
class ScriptedEars(stt_pb2_grpc.SpeechToTextServiceServicer):
    """Hears what the test puts into `script`; notes whether the avatar was said to speak."""

    script: asyncio.Queue[stt_pb2.StreamingRecognizeResponse] = field(default_factory=asyncio.Queue)
    assistant_speaking: list[bool] = field(default_factory=list)
    assistant_texts: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def StreamingRecognize(self, requests: AsyncIterator[Any], context: Any) -> None:  # type: ignore[override]
        first = await anext(requests)
        self.languages.append(first.config.recognition.language_code)
        started = stt_pb2.StreamingRecognizeResponse.Started(config=first.config)
        await context.write(stt_pb2.StreamingRecognizeResponse(started=started))
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(self._write(context))
            async for request in requests:
                if request.HasField("assistant_state"):
                    self.assistant_speaking.append(request.assistant_state.speaking)
                    self.assistant_texts.append(request.assistant_state.text)
            writing.cancel()
        self.ended.set()

    async def GetHealth(self, request: stt_pb2.GetHealthRequest, context: Any) -> stt_pb2.GetHealthResponse:
        engine = media_pb2.EngineInfo(name="scripted")
        return stt_pb2.GetHealthResponse(status="healthy", engine=engine, language_codes=["en", "de"])

    async def _write(self, context: Any) -> None:
        while True:
            await context.write(await self.script.get())

    def hear(self, *events: Turn.Kind.ValueType | str) -> None:
        """Text is a final, a kind is a turn event at 0.5 s."""
        for event in events:
            if isinstance(event, str):
                result = stt_pb2.RecognitionResult(transcript=event, is_final=True, segment_id="s")
                self.script.put_nowait(stt_pb2.StreamingRecognizeResponse(result=result))
            else:
                turn = Turn(kind=event, event_offset=Duration(nanos=500_000_000))
                self.script.put_nowait(stt_pb2.StreamingRecognizeResponse(turn_event=turn))

    def hear_turn(self, text: str) -> None:
        """A whole turn."""
        self.hear(Turn.KIND_SPEECH_STARTED, Turn.KIND_SPEECH_ENDED, text, Turn.KIND_END_OF_TURN)


@dataclass
class ScriptedMouth(tts_pb2_grpc.TextToSpeechServiceServicer):
    """Says each word in 0.1 s of a loud constant; notes the texts; words after `hold` wait for it."""

    texts: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)

    async def StreamingSynthesize(self, requests: AsyncIterator[Any], context: Any) -> None:  # type: ignore[override]
        first = await anext(requests)
        self.languages.append(first.config.language_code)
        started = tts_pb2.StreamingSynthesizeResponse.Started(config=first.config)
        await context.write(tts_pb2.StreamingSynthesizeResponse(started=started))
        text, utterance_id = "", ""
        async for request in requests:
            if request.HasField("text"):
                text, utterance_id = text + request.text.text, request.text.utterance_id
                if request.text.last:
                    break
        self.texts.append(text)
        samples = 0
        begin = 0
        for sequence, word in enumerate(text.split()):
            begin = text.index(word, begin)
            start = duration_of_s(sequence * WORD_S)
            timing = tts_pb2.Timing(
                utterance_id=utterance_id,
                exact=True,
                words=[
                    media_pb2.WordTiming(word=word, start_offset=start, text_begin=begin, text_end=begin + len(word))
                ],
                visemes=[media_pb2.VisemeTiming(viseme=media_pb2.VISEME_AA, start_offset=start, weight=1.0)],
            )
            begin += len(word)
            await context.write(tts_pb2.StreamingSynthesizeResponse(timing=timing))
            count = round(WORD_S * SAMPLE_RATE_HZ)
            audio = media_pb2.AudioChunk(
                utterance_id=utterance_id,
                sequence=sequence,
                start_offset=duration_of(samples, SAMPLE_RATE_HZ),
                data=np.full(count, 8000, "<i2").tobytes(),
            )
            samples += count
            await context.write(tts_pb2.StreamingSynthesizeResponse(audio=audio))
        end = tts_pb2.UtteranceEnd(utterance_id=utterance_id, reason=tts_pb2.UtteranceEnd.REASON_COMPLETED)
        await context.write(tts_pb2.StreamingSynthesizeResponse(utterance_end=end))


@dataclass
class ScriptedFace(render_pb2_grpc.RenderServiceServicer):
    """Draws grey frames; notes that it was interrupted, and which frames were asked for."""

    interrupted: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[render_pb2.StreamingRenderRequest.FrameRequest] = field(default_factory=list)
    # Frames that it drops, and what it says before other frames, by frame_index.
    dropped: set[int] = field(default_factory=set)
    before: dict[int, list[render_pb2.StreamingRenderResponse]] = field(default_factory=dict)

    async def StreamingRender(self, requests: AsyncIterator[Any], context: Any) -> None:  # type: ignore[override]
        config = (await anext(requests)).config
        await _known(config.avatar, context)
        config.video_format.width = config.video_format.height = 64
        await context.write(
            render_pb2.StreamingRenderResponse(started=render_pb2.StreamingRenderResponse.Started(config=config))
        )
        async for request in requests:
            if request.HasField("interrupt"):
                self.interrupted.set()
            if not request.HasField("frame"):
                continue
            self.asked.append(request.frame)
            index = request.frame.frame_index
            for said in self.before.get(index, ()):
                await context.write(said)
            if index in self.dropped:
                gone = render_pb2.StreamingRenderResponse.FrameDropped(
                    frame_index=index, reason=render_pb2.StreamingRenderResponse.FrameDropped.REASON_LATE
                )
                await context.write(render_pb2.StreamingRenderResponse(frame_dropped=gone))
                continue
            frame = render_pb2.VideoFrame(
                frame_index=index, utterance_id=request.frame.utterance_id, data=bytes([128]) * (64 * 96)
            )
            await context.write(render_pb2.StreamingRenderResponse(frame=frame))


class ScriptedAvatars(render_pb2_grpc.AvatarServiceServicer):
    """Knows the default face and no other."""

    async def GetAvatar(self, request: render_pb2.GetAvatarRequest, context: Any) -> render_pb2.Avatar:
        await _known(request.name, context)
        return render_pb2.Avatar(name=request.name)


async def _known(avatar: str, context: Any) -> None:
    if avatar != "avatars/default":
        await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no avatar {avatar!r}")


class _Noting(grpc.aio.ServerInterceptor):
    """Notes the traceparent of each call."""

    def __init__(self, traceparents: list[str]) -> None:
        self._traceparents = traceparents

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        metadata = dict(handler_call_details.invocation_metadata)
        if "traceparent" in metadata:
            self._traceparents.append(metadata["traceparent"])
        return await continuation(handler_call_details)


@dataclass
class Services:
    """The three, with a channel to each, and the traceparents of the calls that each got."""

    ears: ScriptedEars
    mouth: ScriptedMouth
    face: ScriptedFace
    stt: grpc.aio.Channel
    tts: grpc.aio.Channel
    render: grpc.aio.Channel
    traceparents: dict[str, list[str]]


@contextlib.asynccontextmanager
async def scripted_services(*, without: frozenset[str] = frozenset()) -> AsyncIterator[Services]:
    """Args: without: services by name that are not there: nobody listens at their port."""
    ears, mouth, face = ScriptedEars(), ScriptedMouth(), ScriptedFace()  # type: ignore[abstract]
    ports = {}
    traceparents: dict[str, list[str]] = {"stt": [], "tts": [], "render": []}
    async with contextlib.AsyncExitStack() as held:
        parts: list[tuple[str, Any, Any]] = [
            ("stt", stt_pb2_grpc.add_SpeechToTextServiceServicer_to_server, ears),
            ("tts", tts_pb2_grpc.add_TextToSpeechServiceServicer_to_server, mouth),
            ("render", render_pb2_grpc.add_RenderServiceServicer_to_server, face),
        ]
        for name, add, servicer in parts:
            if name in without:
                ports[name] = free_ports(1)[0]
                continue
            server = grpc.aio.server(interceptors=[_Noting(traceparents[name])])
            add(servicer, server)
            if name == "render":
                render_pb2_grpc.add_AvatarServiceServicer_to_server(ScriptedAvatars(), server)  # type: ignore[abstract]
            checks = health.aio.HealthServicer()
            await checks.set("", health_pb2.HealthCheckResponse.SERVING)
            health_pb2_grpc.add_HealthServicer_to_server(checks, server)
            ports[name] = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            held.push_async_callback(server.stop, None)
        channels = {
            name: await held.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
            for name, port in ports.items()
        }
        yield Services(ears, mouth, face, **channels, traceparents=traceparents)
