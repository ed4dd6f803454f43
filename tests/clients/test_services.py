"""Every real service over JSON, on its own port and on the page's."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.clients.conftest import run
from tests.stack import Stack, running_stack

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with running_stack() as running:
        yield running


async def curl(stack: Stack, listener: str, path: str, *arguments: str, stdin: str = "") -> str:
    port = getattr(stack.ports, listener)
    base = stack.edge.page_url if listener == "page" else f"http://localhost:{port}"
    trust = ("--cacert", str(stack.edge.certificate))
    status, out, err = await run(
        "curl", "--silent", "--fail-with-body", *trust, *arguments, f"{base}{path}", stdin=stdin.encode()
    )
    assert status == 0, out + err
    return out


@pytest.mark.parametrize("service", ["render", "tts", "stt"])
async def test_a_service_tells_its_health_and_engine_on_its_own_port(stack: Stack, service: str) -> None:
    health = json.loads(await curl(stack, service, "/health"))
    assert health["status"] == "healthy"
    assert health["engine"]["name"]
    assert health["engine"]["reason"]


@pytest.mark.parametrize("listener", ["render", "page"])
async def test_a_face_is_listed_and_drawn_as_a_jpeg(stack: Stack, listener: str) -> None:
    avatars = json.loads(await curl(stack, listener, "/v1/avatars"))["avatars"]
    assert avatars[0]["name"] == "avatars/default"
    shown = await curl(
        stack, listener, "/v1/avatars/default:renderStill", "--output", "/dev/null", "--write-out", "%{content_type}"
    )
    assert shown == "image/jpeg"


@pytest.mark.parametrize(("speaks", "hears"), [("tts", "stt"), ("page", "page")])
async def test_what_one_service_says_another_hears(stack: Stack, speaks: str, hears: str) -> None:
    request = json.dumps({"text": "one two three four five"})
    spoken = json.loads(await curl(stack, speaks, "/v1/speech:synthesize", "--json", request))
    assert base64.b64decode(spoken["audio"]).startswith(b"RIFF")
    recording = json.dumps({"audio": spoken["audio"]})
    heard = await curl(stack, hears, "/v1/speech:recognize", "--json", "@-", stdin=recording)
    assert json.loads(heard)["transcript"]
