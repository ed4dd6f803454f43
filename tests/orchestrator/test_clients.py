"""However a stream ends, its client says so in the words of the domain."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from avatar.stt.v1 import stt_pb2_grpc

from orchestrator.clients import channel
from orchestrator.clients.channel import open_channel
from orchestrator.clients.stt import listening
from services.common.errors import NotReadyError
from tests.fakes.conversing_services import scripted_services


class Stuck(stt_pb2_grpc.SpeechToTextServiceServicer):
    """Takes a stream and never answers."""

    async def StreamingRecognize(self, requests: Any, context: Any) -> None:  # type: ignore[override]
        await asyncio.Event().wait()


async def test_writing_to_a_stream_that_has_ended_is_no_bug() -> None:
    async with scripted_services() as services, listening(services.stt, "session", "en") as stream:
        await stream.finish()
        assert [response async for response in stream.responses()] == []
        with pytest.raises(NotReadyError, match="ended"):
            await stream.send_audio(bytes(640))


async def test_a_service_that_does_not_answer_counts_as_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_ANSWER_TIMEOUT_S", 0.05)
    server = grpc.aio.server()
    stt_pb2_grpc.add_SpeechToTextServiceServicer_to_server(Stuck(), server)  # type: ignore[abstract]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with open_channel(f"127.0.0.1:{port}") as way:
        with pytest.raises(NotReadyError, match=r"within 0\.05 s"):
            async with listening(way, "session", "en"):
                pass
    await server.stop(None)
