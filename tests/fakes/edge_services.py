"""What stands behind Envoy in the tests of the edge: real servers whose answers the test can hold back."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from avatar.conversation.v1 import conversation_pb2 as conversation
from avatar.conversation.v1 import conversation_pb2_grpc
from avatar.media.v1 import media_pb2 as media
from avatar.stt.v1 import stt_pb2 as stt
from avatar.stt.v1 import stt_pb2_grpc
from avatar.tts.v1 import tts_pb2 as tts
from avatar.tts.v1 import tts_pb2_grpc
from google.protobuf.empty_pb2 import Empty

from services.common.errors import InvalidRequestError, NotFoundError, OverloadedError
from services.common.server import Server
from services.common.settings import DrainSettings, ServerSettings

TTS = "avatar.tts.v1.TextToSpeechService"
CONVERSATIONS = "avatar.conversation.v1.ConversationService"
STT = "avatar.stt.v1.SpeechToTextService"
FLOOD = "more than anyone can hear"
FLOOD_CHUNK_BYTES = 32 * 1024
LONG_BYTES = 63 * 1024 * 1024
NO_DRAIN = DrainSettings(announce_s=0.0, grace_s=0.0)


@dataclass
class Stream:
    """One running SynthesizeStream, as the test sees it."""

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    completed: bool = False


class FakeSpeech(tts_pb2_grpc.TextToSpeechServiceServicer):
    """Speaks text as its own bytes. A stream waits after its first message until the test lets it go on."""

    def __init__(self, name: str = "one") -> None:
        self.name = name
        self.streams: defaultdict[str, Stream] = defaultdict(Stream)
        self.ran_ahead: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def GetHealth(self, request: Any, context: Any) -> tts.GetHealthResponse:
        return tts.GetHealthResponse(status="healthy", engine=media.EngineInfo(name=self.name))

    async def ListVoices(self, request: tts.ListVoicesRequest, context: Any) -> tts.ListVoicesResponse:
        voices = [tts.Voice(name="voices/a", natural_sample_rate_hertz=22050, language_codes=[request.language_code])]
        return tts.ListVoicesResponse(voices=voices)

    async def GetVoice(self, request: tts.GetVoiceRequest, context: Any) -> tts.Voice:
        return tts.Voice(name=request.name)

    async def CreateVoice(self, request: tts.CreateVoiceRequest, context: Any) -> tts.Voice:
        """Calls the voice by the size of its recording."""
        return tts.Voice(name=f"voices/{request.voice_id}", display_name=f"{len(request.voice.recording)} bytes")

    async def RemakeVoice(self, request: tts.RemakeVoiceRequest, context: Any) -> tts.Voice:
        return tts.Voice(name=request.name, display_name="remade")

    async def DeleteVoice(self, request: tts.DeleteVoiceRequest, context: Any) -> Empty:
        if request.name != "voices/a":
            raise NotFoundError("there is no such voice; there is voices/a")
        return Empty()

    async def Synthesize(self, request: tts.SynthesizeRequest, context: Any) -> tts.SynthesizeResponse:
        if not request.text:
            raise InvalidRequestError("text is empty; send 1 to 20000 characters")
        if request.config.voice == "voices/none":
            raise NotFoundError("there is no voice none; there is a")
        if request.config.voice == "voices/busy":
            raise OverloadedError("all 8 streams are taken", limit="max_streams=8", retry_after_s=1.5)
        if request.config.voice == "voices/long":
            return tts.SynthesizeResponse(audio=bytes(LONG_BYTES))
        return tts.SynthesizeResponse(audio=request.text.encode())

    async def SynthesizeStream(self, request: Any, context: Any) -> AsyncIterator[tts.SynthesizeStreamResponse]:
        stream = self.streams[request.text]
        stream.entered.set()
        try:
            yield tts.SynthesizeStreamResponse(started=tts.StreamingSynthesizeResponse.Started(config=request.config))
            await stream.go_on.wait()
            yield tts.SynthesizeStreamResponse(audio=media.AudioChunk(data=request.text.encode()))
            yield tts.SynthesizeStreamResponse(utterance_end=tts.UtteranceEnd(reason=tts.UtteranceEnd.REASON_COMPLETED))
            stream.completed = True
        finally:
            stream.left.set()

    async def StreamingSynthesize(  # type: ignore[override]
        self, requests: AsyncIterator[tts.StreamingSynthesizeRequest], context: Any
    ) -> None:
        async for request in requests:
            if request.text.text == FLOOD:
                await self._flood(context)
                return
            chunk = media.AudioChunk(utterance_id=self.name, data=request.text.text.encode())
            await context.write(tts.StreamingSynthesizeResponse(audio=chunk))

    async def _flood(self, context: Any) -> None:
        """Write until nobody takes it any more; `ran_ahead` is how many bytes that were."""
        chunk = tts.StreamingSynthesizeResponse(audio=media.AudioChunk(data=bytes(FLOOD_CHUNK_BYTES)))
        sent = 0
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(1):
                    await context.write(chunk)
                sent += FLOOD_CHUNK_BYTES
        self.ran_ahead.set_result(sent)


class FakeEars(stt_pb2_grpc.SpeechToTextServiceServicer):
    """Hears how many bytes there are, once the test lets it."""

    def __init__(self) -> None:
        self.listening = 0
        self._changed = asyncio.Condition()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def GetHealth(self, request: Any, context: Any) -> stt.GetHealthResponse:
        return stt.GetHealthResponse(status="healthy")

    async def Recognize(self, request: stt.RecognizeRequest, context: Any) -> stt.RecognizeResponse:
        async with self._changed:
            self.listening += 1
            self._changed.notify_all()
        try:
            await self.may_answer.wait()
        finally:
            self.listening -= 1
        return stt.RecognizeResponse(transcript=str(len(request.audio)))

    async def until_listening_to(self, count: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.listening >= count)

    async def StreamingRecognize(  # type: ignore[override]
        self, requests: AsyncIterator[stt.StreamingRecognizeRequest], context: Any
    ) -> None:
        async for request in requests:
            result = stt.RecognitionResult(transcript=str(len(request.audio)))
            await context.write(stt.StreamingRecognizeResponse(result=result))


class FakeConversations(conversation_pb2_grpc.ConversationServiceServicer):
    """One conversation, which ends when the test says so."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def GetHealth(self, request: Any, context: Any) -> conversation.GetHealthResponse:
        return conversation.GetHealthResponse(status="healthy")

    async def ListConversations(self, request: Any, context: Any) -> conversation.ListConversationsResponse:
        one = conversation.Conversation(name="conversations/one")
        return conversation.ListConversationsResponse(conversations=[one])

    async def GetConversation(self, request: Any, context: Any) -> conversation.Conversation:
        return conversation.Conversation(name=request.name)

    async def WatchConversation(self, request: Any, context: Any) -> AsyncIterator[conversation.ConversationEvent]:
        listening = conversation.ConversationEvent.TurnChanged(state=conversation.TURN_STATE_LISTENING)
        yield conversation.ConversationEvent(turn_changed=listening)
        await self.may_end.wait()
        yield conversation.ConversationEvent(ended=conversation.ConversationEvent.Ended(reason="the test is over"))

    async def Say(self, request: conversation.SayRequest, context: Any) -> conversation.SayResponse:
        return conversation.SayResponse(utterance_id=request.utterance_id or "made")

    async def Interrupt(self, request: Any, context: Any) -> conversation.InterruptResponse:
        return conversation.InterruptResponse(utterance_id="one")


