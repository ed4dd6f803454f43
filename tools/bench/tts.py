"""The voice alone, over real gRPC: time to the first chunk and to the first audible sample, and real-time factor."""

from __future__ import annotations

import argparse
import time

import grpc
from avatar.media.v1 import media_pb2
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc

from services.common.audio import samples_of_pcm16
from tools.bench.record import Record, row
from tools.bench.speech import SAMPLE_RATE_HZ, first_voiced_ms
from tools.cli.services import channels

TEXTS = (
    "Yes.",
    "Hello, how are you today?",
    "The quick brown fox jumps over the lazy dog, and nobody knows why it does that every single morning.",
    "When the sun rose over the harbour, the boats had left. Only one of them would come back before the storm.",
)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=50, help="utterances of each text")


async def measure(given: argparse.Namespace) -> Record:
    """Speak each text again and again, warm."""
    first_ms, audible_ms, factors = [], [], []
    async with channels(["tts"]) as to:
        for text in TEXTS:
            await _speak(to["tts"], text)
            for _ in range(given.runs):
                first, audible, took_s, speech_s = await _speak(to["tts"], text)
                first_ms.append(first)
                audible_ms.append(audible)
                factors.append(took_s / speech_s)
    rows = [
        row("text to first chunk", "ms", first_ms),
        row("text to first audible sample (its place included)", "ms", audible_ms),
        row("time over length of speech", "", factors),
    ]
    return Record("tts", rows, vars(given))


async def _speak(channel: grpc.aio.Channel, text: str) -> tuple[float, float, float, float]:
    config = tts_pb2.SynthesisConfig(
        audio_format=media_pb2.AudioFormat(
            encoding=media_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=SAMPLE_RATE_HZ, channel_count=1
        )
    )
    start_s = time.perf_counter()
    first_s, pcm = 0.0, bytearray()
    request = tts_pb2.SynthesizeStreamRequest(text=text, config=config)
    async for response in tts_pb2_grpc.TextToSpeechServiceStub(channel).SynthesizeStream(request):
        if response.HasField("audio"):
            first_s = first_s or time.perf_counter()
            pcm += response.audio.data
    took_s = time.perf_counter() - start_s
    samples = samples_of_pcm16(bytes(pcm))
    first = (first_s - start_s) * 1000
    return first, first + first_voiced_ms(samples), took_s, len(samples) / SAMPLE_RATE_HZ
