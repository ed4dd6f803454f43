"""Voices over plain HTTP, as curl and the page make, use and forget them: Envoy, and the service behind it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from services.common.audio import samples_of_pcm16
from tests.fakes.recordings import speech_like, wav
from tests.fakes.speaking_engine import SpeakingEngine, pitch_of
from tests.legacy_calls import FORM, form
from tests.services.tts.serving import served
from tests.stack import Edge, running_envoy

pytestmark = pytest.mark.asyncio(loop_scope="module")
CONSENT = {"given": True, "statement": "It is mine"}


@dataclass(frozen=True)
class Caller:
    """An HTTP client of the voice's port, and of the page's."""

    edge: Edge
    http: aiohttp.ClientSession

    async def ask(self, method: str, path: str, listener: str = "tts", **options: Any) -> tuple[int, Any]:
        scheme = "https" if listener == "page" else "http"
        url = f"{scheme}://localhost:{getattr(self.edge.ports, listener)}{path}"
        async with self.http.request(method, url, **options) as response:
            is_json = response.content_type == "application/json"
            return response.status, await (response.json() if is_json else response.read())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def caller() -> AsyncIterator[Caller]:
    async with served(SpeakingEngine(clones_as="fake-1")) as port, running_envoy({"tts": [port]}) as edge:
        connector = aiohttp.TCPConnector(ssl=edge.trust())
        async with aiohttp.ClientSession(connector=connector) as http:
            yield Caller(edge, http)


def wish(recording: bytes, **members: Any) -> dict[str, Any]:
    return {"recording": base64.b64encode(recording).decode(), "consent": CONSENT, **members}


def pitch(file: bytes) -> float:
    """Of a second of a WAV file at 24 kHz."""
    return pitch_of(samples_of_pcm16(file[44:])[:24_000], 24_000)


@pytest.mark.parametrize("listener", ["tts", "page"])
async def test_a_voice_is_made_heard_and_forgotten_over_json(caller: Caller, listener: str) -> None:
    voice = wish(wav(speech_like(8, pitch_hz=200)), display_name="Zoë")
    assert (await caller.ask("GET", "/health", "tts"))[1]["can_clone_voices"] is True
    status, seen = await caller.ask("POST", "/v1/voices?voice_id=zoe&validate_only=true", listener, json=voice)
    assert (status, seen["recording_quality"]["duration"]) == (200, "8s")
    assert (await caller.ask("GET", "/v1/voices/zoe", listener))[0] == 404
    status, made = await caller.ask("POST", "/v1/voices?voice_id=zoe", listener, json=voice)
    assert (status, made["name"], made["kind"]) == (200, "voices/zoe", "KIND_CLONED")
    status, listed = await caller.ask("GET", "/v1/voices?page_size=2", listener)
    assert [one["name"] for one in listed["voices"]] == ["voices/beep", "voices/another"]
    status, listed = await caller.ask("GET", f"/v1/voices?page_token={listed['next_page_token']}", listener)
    assert [one["display_name"] for one in listed["voices"]] == ["Zoë"]
    config = {"voice": "voices/zoe", "audio_format": {"sample_rate_hertz": 24_000}}
    text = {"text": "beeeeeeeeeeeep", "config": config}
    status, spoken = await caller.ask("POST", "/v1/speech:synthesize", listener, json=text)
    assert pitch(base64.b64decode(spoken["audio"])) == pytest.approx(200, abs=2)
    assert await caller.ask("DELETE", "/v1/voices/zoe", listener) == (200, {})
    assert (await caller.ask("POST", "/v1/speech:synthesize", listener, json=text))[0] == 404


async def test_a_recording_that_is_no_good_is_refused_in_a_sentence(caller: Caller) -> None:
    for voice, said in [
        (wish(b"GIF89a"), "this is not a recording in a known format"),
        (wish(wav(speech_like(8)), consent={"statement": "me"}), "consent.given is true"),
        (wish(wav(speech_like(1))), "3 to 30 s of speech, not of 1.0 s"),
    ]:
        status, refused = await caller.ask("POST", "/v1/voices", json=voice)
        assert status == 400
        assert said in refused["message"]
    assert (await caller.ask("POST", "/v1/voices?voice_id=..%2Fzoe", json=wish(wav(speech_like(8)))))[0] == 400
    assert (await caller.ask("POST", "/v1/voices/zoe:remake", json={}))[0] == 404
    assert (await caller.ask("DELETE", "/v1/voices/beep"))[0] == 400


async def test_the_older_route_speaks_in_the_voice_of_a_recording(caller: Caller) -> None:
    for pitch_hz in (130, 310):
        body = form({"text": "beeeeeeeeeeeep"}, {"speaker_audio": wav(speech_like(7, pitch_hz=pitch_hz))})
        headers = {"content-type": FORM}
        status, file = await caller.ask("POST", "/synthesize-with-voice-clone", data=body, headers=headers)
        assert status == 200
        assert pitch(file) == pytest.approx(pitch_hz, abs=2)
    assert (await caller.ask("GET", "/languages"))[1]["voice_cloning"] is True