@contextlib.asynccontextmanager
async def serving_speech(speech: FakeSpeech, port: int = 0, *, ready: bool = True) -> AsyncIterator[Server]:
    """The fake voice on loopback."""
    server = Server(ServerSettings(port=port, drain=NO_DRAIN), [TTS])
    tts_pb2_grpc.add_TextToSpeechServiceServicer_to_server(speech, server.grpc)
    await server.start()
    if ready:
        await server.ready()
    try:
        yield server
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def serving_ears(ears: FakeEars) -> AsyncIterator[Server]:
    """The fake recogniser on loopback."""
    server = Server(ServerSettings(drain=NO_DRAIN), [STT])
    stt_pb2_grpc.add_SpeechToTextServiceServicer_to_server(ears, server.grpc)
    await server.start()
    await server.ready()
    try:
        yield server
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def serving_conversations(conversations: FakeConversations) -> AsyncIterator[Server]:
    """The fake orchestrator's gRPC side on loopback."""
    server = Server(ServerSettings(drain=NO_DRAIN), [CONVERSATIONS])
    conversation_pb2_grpc.add_ConversationServiceServicer_to_server(conversations, server.grpc)
    await server.start()
    await server.ready()
    try:
        yield server
    finally:
        await server.stop()


async def _page(request: web.Request) -> web.StreamResponse:
    """A file of the page, or what was asked for; as a WebSocket, tells that and then says everything twice."""
    if request.headers.get("upgrade", "").lower() != "websocket":
        if request.path == "/echo":
            return web.json_response(dict(request.headers))
        if request.path != "/":
            raise web.HTTPNotFound
        return web.Response(text="<!doctype html><title>page</title>", content_type="text/html")
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_json({"path": request.path, "listener": request.headers.getall("x-avatar-listener", [])})
    async for message in socket:
        await socket.send_str(message.data * 2)
    return socket


@contextlib.asynccontextmanager
async def serving_page() -> AsyncIterator[int]:
    """The fake orchestrator's HTTP side on loopback. Yields: its port."""
    app = web.Application()
    app.router.add_get("/{path:.*}", _page)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
