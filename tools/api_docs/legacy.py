"""The bodies of the older stack's routes, which travel as google.api.HttpBody and so are no messages of the contract.

A test holds this table against the running services: it leaves out each field and reads each answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.api_docs.contract import Contract
from tools.api_docs.json_schema import Json, Schemas

FORM, JSON = "multipart/form-data", "application/json"
# A file in a form has no type in JSON Schema; its content type says what it is.
_FILE: Json = {"type": "string", "format": "binary"}
_TEXT: Json = {"type": "string"}
_TEXTS: Json = {"type": "array", "items": _TEXT}
_NULLABLE: Json = {"type": ["string", "null"]}
_COUNT: Json = {"type": "integer"}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a body. Args: default: told to readers where there is one."""

    schema: Json
    meaning: str
    is_required: bool = False
    default: str | float | bool | None = None

    @property
    def is_file(self) -> bool:
        return self.schema is _FILE


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the older stack.

    Args:
        body: its media type; empty for none.
        fields: of the body.
        answer: the media type of a success, and its schema.
        is_health: whether our own health's fields stand in the answer too.
        refusals: what each error status means here.
        never_succeeds: whether it only ever refuses.
    """

    answer: tuple[str, Json]
    body: str = ""
    fields: Mapping[str, Field] = field(default_factory=dict)
    is_health: bool = False
    refusals: Mapping[int, str] = field(default_factory=dict)
    never_succeeds: bool = False


def _object(**properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _health(**more: Json) -> Route:
    device = {"device": _TEXT, "gpu_available": {"type": "boolean"}, "gpu_name": _NULLABLE}
    return Route((JSON, _object(model_loaded={"type": "boolean"}, **device, **more)), is_health=True)


_LANGUAGE = Field(_TEXT, "A code of /languages.", default="en")
_MISSING = "A field is missing or is no value of its type; `detail` lists each."
_RECORDING = "A recording of 3 hours at most, as WAV, FLAC, MP3, OGG, WebM or M4A."
_TRANSCRIBE_REFUSALS = {
    400: "The recording cannot be read, or there is no such language or task; `detail` names those that there are.",
    413: "The form is too large.",
    422: _MISSING,
    501: "The engine does not translate.",
}
_CHUNK = _object(timestamp={"type": "array", "items": {"type": ["number", "null"]}}, text=_TEXT)
_CHUNKS: Json = {"type": ["array", "null"], "items": _CHUNK}
_HEARING = {
    "file": Field(_FILE, _RECORDING, is_required=True),
    "language": Field(_TEXT, "A code of /languages; without it the engine finds it out where it can, else its first."),
    "task": Field(_TEXT, "What to do.", default="transcribe"),
}
ROUTES = {
    "LegacyRenderService.GetServiceHealth": _health(),
    "LegacyRenderService.GetExpressions": Route(
        (JSON, _object(expressions=_TEXTS, description={"type": "object", "additionalProperties": _TEXT}))
    ),
    "LegacyRenderService.RenderPortrait": Route(
        ("image/jpeg", _FILE),
        FORM,
        {
            "source_image": Field(_FILE, "A portrait, as of Avatar.portrait.", is_required=True),
            "expression": Field(_TEXT, "One of /expressions.", default="neutral"),
            "intensity": Field({"type": "number"}, "0 is none of it, 2 and more twice as much as usual.", default=1.0),
        },
        refusals={400: "There is no such expression, or no face can be seen.", 413: "Too large.", 422: _MISSING},
    ),
    "LegacyRenderService.RenderVideo": Route(
        (JSON, {}),
        FORM,
        {
            "character_image": Field(_FILE, "A portrait.", is_required=True),
            "audio": Field(_FILE, "A recording."),
        },
        refusals={422: _MISSING, 501: "Always; `detail` says what makes videos."},
        never_succeeds=True,
    ),
    "LegacyTextToSpeechService.GetServiceHealth": _health(languages=_TEXTS, default_speaker=_TEXT),
    "LegacyTextToSpeechService.GetLanguages": Route(
        (
            JSON,
            _object(
                languages={"type": "object", "additionalProperties": _TEXT},
                count=_COUNT,
                model=_TEXT,
                voice_cloning={"type": "boolean"},
            ),
        )
    ),
    "LegacyTextToSpeechService.GetSpeakers": Route((JSON, _object(speakers=_TEXTS, count=_COUNT, default=_TEXT))),
    "LegacyTextToSpeechService.SynthesizeFile": Route(
        ("audio/wav", _FILE),
        JSON,
        {
            "text": Field(_TEXT, "What to say, 1 to 20,000 characters.", is_required=True),
            "language": _LANGUAGE,
            "speaker": Field(_NULLABLE, "A name of /speakers; without it the default."),
            "speaker_wav": Field(_NULLABLE, "Refused: no file of the server is read."),
        },
        refusals={
            400: "No text, or there is no such language; `detail` names those that there are.",
            404: "There is no such speaker.",
            413: "Too large.",
            422: "The body is no JSON, is not labelled as JSON, or a member is missing or wrong; `detail` lists each.",
        },
    ),
    "LegacyTextToSpeechService.CloneVoice": Route(
        ("audio/wav", _FILE),
        FORM,
        {
            "text": Field(_TEXT, "What to say.", is_required=True),
            "language": _LANGUAGE,
            "speaker_audio": Field(
                _FILE, "A recording of the voice, as of Voice.recording; nothing of it is kept.", is_required=True
            ),
        },
        refusals={
            400: "There is no such language, or no voice can be made of the recording; `detail` says why.",
            413: "Too large.",
            422: _MISSING,
            429: "4 recordings wait already, or all streams are taken.",
            501: "The engine cannot clone a voice.",
        },
    ),
    "LegacySpeechToTextService.GetServiceHealth": _health(model=_TEXT, languages=_TEXTS, features=_TEXTS),
    "LegacySpeechToTextService.GetLanguages": Route((JSON, _object(total=_COUNT, common=_TEXTS, note=_TEXT))),
    "LegacySpeechToTextService.Transcribe": Route(
        (JSON, _object(text=_TEXT, language=_NULLABLE, chunks=_CHUNKS)),
        FORM,
        _HEARING | {"return_timestamps": Field({"type": "boolean"}, "Whether chunks are told.", default=False)},
        refusals=_TRANSCRIBE_REFUSALS,
    ),
}
# The dialect of port 8084, whose options may stand in the address too.
SECOND_STT_ROUTES = {
    "LegacySpeechToTextService.GetLanguages": Route(
        (JSON, _object(languages=_TEXTS, count=_COUNT, translation_pairs=_TEXTS))
    ),
    "LegacySpeechToTextService.Transcribe": Route(
        (JSON, _object(text=_TEXT, language=_TEXT)),
        FORM,
        _HEARING | {"target_language": Field(_TEXT, "For the task translate.", default="en")},
        refusals=_TRANSCRIBE_REFUSALS,
    ),
}
# What FastAPI answered and its clients read.
_PROBLEM = _object(
    type=_TEXT,
    loc={"type": "array", "items": {"type": ["string", "integer"]}},
    msg=_TEXT,
    input={"description": "What was sent, where it is short and plain."},
)
DETAIL = "Detail"
_DETAIL_SCHEMA = _object(detail={"oneOf": [_TEXT, {"type": "array", "items": _PROBLEM}]}) | {
    "description": "An error of the older stack's routes: a sentence, or with 422 what is wrong with each field."
}


def route_of(method: Any, listener: str = "") -> Route | None:
    """The route of a method; None for methods of the contract's own messages. Args: listener: Envoy's name of it."""
    name = f"{method.containing_service.name}.{method.name}"
    if listener == "stt_second" and name in SECOND_STT_ROUTES:
        return SECOND_STT_ROUTES[name]
    return ROUTES.get(name)


def body_schema(route: Route) -> Json:
    """What a caller sends."""
    properties = {
        name: one.schema | {"description": one.meaning} | ({} if one.default is None else {"default": one.default})
        for name, one in route.fields.items()
    }
    required = [name for name, one in route.fields.items() if one.is_required]
    return {"type": "object", "required": required, "properties": properties}


def responses(contract: Contract, schemas: Schemas, method: Any, route: Route) -> Json:
    """Every answer, by status."""
    kind, schema = route.answer
    if route.is_health:
        own = schemas.fields_of(_own_health(contract, method))
        schema = _object(**own["properties"] | schema["properties"])
        schema["required"] = [
            name for name in schema["properties"] if name in own["required"] or name not in own["properties"]
        ]
    schemas.components[DETAIL] = _DETAIL_SCHEMA
    detail = {"application/json": {"schema": {"$ref": f"#/components/schemas/{DETAIL}"}}}
    made: Json = (
        {} if route.never_succeeds else {"200": {"description": "Done.", "content": {kind: {"schema": schema}}}}
    )
    for status, meaning in sorted(route.refusals.items()):
        made[str(status)] = {"description": meaning, "content": detail}
    said = "429 with Retry-After when nothing is free, 503 until the service is ready, 500 when the engine failed."
    return made | {"default": {"description": said, "content": detail}}


def _own_health(contract: Contract, method: Any) -> Any:
    package = method.containing_service.file.package
    return next(
        file.message_types_by_name["GetHealthResponse"]
        for file in contract.files[package]
        if "GetHealthResponse" in file.message_types_by_name
    )
