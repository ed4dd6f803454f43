"""The older stack's voice behind Envoy: it answers as the test says and tells what reached it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from avatar.stt.v1 import legacy_pb2 as stt
from avatar.stt.v1 import legacy_pb2_grpc as stt_grpc
from avatar.tts.v1 import legacy_pb2 as tts
from avatar.tts.v1 import legacy_pb2_grpc as tts_grpc
from google.api.httpbody_pb2 import HttpBody

from services.common.legacy_http import HttpReply, answer, json_reply, listener_of
from services.common.server import Server
from services.common.settings import ServerSettings
from tests.fakes.edge_services import NO_DRAIN

TTS = "avatar.tts.v1.LegacyTextToSpeechService"
STT = "avatar.stt.v1.LegacySpeechToTextService"


class FakeLegacyVoice(tts_grpc.LegacyTextToSpeechServiceServicer):
    """Answers with `reply`. Attributes: sent: the last body that came."""

    def __init__(self) -> None:
        self.reply = json_reply({})
        self.sent = HttpBody()

    async def _reply(self) -> HttpReply:
        return self.reply

    async def GetServiceHealth(self, request: Any, context: Any) -> HttpBody:
        return await answer(context, "GetServiceHealth", self._reply())

    async def GetLanguages(self, request: Any, context: Any) -> HttpBody:
        return await answer(context, "GetLanguages", self._reply())

    async def GetSpeakers(self, request: Any, context: Any) -> HttpBody:
        return await answer(context, "GetSpeakers", self._reply())

    async def SynthesizeFile(self, request: tts.SynthesizeFileRequest, context: Any) -> HttpBody:
        self.sent = request.json
        return await answer(context, "SynthesizeFile", self._reply())

    async def CloneVoice(self, request: tts.CloneVoiceRequest, context: Any) -> HttpBody:
        self.sent = request.form
        return await answer(context, "CloneVoice", self._reply())


class FakeLegacyEars(stt_grpc.LegacySpeechToTextServiceServicer):
    """Tells what was asked for and by which port."""

    async def _tell(self, context: Any, **heard: Any) -> HttpReply:
        return json_reply(heard | {"listener": listener_of(context)})

    async def GetServiceHealth(self, request: Any, context: Any) -> HttpBody:
        return await answer(context, "GetServiceHealth", self._tell(context))

    async def GetLanguages(self, request: Any, context: Any) -> HttpBody:
        return await answer(context, "GetLanguages", self._tell(context))

    async def Transcribe(self, request: stt.TranscribeRequest, context: Any) -> HttpBody:
        told = {"language": request.language, "task": request.task, "target_language": request.target_language}
        return await answer(context, "Transcribe", self._tell(context, size=len(request.form.data), **told))


@contextlib.asynccontextmanager
async def serving_legacy(voice: FakeLegacyVoice, *, ready: bool = True) -> AsyncIterator[Server]:
    """Both on one port of loopback."""
    server = Server(ServerSettings(drain=NO_DRAIN), [TTS, STT])
    tts_grpc.add_LegacyTextToSpeechServiceServicer_to_server(voice, server.grpc)
    stt_grpc.add_LegacySpeechToTextServiceServicer_to_server(FakeLegacyEars(), server.grpc)
    await server.start()
    if ready:
        await server.ready()
    try:
        yield server
    finally:
        await server.stop()
