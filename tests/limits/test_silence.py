"""An hour in which nobody speaks, as fast as it can be taken in: no words, no more memory, and ears that still work."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
from avatar.media.v1 import media_pb2
from avatar.stt.v1 import stt_pb2
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc

from services.common.audio import pcm16_of
from tests.limits.refusals import STARTS, STT, streaming
from tests.limits.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow, pytest.mark.timeout(300)]
SECOND = 16_000
HOUR_S = 3600
# Memory that an hour may add; one copy of its sound would be 115 MB.
GROWTH_BYTES = 24 * 1024 * 1024


async def said(world: World, text: str) -> bytes:
    """Speech of a text at 16 kHz."""
    config = tts_pb2.SynthesisConfig(
        language_code="en",
        audio_format=media_pb2.AudioFormat(encoding=media_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=SECOND),
    )
    stub = tts_pb2_grpc.TextToSpeechServiceStub(world.channels["tts"])
    return (await stub.Synthesize(tts_pb2.SynthesizeRequest(text=text, config=config))).audio[44:]


def place(answer: Any) -> int:
    """Where in the stream it happened, in seconds."""
    at = answer.turn_event.event_offset if answer.HasField("turn_event") else answer.result.start_offset
    return int(at.seconds)


def words(answers: list[Any]) -> list[str]:
    """The finals."""
    return [answer.result.transcript for answer in answers if answer.result.is_final]


async def test_an_hour_of_silence_gives_no_words_and_takes_no_memory(world: World) -> None:
    # A room is never quite silent.
    room = np.random.default_rng(1).normal(0.0, 0.001, (60, SECOND)).astype(np.float32)
    seconds = [STT(audio=pcm16_of(sound)) for sound in room]
    speech = await said(world, "hello my friend")
    sentence = [STT(audio=speech[begin : begin + 2 * SECOND]) for begin in range(0, len(speech), 2 * SECOND)]
    call = streaming(world, "stt")()
    await call.write(STARTS["stt"])
    assert (await call.read()).HasField("started")

    async def heard() -> list[Any]:
        """Everything that is answered to the sentence."""
        for message in [*sentence, *seconds[:2]]:
            await call.write(message)
        answers = [await call.read()]
        while answers[-1].turn_event.kind != stt_pb2.TurnEvent.KIND_END_OF_TURN:
            answers.append(await call.read())
        return answers

    first = await heard()
    before = world.memory_bytes("stt")
    for number in range(HOUR_S):
        await call.write(seconds[number % len(seconds)])
    second = await heard()
    assert world.memory_bytes("stt") - before < GROWTH_BYTES
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    # The next that is heard is what was said after the hour, and it is the same.
    assert all(place(answer) >= HOUR_S for answer in second)
    assert words(first) == words(second)
    assert words(second)
