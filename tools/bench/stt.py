"""The recogniser alone, over real gRPC at the pace of speech: first interim, end of turn, final text, errors.

With --engine whisper, the engine without its service: a final alone, and many live streams on one GPU.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence

import grpc
import numpy as np
import soxr
from avatar.media.v1 import media_pb2
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc
from numpy.typing import NDArray

from services.common.audio import pcm16_of
from tools.bench import whisper
from tools.bench.conversation import SENTENCES
from tools.bench.record import Record, Row, row
from tools.bench.speech import SAMPLE_RATE_HZ, last_voiced_ms, synthesise
from tools.cli.services import channels

_RATE_HZ = 16_000
_CHUNK = _RATE_HZ // 50
_SILENCE_S = 2.5


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=2, help="times that each sentence is spoken")
    parser.add_argument("--engine", choices=("whisper",), help="measure this engine alone; no service has to run")
    whisper.options(parser.add_argument_group("with --engine whisper"))


async def measure(given: argparse.Namespace) -> Record:
    """Stream each sentence in real time."""
    if given.engine == "whisper":
        return await whisper.measure(given)
    interim_ms, final_ms, turn_ms, errors = [], [], [], []
    early = 0
    async with channels(["stt", "tts"]) as to:
        for index in range(given.runs * len(SENTENCES)):
            text = SENTENCES[index % len(SENTENCES)]
            speech = await synthesise(to["tts"], text)
            end_s = last_voiced_ms(speech) / 1000
            seen, heard = await _listen(to["stt"], soxr.resample(speech, SAMPLE_RATE_HZ, _RATE_HZ))
            if "turn" in seen and seen["turn"] < end_s:
                early += 1
                continue
            interim_ms += [1000 * seen["interim"]] if "interim" in seen else []
            final_ms += [1000 * (seen["final"] - end_s)] if "final" in seen else []
            turn_ms += [1000 * (seen["turn"] - end_s)] if "turn" in seen else []
            errors.append(error_rate(text.replace(",", "").split(), heard.split()))
    count = given.runs * len(SENTENCES)
    share = 100 * early / count
    rows = [
        row("speech begin to first interim", "ms", interim_ms),
        row("speech end to final text", "ms", final_ms),
        row("speech end to end of turn", "ms", turn_ms),
        row("word error rate, synthetic speech", "%", [100 * value for value in errors], note="see worst"),
        Row("turn ended before the speech did", "%", count, share, share, share, "5", "2", "share"),
    ]
    return Record("stt", rows, {"runs": given.runs})


async def _listen(channel: grpc.aio.Channel, speech: NDArray[np.float32]) -> tuple[dict[str, float], str]:
    """Returns: seconds from the first sample to each first result, and the text."""
    request = stt_pb2.StreamingRecognizeRequest
    call = stt_pb2_grpc.SpeechToTextServiceStub(channel).StreamingRecognize()
    audio_format = media_pb2.AudioFormat(
        encoding=media_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=_RATE_HZ, channel_count=1
    )
    config = stt_pb2.StreamingRecognitionConfig(audio_format=audio_format, interim_results=True)
    await call.write(request(config=config))
    await call.read()
    samples = np.concatenate([speech, np.zeros(int(_SILENCE_S * _RATE_HZ), np.float32)])
    start_s = time.perf_counter()
    seen: dict[str, float] = {}

    async def feed() -> None:
        for at in range(0, len(samples), _CHUNK):
            await asyncio.sleep(max(0.0, start_s + at / _RATE_HZ - time.perf_counter()))
            await call.write(request(audio=pcm16_of(samples[at : at + _CHUNK])))
        await call.done_writing()

    feeding = asyncio.create_task(feed())
    texts = []
    while (response := await call.read()) is not grpc.aio.EOF:
        assert isinstance(response, stt_pb2.StreamingRecognizeResponse)
        now_s = time.perf_counter() - start_s
        if response.HasField("result"):
            seen.setdefault("final" if response.result.is_final else "interim", now_s)
            if response.result.is_final:
                texts.append(response.result.transcript)
        elif response.turn_event.kind == stt_pb2.TurnEvent.KIND_END_OF_TURN:
            seen.setdefault("turn", now_s)
    await feeding
    return seen, " ".join(texts)


def error_rate(wanted: Sequence[str], heard: Sequence[str]) -> float:
    """Edits over what was wanted, of words or of characters."""
    costs = list(range(len(heard) + 1))
    for i, word in enumerate(wanted, 1):
        last, costs[0] = costs[0], i
        for j, other in enumerate(heard, 1):
            last, costs[j] = costs[j], min(costs[j] + 1, costs[j - 1] + 1, last + (word != other))
    return costs[-1] / len(wanted)
