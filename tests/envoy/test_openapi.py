"""Every public port tells its HTTP API at /openapi.json, and the real services answer as it says."""

from __future__ import annotations

import pytest

from tests.envoy.conftest import Behind
from tests.stack import ROOT

LISTENERS = ("render", "tts", "stt", "stt_second", "page", "legacy")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("listener", LISTENERS)
async def test_a_port_serves_its_document_as_json(behind: Behind, listener: str) -> None:
    async with behind.http.get(behind.url(listener, "/openapi.json")) as response:
        assert (response.status, response.content_type) == (200, "application/json")
        assert await response.read() == (ROOT / f"envoy/openapi/{listener}.json").read_bytes()
    async with behind.http.post(behind.url(listener, "/openapi.json")) as response:
        assert response.status >= 400
