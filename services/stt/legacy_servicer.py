"""The older stack's routes on ports 8083 and 8084: a recording in, its text out, in two dialects.

Port 8083 was Whisper's and reads its options from the form. Port 8084 was Canary's, whose options stood in the address;
its clients were told to put them into the form, so both are read there.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from avatar.stt.v1 import legacy_pb2, legacy_pb2_grpc, stt_pb2
from google.api.httpbody_pb2 import HttpBody
from pydantic import AliasChoices, BaseModel, Field

from services.common.errors import UnsupportedError
from services.common.legacy_http import (
    FormFile,
    HttpError,
    HttpReply,
    answer,
    form_of,
    health_reply,
    json_reply,
    listener_of,
)
from services.common.timing import seconds_of
from services.stt.engine import Capabilities
from services.stt.legacy_languages import CANARY, WHISPER, WHISPER_COMMON
from services.stt.servicer import SpeechToTextServicer

# Envoy's name of port 8084.
CANARY_LISTENER = "stt_second"
_FEATURES = ["transcription", "timestamps", "long recordings", "voice activity detection"]
TASKS = ("transcribe", "translate")


class _WhisperForm(BaseModel):
    file: FormFile = Field(validation_alias=AliasChoices("file", "audio"))
    language: str | None = None
    task: str = "transcribe"
    return_timestamps: bool = False


class _CanaryForm(BaseModel):
    file: FormFile = Field(validation_alias=AliasChoices("file", "audio"))
    language: str | None = None
    task: str = "transcribe"
    target_language: str = "en"


class LegacySpeechToTextServicer(legacy_pb2_grpc.LegacySpeechToTextServiceServicer):
    """Hears by the service that everyone else calls."""

    def __init__(self, recogniser: SpeechToTextServicer, engine: str, capabilities: Capabilities) -> None:
        """Args: engine: its name; capabilities: what it can do."""
        self._recogniser = recogniser
        self._engine = engine
        self._capabilities = capabilities
        self._whisper = [code for code in capabilities.languages if code in WHISPER]
        self._canary = [code for code in capabilities.languages if code in CANARY]
        self._features = [*_FEATURES]
        if capabilities.detects_languages and capabilities.names_languages:
            self._features.append("language detection")
        if capabilities.translations:
            self._features.append("translation")

    async def GetServiceHealth(self, request: legacy_pb2.GetServiceHealthRequest, context: Any) -> HttpBody:
        return await answer(context, "GetServiceHealth", self._health(context))

    async def GetLanguages(self, request: legacy_pb2.GetLanguagesRequest, context: Any) -> HttpBody:
        return await answer(context, "GetLanguages", self._list_languages(context))

    async def Transcribe(self, request: legacy_pb2.TranscribeRequest, context: Any) -> HttpBody:
        is_canary = listener_of(context) == CANARY_LISTENER
        work = self._by_canary(request, context) if is_canary else self._by_whisper(request, context)
        return await answer(context, "Transcribe", work)

    async def _health(self, context: Any) -> HttpReply:
        health = await self._recogniser.GetHealth(stt_pb2.GetHealthRequest(), context)
        languages = self._canary if listener_of(context) == CANARY_LISTENER else self._whisper
        return health_reply(health, model=self._engine, languages=languages, features=self._features)

    async def _list_languages(self, context: Any) -> HttpReply:
        if listener_of(context) == CANARY_LISTENER:
            pairs = [f"{spoken}-{written}" for spoken, written in sorted(self._capabilities.translations)]
            return json_reply({"languages": self._canary, "count": len(self._canary), "translation_pairs": pairs})
        common = [code for code in WHISPER_COMMON if code in self._whisper]
        left_out = "and it finds out" if self._capabilities.detects_languages else "for its default"
        # A short list is told whole.
        is_short = len(self._whisper) <= 2 * len(WHISPER_COMMON)
        return json_reply(
            {
                "total": len(self._whisper),
                "common": self._whisper if is_short else common,
                "note": f"The engine {self._engine} hears these languages; leave language out {left_out}.",
            }
        )

    async def _by_whisper(self, request: legacy_pb2.TranscribeRequest, context: Any) -> HttpReply:
        form = await form_of(_WhisperForm, request.form)
        translate_to = self._translation(form.task, "en", self._whisper)
        names = {name: code for code, name in WHISPER.items()}
        language = None if form.language is None else form.language.strip().lower()
        code = self._checked(names.get(language, language) if language else None, form.language, self._whisper)
        heard = await self._heard(form.file.content, code, translate_to, context)
        chunks = None
        if form.return_timestamps:
            chunks = [
                {"timestamp": [seconds_of(part.start_offset), seconds_of(part.end_offset)], "text": part.transcript}
                for part in heard.results
            ]
        return json_reply(
            {"text": heard.transcript, "language": form.language or _language_of(heard, code), "chunks": chunks}
        )

    async def _by_canary(self, request: legacy_pb2.TranscribeRequest, context: Any) -> HttpReply:
        form = await form_of(_CanaryForm, request.form)
        asked = request.language or form.language
        target = (request.target_language or form.target_language).strip().lower()
        translate_to = self._translation(request.task or form.task, target, self._canary)
        code = self._checked(asked, asked, self._canary)
        heard = await self._heard(form.file.content, code, translate_to, context)
        # The older Canary always told one: what it was asked for, or its first.
        return json_reply(
            {"text": heard.transcript, "language": _language_of(heard, code) or self._capabilities.languages[0]}
        )

    def _translation(self, task: str, target: str, languages: list[str]) -> str:
        """The language to write in; empty for the words that are spoken. Raises: HttpError, UnsupportedError."""
        if task not in TASKS:
            raise HttpError(400, f"there is no task {task[:40]!r}; there are {', '.join(TASKS)}")
        if task == "transcribe":
            return ""
        if not self._capabilities.translations:
            raise UnsupportedError(
                f"the engine {self._engine} does not translate; use the task transcribe, for {', '.join(languages)}"
            )
        targets = sorted({written for _, written in self._capabilities.translations})
        if target not in targets:
            raise HttpError(400, f"{self._engine} does not translate to {target[:40]!r}, but to: {', '.join(targets)}")
        return target

    def _checked(self, code: str | None, asked: str | None, languages: list[str]) -> str:
        """The language to hear; empty if none was asked for. Raises: HttpError for one that is not heard."""
        if code is None:
            return ""
        if code not in languages:
            known = ", ".join(f"{code} ({WHISPER[code]})" if code in WHISPER else code for code in languages)
            raise HttpError(400, f"Language {(asked or '')[:40]!r} not supported by {self._engine}. Supported: {known}")
        return code

    async def _heard(self, recording: bytes, code: str, translate_to: str, context: Any) -> stt_pb2.RecognizeResponse:
        config = stt_pb2.RecognitionConfig(language_code=code, translation_language_code=translate_to)
        if not (code or self._capabilities.detects_languages):
            config.language_code = self._capabilities.languages[0]
        return await self._recogniser.Recognize(stt_pb2.RecognizeRequest(config=config, audio=recording), context)


def _language_of(heard: stt_pb2.RecognizeResponse, asked: str) -> str | None:
    """The language that was asked for, else the one that most of the words are in; None where nothing was heard, or
    the engine does not name it."""
    if asked:
        return asked
    words: Counter[str] = Counter()
    for result in heard.results:
        words[result.language_code] += len(result.transcript)
    return words.most_common(1)[0][0] or None if words else None
