"""What Envoy answers by itself is said in a sentence, in the form of the port and of the call."""

from __future__ import annotations

import urllib.parse
from typing import Any

import pytest
import yarl

from tests.envoy.conftest import Behind

pytestmark = pytest.mark.asyncio(loop_scope="module")
ESCAPED = "the path holds an escaped slash, backslash or zero (%2F, %5C, %00)"
DEADLINE = "grpc-timeout is a number of 1 to 8 digits and its unit, H, M, S, m, u or n, such as 500m"


async def asked(behind: Behind, listener: str, path: str, **headers: str) -> tuple[int, Any]:
    url = yarl.URL(behind.url(listener, path), encoded=True)
    async with behind.http.get(url, headers=headers) as response:
        return response.status, await response.json()


@pytest.mark.parametrize("path", ["/%2f", "/%2F", "/%5c", "/%00", "/a%2Fb?c=d"])
async def test_a_path_that_hides_a_slash_is_refused_in_words(behind: Behind, path: str) -> None:
    assert await asked(behind, "tts", path) == (400, {"detail": ESCAPED})
    ours = {"code": 3, "message": ESCAPED, "details": []}
    assert await asked(behind, "tts", f"/v1{path}") == (400, ours)
    assert await asked(behind, "page", path) == (400, ours)


async def test_what_is_escaped_in_a_query_is_read(behind: Behind) -> None:
    status, body = await asked(behind, "tts", "/v1/voices?language_code=a%2Fb%5C")
    assert (status, body["voices"][0]["language_codes"]) == (200, ["a/b\\"])


@pytest.mark.parametrize("deadline", ["soon", "1", "-1S", "123456789S", "1s", "1S, 1S", ""])
async def test_a_deadline_that_is_none_is_refused_in_words(behind: Behind, deadline: str) -> None:
    headers = {"grpc-timeout": deadline}
    assert await asked(behind, "tts", "/health", **headers) == (400, {"detail": DEADLINE})
    assert await asked(behind, "tts", "/v1/voices", **headers) == (400, {"code": 3, "message": DEADLINE, "details": []})
    # As gRPC asks, which Envoy takes by HTTP/1.1 too.
    url = behind.url("tts", "/avatar.tts.v1.TextToSpeechService/ListVoices")
    async with behind.http.post(url, headers=headers | {"content-type": "application/grpc"}) as response:
        assert (response.status, response.headers["grpc-status"]) == (200, "3")
        assert urllib.parse.unquote(response.headers["grpc-message"]) == DEADLINE


@pytest.mark.parametrize("deadline", ["5S", "50000m", "99999999u", "1H"])
async def test_a_deadline_is_taken(behind: Behind, deadline: str) -> None:
    assert (await asked(behind, "tts", "/v1/voices", **{"grpc-timeout": deadline}))[0] == 200


@pytest.mark.parametrize("listener", ["render", "tts", "stt", "stt_second", "page", "legacy"])
async def test_head_of_a_document_is_its_head(behind: Behind, listener: str) -> None:
    url = behind.url(listener, "/openapi.json")
    async with behind.http.get(url) as whole, behind.http.head(url) as head:
        assert (head.status, head.content_type, await head.read()) == (200, "application/json", b"")
        assert head.headers["content-length"] == str(len(await whole.read()))
