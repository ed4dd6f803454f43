"""The older stack's routes on port 8082: a text in, a WAV file out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from avatar.media.v1 import media_pb2
from avatar.tts.v1 import legacy_pb2, legacy_pb2_grpc, tts_pb2
from google.api.httpbody_pb2 import HttpBody
from pydantic import BaseModel

from services.common.legacy_http import (
    FormFile,
    HttpError,
    HttpReply,
    answer,
    form_of,
    health_reply,
    json_of,
    json_reply,
)
from services.tts.engine import find_language
from services.tts.messages import voice_name
from services.tts.servicer import TextToSpeechServicer
from services.tts.studio import Studio

SAMPLE_RATE_HZ = 24_000
# The older stack's languages, by the codes and names that its clients know.
LANGUAGES = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "pl": "Polish",
    "nl": "Dutch",
    "cs": "Czech",
    "ar": "Arabic",
    "tr": "Turkish",
    "ru": "Russian",
    "hu": "Hungarian",
    "ko": "Korean",
    "ja": "Japanese",
    "zh-cn": "Chinese (Simplified)",
    "hi": "Hindi",
}


class _Text(BaseModel):
    text: str
    language: str = "en"
    speaker: str | None = None
    speaker_wav: str | None = None


class _CloneForm(BaseModel):
    text: str
    language: str = "en"
    speaker_audio: FormFile


class LegacyTextToSpeechServicer(legacy_pb2_grpc.LegacyTextToSpeechServiceServicer):
    """Speaks by the service that everyone else calls, at the older stack's sample rate."""

    def __init__(self, voice: TextToSpeechServicer, studio: Studio) -> None:
        self._voice = voice
        self._voices = studio.voices
        self._maker = studio.maker
        self._engine = studio.info.name
        self._can_clone = studio.capabilities.can_clone
        self._gpu_name = studio.capabilities.gpu_name
        capabilities = studio.capabilities
        self._languages = {code: name for code, name in LANGUAGES.items() if find_language(capabilities, code)}

    @property
    def _speakers(self) -> dict[str, str]:
        """The ids of the voices by their names, the default one first."""
        return {known.display_name: known.id for known in self._voices.usable()}

    async def GetServiceHealth(self, request: legacy_pb2.GetServiceHealthRequest, context: Any) -> HttpBody:
        return await answer(context, "GetServiceHealth", self._health(context))

    async def GetLanguages(self, request: legacy_pb2.GetLanguagesRequest, context: Any) -> HttpBody:
        return await answer(context, "GetLanguages", self._list_languages())

    async def GetSpeakers(self, request: legacy_pb2.GetSpeakersRequest, context: Any) -> HttpBody:
        return await answer(context, "GetSpeakers", self._list_speakers())

    async def SynthesizeFile(self, request: legacy_pb2.SynthesizeFileRequest, context: Any) -> HttpBody:
        return await answer(context, "SynthesizeFile", self._synthesize(request.json, context))

    async def CloneVoice(self, request: legacy_pb2.CloneVoiceRequest, context: Any) -> HttpBody:
        return await answer(context, "CloneVoice", self._clone(request.form))

    async def _health(self, context: Any) -> HttpReply:
        health = await self._voice.GetHealth(tts_pb2.GetHealthRequest(), context)
        device: dict[str, Any] = {}
        if self._gpu_name:
            device = {"device": "cuda", "gpu_available": True, "gpu_name": self._gpu_name}
        speaker = next(iter(self._speakers))
        return health_reply(health, languages=list(self._languages), default_speaker=speaker, **device)

    async def _list_languages(self) -> HttpReply:
        return json_reply(
            {
                "languages": self._languages,
                "count": len(self._languages),
                "model": self._engine,
                "voice_cloning": self._can_clone,
            }
        )

    async def _list_speakers(self) -> HttpReply:
        speakers = list(self._speakers)
        return json_reply({"speakers": speakers, "count": len(speakers), "default": speakers[0]})

    async def _synthesize(self, body: HttpBody, context: Any) -> HttpReply:
        asked = await json_of(_Text, body)
        self._check_language(asked.language)
        if asked.speaker_wav is not None:
            raise HttpError(
                400,
                "speaker_wav names a file of the server, and none is read here; "
                f"choose a speaker instead: {', '.join(self._speakers)}",
            )
        config = tts_pb2.SynthesisConfig(
            voice=self._voice_of(asked.speaker),
            language_code=asked.language,
            audio_format=media_pb2.AudioFormat(sample_rate_hertz=SAMPLE_RATE_HZ),
        )
        spoken = await self._voice.Synthesize(tts_pb2.SynthesizeRequest(text=asked.text, config=config), context)
        return _file(spoken, "speech.wav")

    async def _clone(self, body: HttpBody) -> HttpReply:
        form = await form_of(_CloneForm, body)
        self._check_language(form.language)
        if not self._can_clone:
            raise HttpError(
                501,
                f"the engine {self._engine} cannot clone a voice; "
                f"/synthesize speaks with one of these speakers: {', '.join(self._speakers)}",
            )
        style = await self._voices.style("", form.language, 0)
        style = replace(style, voice="", conditioning=await self._maker.condition(form.speaker_audio.content))
        return _file(await self._voice.speak_whole(form.text, style, SAMPLE_RATE_HZ), "cloned_speech.wav")

    def _check_language(self, code: str) -> None:
        if code not in self._languages:
            raise HttpError(400, f"Language {code[:40]!r} not supported. Supported: {', '.join(self._languages)}")

    def _voice_of(self, speaker: str | None) -> str:
        """The resource name of a speaker, who may be called by name or by id."""
        if not speaker:
            return ""
        speakers = self._speakers
        voice = speakers.get(speaker, speaker)
        if voice not in speakers.values():
            raise HttpError(404, f"there is no speaker {speaker[:80]!r}; there are {', '.join(speakers)}")
        return voice_name(voice)


def _file(spoken: tts_pb2.SynthesizeResponse, name: str) -> HttpReply:
    return HttpReply(spoken.audio, "audio/wav", headers=(("content-disposition", f"attachment; filename={name}"),))
