"""The process as an operator starts and stops it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import grpc
import pytest
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.services.tts.serving import NAME

pytestmark = pytest.mark.slow


def start(**environment: str) -> subprocess.Popen[str]:
    variables = {**os.environ, "TTS_PORT": "0", "TTS_MAX_STREAMS": "2", "TTS_DRAIN__ANNOUNCE_S": "0", **environment}
    return subprocess.Popen([sys.executable, "-m", "services.tts"], env=variables, stderr=subprocess.PIPE, text=True)


async def test_the_process_becomes_ready_speaks_and_ends_at_sigterm() -> None:
    with start() as process:
        assert process.stderr is not None
        try:
            events = {}
            while "server_ready" not in events:
                event = json.loads(process.stderr.readline())
                events[event["event"]] = event
            assert events["engine_ready"]["reason"]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{events['server_ready']['port']}") as channel:
                health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=NAME))
                assert health.status == health_pb2.HealthCheckResponse.SERVING
                tts = tts_pb2_grpc.TextToSpeechServiceStub(channel)
                spoken = await tts.Synthesize(tts_pb2.SynthesizeRequest(text="It works."))
                assert [word.word for word in spoken.timing.words] == ["It", "works"]
                assert (await tts.GetHealth(tts_pb2.GetHealthRequest())).engine.name == "espeak"
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


@pytest.mark.parametrize("name", ["TTS_ENGINE", "TTS_MAX_STREAMS"])
def test_a_bad_setting_stops_the_start(name: str) -> None:
    with start(**{name: "nonsense"}) as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode != 0
    assert name in errors
