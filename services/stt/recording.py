"""A whole recording to its transcripts, in steps that a caller can stop between."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.common.recording_file import decode
from services.stt.engine import SpeechStream
from services.stt.listener import Listener, Result
from services.stt.turn_detector import TurnDetector, TurnRules
from services.stt.vad import SAMPLE_RATE_HZ, VoiceDetector

# Half a second of silence is a place to cut; nobody waits for the answer, so no model need guess at it.
_RULES = TurnRules(
    min_speech=SAMPLE_RATE_HZ // 10,
    min_silence=SAMPLE_RATE_HZ // 2,
    max_silence=SAMPLE_RATE_HZ // 2,
    end_of_turn_threshold=1.0,
    eager_threshold=0.0,
    min_barge_in=SAMPLE_RATE_HZ,
)
_STEP_SAMPLES = SAMPLE_RATE_HZ // 2


class _NoTurnModel:
    """Never asked: the first silence that is long enough ends the stretch."""

    def ask(self, samples: NDArray[np.float32]) -> Future[float]:
        raise AssertionError(f"asked about {len(samples)} samples")


@dataclass(frozen=True, slots=True)
class Step:
    """What half a second of the recording brought: its finals, and how far it reaches in samples at 16 kHz."""

    results: tuple[Result, ...]
    position: int


def transcribe(recording: bytes, stream: SpeechStream, voice: VoiceDetector, max_s: float) -> Iterator[Step]:
    """The finals of a recording, stretch by stretch, in bounded memory.

    Args:
        recording: a file as `decode` reads it.
        stream: open and unused; the caller closes it.
        max_s: how long the recording may be.
    Raises: InvalidRequestError as `decode`; EngineError.
    """
    listener = Listener(stream, voice, _NoTurnModel(), TurnDetector(_RULES))

    def step(samples: NDArray[np.float32] | None) -> Step:
        heard = listener.finish() if samples is None else listener.hear(samples)
        finals = (item for item in heard if isinstance(item, Result) and item.transcript.is_final)
        return Step(tuple(finals), listener.position)

    pieces: list[NDArray[np.float32]] = []
    for piece in decode(recording, SAMPLE_RATE_HZ, max_s):
        pieces.append(piece)
        if sum(map(len, pieces)) >= _STEP_SAMPLES:
            yield step(np.concatenate(pieces))
            pieces.clear()
    if pieces:
        yield step(np.concatenate(pieces))
    yield step(None)
