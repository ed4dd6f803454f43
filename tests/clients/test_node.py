"""A Node client over @grpc/grpc-js, from the .proto files alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.conftest import GOOGLE_PROTOS, Voice, run
from tests.stack import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]
WAYS = pytest.mark.parametrize("way", ["direct", "envoy"])


async def synthesize(port: int, voice: str = "") -> list[dict[str, Any]]:
    client = ROOT / "tests/clients/streaming_synthesize.cjs"
    status, out, err = await run("node", client, f"127.0.0.1:{port}", voice, ROOT / "proto", GOOGLE_PROTOS)
    assert status == 0, err
    return [json.loads(line) for line in out.splitlines()]


@WAYS
async def test_text_in_pieces_comes_back_as_speech_on_one_stream(voice: Voice, way: str) -> None:
    replies = await synthesize(voice.port(way))
    kinds = [reply["reply"] for reply in replies]
    assert kinds[0] == "started"
    assert kinds[-1] == "utterance_end"
    assert kinds.index("timing") < kinds.index("audio")
    assert {reply.get("utterance_id") for reply in replies[1:]} == {"u1"}
    # "Hello world." takes between 0.3 and 3 s at 8 to 48 kHz and 2 bytes a sample.
    assert 0.3 * 16_000 < sum(reply.get("bytes", 0) for reply in replies) < 3 * 96_000


@WAYS
async def test_an_error_arrives_with_its_code_sentence_and_details(voice: Voice, way: str) -> None:
    (error,) = await synthesize(voice.port(way), voice="voices/nobody")
    assert error["code"] == 5
    assert "nobody" in error["message"]
    assert error["has_details"] == 1
