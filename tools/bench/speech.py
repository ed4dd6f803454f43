"""Speech for benches, made by the voice service, and where it begins and ends."""

from __future__ import annotations

import base64

import grpc
import numpy as np
from avatar.media.v1 import media_pb2
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc
from numpy.typing import NDArray

from services.common.audio import samples_of_pcm16

SAMPLE_RATE_HZ = 48_000
SILENCE_DB = -50.0
_WINDOW = SAMPLE_RATE_HZ // 100


async def synthesise(
    channel: grpc.aio.Channel, text: str, voice: str = "", language: str = "en"
) -> NDArray[np.float32]:
    """Shape (n,), in [-1, 1], 48 kHz."""
    config = tts_pb2.SynthesisConfig(
        voice=voice,
        language_code=language,
        audio_format=media_pb2.AudioFormat(
            encoding=media_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=SAMPLE_RATE_HZ, channel_count=1
        ),
    )
    answer = await tts_pb2_grpc.TextToSpeechServiceStub(channel).Synthesize(
        tts_pb2.SynthesizeRequest(text=text, config=config)
    )
    return samples_of_pcm16(answer.audio[44:])


def levels_db(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Level of each 10 ms in dBFS, shape (n // 480,)."""
    blocks = samples[: len(samples) // _WINDOW * _WINDOW].reshape(-1, _WINDOW).astype(np.float64)
    return np.asarray(20 * np.log10(np.sqrt((blocks**2).mean(1)) + 1e-9))


def last_voiced_ms(samples: NDArray[np.float32]) -> float:
    """The end of the last 10 ms above -50 dBFS, from the first sample."""
    return float(np.flatnonzero(levels_db(samples) > SILENCE_DB)[-1] + 1) * 10.0


def first_voiced_ms(samples: NDArray[np.float32]) -> float:
    """The first sample above -50 dBFS, from the first sample. Raises: IndexError in silence."""
    return float(np.flatnonzero(np.abs(samples) > 10 ** (SILENCE_DB / 20))[0]) * 1000 / SAMPLE_RATE_HZ


def to_page(samples: NDArray[np.float32]) -> str:
    """As `capture.speak` takes it."""
    return base64.b64encode(samples.astype("<f4").tobytes()).decode()
