"""buf curl, which knows the contract from reflection alone."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.rpc import error_details_pb2

from tests.clients.conftest import NODE, TTS, Voice, run

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]
WAYS = pytest.mark.parametrize("way", ["direct", "envoy", "envoy over TLS"])


async def curl(voice: Voice, way: str, method: str, request: dict[str, Any]) -> tuple[int, str, str]:
    arguments = ["--protocol", "grpc", "--data", json.dumps(request)]
    if way == "envoy over TLS":
        # On the page's origin reflection is the orchestrator's, so this one brings the contract along.
        arguments += ["--cacert", str(voice.edge.certificate), "--schema", "proto/gen/avatar.pb#format=binpb"]
        url = voice.edge.page_url
    else:
        arguments += ["--http2-prior-knowledge"]
        url = f"http://127.0.0.1:{voice.port(way)}"
    return await run(NODE / ".bin/buf", "curl", *arguments, f"{url}/{TTS}/{method}")


def messages(out: str) -> list[dict[str, Any]]:
    """The JSON objects of a text that holds nothing else."""
    decoder, found = json.JSONDecoder(), []
    out = out.lstrip()
    while out:
        message, end = decoder.raw_decode(out)
        found.append(message)
        out = out[end:].lstrip()
    return found


@WAYS
async def test_a_unary_call(voice: Voice, way: str) -> None:
    status, out, err = await curl(voice, way, "ListVoices", {})
    assert status == 0, err
    assert messages(out)[0]["voices"][0]["name"].startswith("voices/")


@WAYS
async def test_a_server_stream(voice: Voice, way: str) -> None:
    status, out, err = await curl(voice, way, "SynthesizeStream", {"text": "Hello world."})
    assert status == 0, err
    replies = messages(out)
    assert "started" in replies[0]
    assert any("audio" in reply for reply in replies)
    assert replies[-1]["utteranceEnd"]["reason"] == "REASON_COMPLETED"


@WAYS
async def test_an_error_and_its_details(voice: Voice, way: str) -> None:
    status, _, err = await curl(voice, way, "Synthesize", {"text": ""})
    # buf keeps three bits for itself; the gRPC code is above them.
    assert status == 3 << 3
    error = json.loads(err)
    assert error["code"] == "invalid_argument"
    assert "1 to 20000 characters" in error["message"]
    (detail,) = error["details"]
    assert detail["type"] == "google.rpc.ErrorInfo"
    info = error_details_pb2.ErrorInfo.FromString(base64.b64decode(detail["value"] + "=="))
    assert (info.reason, info.domain) == ("INVALID_REQUEST", "avatar")
