"""What `avatar bench one_gpu` loads services with, as so many conversations do; each load in a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc
import numpy as np
import soxr
from avatar.media.v1 import media_pb2
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc
from numpy.typing import NDArray

from services.common.audio import pcm16_of
from tools.bench import sessions
from tools.bench.speech import SAMPLE_RATE_HZ, last_voiced_ms

# What is measured of each, and its unit.
FRAME, FIRST = "face, frame asked for to there", "voice, text to first chunk"
FACTOR, FINAL = "voice, time over length of speech", "ears, last voiced sample to final"
UNITS = {FRAME: "ms", FIRST: "ms", FACTOR: "", FINAL: "ms"}
_EARS_RATE_HZ = 16_000
_CHUNK = _EARS_RATE_HZ // 50
_PAUSE_S = 0.5
# Nothing that begins before is counted: sessions of the face settle in this time.
_SETTLE_S = 3.0
_MARGIN_S = 30.0
_SENTENCE = "We counted nearly forty of them before it began to rain again."


def face(port: int, count: int, seconds: float, size: int) -> dict[str, list[float]]:
    """Sessions that speak. Raises: RuntimeError unless the production engine drew all of them."""
    given = argparse.Namespace(seconds=seconds, size=size, useful_ms=100.0, in_flight=2)

    async def served() -> list[sessions.Session]:
        async with asyncio.timeout(_SETTLE_S + seconds + _MARGIN_S):
            return (await sessions.run(port, given, count, 0))[0]

    found = asyncio.run(served())
    others = [one.refused or one.engine for one in found if one.refused or one.engine.startswith("mesh")]
    if others:
        raise RuntimeError(f"{len(others)} of {count} faces were not drawn by the production engine: {others[0]}")
    return {FRAME: [1000 * late_s for session in found for late_s in session.late_s]}


def voice(port: int, count: int, seconds: float) -> dict[str, list[float]]:
    """Sentences at the pace of speech: each is made as fast as it can be, and the next one when it would be over."""
    first_ms: list[float] = []
    factors: list[float] = []

    async def speak(channel: grpc.aio.Channel, wait_s: float, begin_s: float, end_s: float) -> None:
        sound = media_pb2.AudioFormat(
            encoding=media_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=SAMPLE_RATE_HZ, channel_count=1
        )
        request = tts_pb2.SynthesizeStreamRequest(
            text=_SENTENCE, config=tts_pb2.SynthesisConfig(language_code="en", audio_format=sound)
        )
        await asyncio.sleep(wait_s)
        while (start_s := time.monotonic()) < end_s:
            came_s, length = 0.0, 0
            async for response in tts_pb2_grpc.TextToSpeechServiceStub(channel).SynthesizeStream(request):
                if response.HasField("audio"):
                    came_s = came_s or time.monotonic()
                    length += len(response.audio.data) // 2
            speech_s, over_s = length / SAMPLE_RATE_HZ, time.monotonic()
            if start_s >= begin_s:
                first_ms.append(1000 * (came_s - start_s))
                factors.append((over_s - start_s) / speech_s)
            await asyncio.sleep(max(0.0, start_s + speech_s - over_s))

    asyncio.run(_all(port, count, seconds, speak))
    return {FIRST: first_ms, FACTOR: factors}


def ears(port: int, count: int, seconds: float, speech: NDArray[np.float32]) -> dict[str, list[float]]:
    """Speech in real time, and its final asked for with its last voiced sample. Args: speech: shape (n,), 48 kHz."""
    final_ms: list[float] = []
    voiced = speech[: round(last_voiced_ms(speech) * SAMPLE_RATE_HZ / 1000)]
    spoken = soxr.resample(voiced, SAMPLE_RATE_HZ, _EARS_RATE_HZ)
    silence = np.zeros(round(_PAUSE_S * _EARS_RATE_HZ), np.float32)

    async def listen(channel: grpc.aio.Channel, wait_s: float, begin_s: float, end_s: float) -> None:
        await asyncio.sleep(wait_s)
        request = stt_pb2.StreamingRecognizeRequest
        stream = stt_pb2_grpc.SpeechToTextServiceStub(channel).StreamingRecognize()
        sound = media_pb2.AudioFormat(
            encoding=media_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=_EARS_RATE_HZ, channel_count=1
        )
        config = stt_pb2.StreamingRecognitionConfig(
            recognition=stt_pb2.RecognitionConfig(language_code="en"), audio_format=sound, interim_results=True
        )
        await stream.write(request(config=config))
        await stream.read()
        asked_s: float | None = None

        async def send(samples: NDArray[np.float32], from_s: float) -> float:
            for at in range(0, len(samples), _CHUNK):
                await asyncio.sleep(max(0.0, from_s + at / _EARS_RATE_HZ - time.monotonic()))
                await stream.write(request(audio=pcm16_of(samples[at : at + _CHUNK])))
            return from_s + len(samples) / _EARS_RATE_HZ

        async def speak() -> None:
            nonlocal asked_s
            next_s = time.monotonic()
            while next_s < end_s:
                next_s = await send(spoken, next_s)
                asked_s = time.monotonic()
                await stream.write(request(finalize=request.Finalize()))
                next_s = await send(silence, next_s)
            await stream.done_writing()

        speaking = asyncio.create_task(speak())
        while (response := await stream.read()) is not grpc.aio.EOF:
            assert isinstance(response, stt_pb2.StreamingRecognizeResponse)
            if response.result.is_final and asked_s is not None:
                if asked_s >= begin_s:
                    final_ms.append(1000 * (time.monotonic() - asked_s))
                asked_s = None
        await speaking

    asyncio.run(_all(port, count, seconds, listen))
    return {FINAL: final_ms}


async def _all(
    port: int, count: int, seconds: float, one: Callable[[grpc.aio.Channel, float, float, float], Awaitable[None]]
) -> None:
    """So many at once, each with a connection of its own; not in step, as conversations are not."""
    begin_s = time.monotonic() + _SETTLE_S

    async def of(number: int) -> None:
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            await one(channel, number / count * _SETTLE_S, begin_s, begin_s + seconds)

    async with asyncio.timeout(_SETTLE_S + seconds + _MARGIN_S):
        await asyncio.gather(*(of(number) for number in range(count)))
