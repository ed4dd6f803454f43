"""The process as an operator starts and stops it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.audio import pcm16_of, wav_of
from tests.services.stt.conftest import Say
from tests.services.stt.serving import NAME, Stub, audio, config, converse, told
from tests.services.stt.test_pocketsphinx import children_of, has_ended

pytestmark = pytest.mark.slow
HUSH = np.random.default_rng(0).normal(0, 1e-4, 16_000).astype(np.float32)


def start(**environment: str) -> subprocess.Popen[str]:
    variables = {**os.environ, "STT_PORT": "0", "STT_DRAIN__ANNOUNCE_S": "0", "STT_DRAIN__GRACE_S": "1", **environment}
    return subprocess.Popen([sys.executable, "-m", "services.stt"], env=variables, stderr=subprocess.PIPE, text=True)


def outcome(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code and the errors of a process that should end by itself; it is killed if it does not."""
    with process:
        try:
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    return process.returncode, errors


@asynccontextmanager
async def running() -> AsyncIterator[tuple[subprocess.Popen[str], grpc.aio.Channel]]:
    """A process that has said that it is ready; ended by SIGTERM."""
    with start() as process:
        assert process.stderr is not None
        try:
            events = {}
            while "server_ready" not in events:
                event = json.loads(await asyncio.to_thread(process.stderr.readline))
                events[event["event"]] = event
            assert "English" in events["engine_ready"]["reason"]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{events['server_ready']['port']}") as channel:
                yield process, channel
        finally:
            process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 0


async def test_the_process_becomes_ready_hears_and_leaves_nothing_behind(say: Say) -> None:
    sound = [HUSH, say("I would like to order a cup of coffee", "en-us", 160), HUSH, HUSH]
    async with running() as (process, channel):
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=NAME))
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        stt: Stub = stt_pb2_grpc.SpeechToTextServiceStub(channel)
        answer = await stt.GetHealth(stt_pb2.GetHealthRequest())
        assert (answer.engine.name, list(answer.language_codes)) == ("pocketsphinx", ["en"])
        names = told(await converse(stt, [config(), *audio(*sound)]))
        assert (names[0], names[-1]) == ("SPEECH_STARTED", "END_OF_TURN")
        assert "like to order" in names[-2]
        recording = wav_of(b"".join(map(pcm16_of, sound)), 16_000)
        assert "like to order" in (await stt.Recognize(stt_pb2.RecognizeRequest(audio=recording))).transcript
        workers = children_of(process.pid)
        assert workers
    assert all(has_ended(pid) for pid in workers)


async def test_a_stream_that_is_open_at_sigterm_is_ended_and_leaves_nothing_behind() -> None:
    async with running() as (process, channel):
        call = stt_pb2_grpc.SpeechToTextServiceStub(channel).StreamingRecognize()
        await call.write(config())
        await call.read()
        workers = children_of(process.pid)
    assert all(has_ended(pid) for pid in workers)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STT_ENGINE", "nonsense"),
        ("STT_MAX_STREAMS", "0"),
        ("STT_TURN__MAX_SILENCE_S", "11"),
        ("STT_TURN__PATIENCE", "1"),
    ],
)
def test_a_bad_setting_stops_the_start(name: str, value: str) -> None:
    code, errors = outcome(start(**{name: value}))
    assert code != 0
    assert name.rpartition("_")[2].lower() in errors.lower()


def test_without_the_model_files_the_start_says_what_to_do(tmp_path: Path) -> None:
    code, errors = outcome(start(AVATAR_DATA_DIR=str(tmp_path)))
    assert code != 0
    assert "silero_vad.onnx is missing; `make setup` fetches it" in errors
