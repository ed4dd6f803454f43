"""The real services answer as the documents say that they serve: every operation of every port is called."""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import jsonschema
import pytest
import pytest_asyncio

from services.common.audio import wav_of
from tests.conversing import Conversing, conversing
from tests.stack import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]
Json = dict[str, Any]
LISTENERS = ("render", "tts", "stt", "stt_second", "page", "legacy")
PORTRAIT = (ROOT / "services/render/portraits/default.jpg").read_bytes()
SILENCE = wav_of(bytes(32_000), 16_000)


@dataclass(frozen=True)
class Call:
    """How an operation is called. Args: lines: of a stream to read; None reads all."""

    variables: Json = field(default_factory=dict)
    query: Json = field(default_factory=dict)
    json: Json | None = None
    form: Json | None = None
    status: int = 200
    lines: int | None = None


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


AVATAR = {"portrait": encoded(PORTRAIT), "consent": "drawn for this project", "display_name": "Me"}
VOICE = {"recording": encoded(SILENCE), "consent": {"given": True, "statement": "nobody's"}, "display_name": "Me"}
ME = {"avatar": "me"}
# In this order where one needs the other.
CALLS = {
    "RenderService_RenderStill": Call({"avatar": "default"}, {"expression.kind": "EXPRESSION_KIND_SAD", "size": "64"}),
    "AvatarService_CreateAvatar": Call(query={"avatar_id": "me"}, json=AVATAR),
    "AvatarService_GetAvatar": Call(ME),
    "AvatarService_ListAvatars": Call(),
    "AvatarService_DeleteAvatar": Call(ME),
    "TextToSpeechService_Synthesize": Call(json={"text": "Hello world."}),
    "TextToSpeechService_SynthesizeStream": Call(json={"text": "Hello world.", "config": {"speaking_rate": 2}}),
    "TextToSpeechService_ListVoices": Call(query={"language_code": "de"}),
    "TextToSpeechService_GetVoice": Call({"voice": "anna"}),
    # What the engine of this product cannot do; tests/envoy/test_voices.py has one that can.
    "TextToSpeechService_CreateVoice": Call(json=VOICE, status=501),
    "TextToSpeechService_RemakeVoice": Call({"voice": "anna"}, json={}, status=400),
    "TextToSpeechService_DeleteVoice": Call({"voice": "anna"}, status=400),
    "SpeechToTextService_Recognize": Call(json={"audio": encoded(SILENCE)}),
    "ConversationService_ListConversations": Call(),
    "ConversationService_GetConversation": Call({"conversation": ""}),
    "ConversationService_Say": Call({"conversation": ""}, json={"text": "Good morning", "utterance_id": "u1"}),
    "ConversationService_WatchConversation": Call({"conversation": ""}, lines=3),
    "ConversationService_Interrupt": Call({"conversation": ""}, json={}),
    "ConversationService_GetHealth": Call(),
    "LegacyRenderService_GetServiceHealth": Call(),
    "LegacyRenderService_GetExpressions": Call(),
    "LegacyRenderService_RenderPortrait": Call(form={"source_image": PORTRAIT, "expression": "happy"}),
    "LegacyRenderService_RenderVideo": Call(form={"character_image": PORTRAIT}, status=501),
    "LegacyTextToSpeechService_GetServiceHealth": Call(),
    "LegacyTextToSpeechService_GetLanguages": Call(),
    "LegacyTextToSpeechService_GetSpeakers": Call(),
    "LegacyTextToSpeechService_SynthesizeFile": Call(json={"text": "Hello", "speaker": None, "unknown": 1}),
    "LegacyTextToSpeechService_CloneVoice": Call(form={"text": "Hello", "speaker_audio": SILENCE}, status=501),
    "LegacySpeechToTextService_GetServiceHealth": Call(),
    "LegacySpeechToTextService_GetLanguages": Call(),
    "LegacySpeechToTextService_Transcribe": Call(form={"file": SILENCE, "return_timestamps": "true"}),
}


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Path, verb and operation, in the order of CALLS."""
    found = [(path, verb, one) for path, verbs in document["paths"].items() for verb, one in verbs.items()]
    return iter(sorted(found, key=lambda one: list(CALLS).index(one[2]["operationId"])))


def closed(part: Any) -> Any:
    """A schema that also fails for members that it does not name."""
    if isinstance(part, dict):
        own = {key: closed(value) for key, value in part.items()}
        return {"additionalProperties": False} | own if "properties" in own and own.get("type") == "object" else own
    return [closed(one) for one in part] if isinstance(part, list) else part


@dataclass(frozen=True)
class Served:
    """A document as its port serves it, and a client of that port."""

    base: str
    document: Json
    http: aiohttp.ClientSession
    conversation: str

    async def call(self, path: str, verb: str, call: Call) -> tuple[int, str, bytes]:
        """Returns: status, content type and body."""
        for name, value in call.variables.items():
            path = path.replace(f"{{{name}}}", value or self.conversation)
        form = None
        if call.form is not None:
            form = aiohttp.FormData()
            for name, value in call.form.items():
                # An empty form is a form too.
                form.add_field(name, value, filename="x" if isinstance(value, bytes) else None)
        async with self.http.request(
            verb, f"{self.base}{path}", params=call.query, json=call.json, data=form
        ) as response:
            if call.lines is not None:
                body = b"".join([await response.content.readline() for _ in range(call.lines)])
            else:
                body = await response.read()
            return response.status, response.content_type, body

    def check(self, operation: Json, status: int, kind: str, body: bytes) -> None:
        """Raises: AssertionError or ValidationError if the answer is not as the document says."""
        said = operation["responses"].get(str(status)) or operation["responses"]["default"]
        assert status < 400 or said is not operation["responses"].get("200")
        assert list(said["content"]) == [kind], f"{status} {body[:300]!r}"
        schema = said["content"][kind]["schema"]
        if schema.get("format") == "binary":
            assert body
            return
        lines = body.splitlines() if said.get("x-newline-delimited") else [body]
        assert lines
        validator = jsonschema.Draft202012Validator(
            closed(schema | {"components": copy.deepcopy(self.document["components"])}),
            format_checker=jsonschema.FormatChecker(),
        )
        for line in lines:
            validator.validate(json.loads(line))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def product(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Conversing]:
    async with conversing(tmp_path_factory.mktemp("product")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=LISTENERS)
async def served(request: pytest.FixtureRequest, product: Conversing) -> AsyncIterator[Served]:
    edge = product.stack.edge
    port = getattr(edge.ports, request.param)
    base = edge.page_url if request.param == "page" else f"http://localhost:{port}"
    connector = aiohttp.TCPConnector(ssl=edge.trust())
    async with aiohttp.ClientSession(connector=connector) as http:
        async with http.get(f"{base}/openapi.json") as response:
            document = await response.json()
        yield Served(base, document, http, product.person.conversation.removeprefix("conversations/"))


async def test_every_operation_answers_as_its_document_says(served: Served) -> None:
    for path, verb, operation in operations(served.document):
        call = CALLS[operation["operationId"]]
        status, kind, body = await served.call(path, verb, call)
        assert status == call.status, f"{operation['operationId']}: {body[:500]!r}"
        served.check(operation, status, kind, body)


def without(body: Json, name: str) -> Json:
    return {key: value for key, value in body.items() if key != name}


async def test_a_field_that_is_required_is_missed_and_one_that_is_not_is_not(served: Served) -> None:
    for path, verb, operation in operations(served.document):
        call = CALLS[operation["operationId"]]
        body = call.form if call.form is not None else call.json
        if not body:
            continue
        for name in body:
            shorter = without(body, name)
            changed = Call(call.variables, call.query, None if call.form else shorter, shorter if call.form else None)
            status, kind, answer = await served.call(path, verb, changed)
            served.check(operation, status, kind, answer)
            is_needed = name in required(served.document, operation)
            assert (status in (400, 422)) == is_needed, (
                f"{operation['operationId']} without {name}: {status} {answer!r}"
            )
            if operation["operationId"] == "AvatarService_CreateAvatar" and status == 200:
                await served.call("/v1/avatars/me", "delete", Call())


def required(document: Json, operation: Json) -> list[str]:
    (content,) = operation["requestBody"]["content"].values()
    schema = content["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    found: list[str] = schema.get("required", [])
    return found


async def test_what_does_not_exist_is_refused_in_the_shape_of_the_document(served: Served) -> None:
    seen = 0
    for path, verb, operation in operations(served.document):
        variables = re.findall(r"\{(\w+)\}", path)
        if not variables:
            continue
        call = CALLS[operation["operationId"]]
        changed = Call(dict.fromkeys(variables, "nobody"), call.query, call.json)
        status, kind, body = await served.call(path, verb, changed)
        assert status == 404, body
        served.check(operation, status, kind, body)
        seen += 1
    assert seen or not any("{" in path for path in served.document["paths"])


async def test_an_answer_that_is_not_as_the_document_says_is_noticed(served: Served) -> None:
    operation = served.document["paths"]["/health"]["get"]
    status, kind, body = await served.call("/health", "get", Call())
    served.check(operation, status, kind, body)
    health = json.loads(body)
    for spoilt in (health | {"new": 1}, without(health, "status"), health | {"status": 1}):
        with pytest.raises(jsonschema.ValidationError):
            served.check(operation, status, kind, json.dumps(spoilt).encode())
    with pytest.raises(AssertionError):
        served.check(operation, status, "text/plain", body)
