"""A sound through the recogniser: what was written, in which language, and what happened to the turn."""

from __future__ import annotations

import asyncio
import time
import unicodedata
from dataclasses import dataclass, field

import grpc
import numpy as np
import soxr
from avatar.media.v1 import media_pb2
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc
from numpy.typing import NDArray

from services.common.audio import pcm16_of
from tools.bench.speech import SAMPLE_RATE_HZ

RATE_HZ = 16_000
_CHUNK = RATE_HZ // 10
# Silence that ends whatever turn is open.
_TAIL_S = 1.5
_TIMEOUT_S = 300.0
_Request = stt_pb2.StreamingRecognizeRequest


@dataclass(frozen=True, slots=True)
class Assistant:
    """One that speaks aloud while a sound is heard. Args: says: what; empty where the recogniser is not told."""

    says: str = ""


@dataclass
class Heard:
    """Attributes: finals: text of each stretch with its language; interims, turn_events: texts and names, in order."""

    finals: list[tuple[str, str]] = field(default_factory=list)
    interims: list[str] = field(default_factory=list)
    turn_events: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(text for text, _ in self.finals)


async def hear(
    channel: grpc.aio.Channel,
    sound: NDArray[np.float32],
    language: str = "",
    assistant: Assistant | None = None,
    *,
    interim_results: bool = False,
    real_time: bool = False,
) -> Heard:
    """Stream a sound, and silence after it.

    Args:
        sound: shape (n,), in [-1, 1], 48 kHz.
        assistant: None for one that is silent.
        real_time: at the pace of speech, instead of as fast as it is taken.
    """
    samples = soxr.resample(sound, SAMPLE_RATE_HZ, RATE_HZ)
    samples = np.concatenate([samples, np.zeros(round(_TAIL_S * RATE_HZ), np.float32)])
    audio_format = media_pb2.AudioFormat(
        encoding=media_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=RATE_HZ, channel_count=1
    )
    config = stt_pb2.StreamingRecognitionConfig(
        recognition=stt_pb2.RecognitionConfig(language_code=language),
        audio_format=audio_format,
        interim_results=interim_results,
    )
    call = stt_pb2_grpc.SpeechToTextServiceStub(channel).StreamingRecognize(timeout=_TIMEOUT_S)
    await call.write(_Request(config=config))
    if assistant is not None:
        state = _Request.AssistantState(speaking=True, text=assistant.says)
        await call.write(_Request(assistant_state=state))

    async def feed() -> None:
        start_s = time.perf_counter()
        for begin in range(0, len(samples), _CHUNK):
            if real_time:
                await asyncio.sleep(max(0.0, start_s + begin / RATE_HZ - time.perf_counter()))
            await call.write(_Request(audio=pcm16_of(samples[begin : begin + _CHUNK])))
        await call.done_writing()

    heard = Heard()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(feed())
        while (response := await call.read()) is not grpc.aio.EOF:
            assert isinstance(response, stt_pb2.StreamingRecognizeResponse)
            if response.HasField("result") and not response.result.is_final:
                heard.interims.append(response.result.transcript)
            elif response.HasField("result"):
                heard.finals.append((response.result.transcript, response.result.language_code))
            elif response.HasField("turn_event"):
                kind = stt_pb2.TurnEvent.Kind.Name(response.turn_event.kind)
                heard.turn_events.append(kind.removeprefix("KIND_").lower())
    return heard


def plain(text: str) -> str:
    """Text as it is compared: no case, no punctuation, one blank between words."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(char if unicodedata.category(char)[0] in "LMN" else " " for char in folded)
    return " ".join(kept.split())


def has_blanks(language: str) -> bool:
    """Whether a language is written with blanks between its words."""
    return language.split("-")[0] not in ("zh", "ja", "th")
