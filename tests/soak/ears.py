"""What callers of a recogniser do, and what has to come of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random

import grpc
import numpy as np
from avatar.media.v1 import media_pb2
from avatar.stt.v1 import stt_pb2
from numpy.typing import NDArray

from services.common.audio import pcm16_of, wav_of
from tests.services.stt.serving import Request, assistant, config
from tests.services.stt.serving import audio as messages_of
from tests.soak.calls import Ended, Method, Sent, ask, assert_refused, call, fill

_RATE_HZ = 16_000
_STREAM = Method("/avatar.stt.v1.SpeechToTextService/StreamingRecognize", stt_pb2.StreamingRecognizeResponse)
_RECORDING = Method("/avatar.stt.v1.SpeechToTextService/Recognize", stt_pb2.RecognizeResponse)
_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_ORDER = grpc.StatusCode.FAILED_PRECONDITION
_UNSUPPORTED = grpc.StatusCode.UNIMPLEMENTED
# Messages that nobody should send, and what they are told.
_WRONG: Sequence[tuple[Sequence[Request | bytes], grpc.StatusCode, str]] = (
    ([Request(audio=bytes(640))], _ORDER, "first message is config, not audio"),
    ([Request()], _ORDER, "not an empty message"),
    ([], _ORDER, "not nothing"),
    ([config(), config()], _ORDER, "config is the first message only"),
    ([config(), Request()], _INVALID, "the message is empty"),
    ([config(sample_rate_hz=8_000)], _INVALID, "reads 16000 Hz audio, not 8000 Hz"),
    ([config(channel_count=2)], _INVALID, "channel_count is 1, not 2"),
    ([config(encoding=media_pb2.AUDIO_ENCODING_UNSPECIFIED)], _INVALID, "AUDIO_ENCODING_LINEAR16 on a stream"),
    ([config(language_code="xx")], _UNSUPPORTED, "it hears"),
    ([config(language_code="not a tag")], _INVALID, "BCP-47"),
    ([b"\xff\xff\xff"], _INVALID, ""),
    ([config(), b"\xff\xff\xff"], _INVALID, ""),
    ([config(), Request(audio=bytes(641))], _INVALID, "whole samples"),
    ([config(), Request(audio=bytes(32_002))], _INVALID, "at most 1 s"),
    ([config(), Request(audio=bytes(8_000_000))], _INVALID, "at most 1 s"),
    ([config(), *messages_of(np.full(_RATE_HZ, 0.1, np.float32)), Request(audio=b"\x01")], _INVALID, "whole samples"),
)


class Ears:
    """Those of one process.

    Args: sounds: sentences without a pause in them, shape (n,), in [-1, 1], 16 kHz; recites: it writes the same of all.
    """

    def __init__(self, sounds: Sequence[NDArray[np.float32]], max_streams: int, *, recites: bool) -> None:
        self._sounds = sounds
        self._max_streams = max_streams
        self._recites = recites
        self._texts: list[str] = []
        self._segments: set[str] = set()

    async def alone(self, channel: grpc.aio.Channel) -> None:
        """Hear each sound while nobody else is there."""
        for sound in self._sounds:
            self._texts.append(self._final(await call(channel, _STREAM, _spoken(sound))))
        assert len(set(self._texts)) == (1 if self._recites else len(self._sounds)), self._texts

    async def one(self, channel: grpc.aio.Channel, rng: Random) -> tuple[str, Ended]:
        """A call of any kind. Returns: of which kind, and how it ended. Raises: AssertionError."""
        index = rng.randrange(len(self._sounds))
        sound = self._sounds[index]
        match rng.choice(("sentence", "sentence", "recording", "noise", "cancel", "hang up", "leave", "malformed")):
            case "sentence":
                ended = await call(channel, _STREAM, _spoken(sound, rng))
                if ended.code is grpc.StatusCode.OK:
                    assert self._final(ended) == self._texts[index]
                return "sentence", ended
            case "recording":
                wav = wav_of(pcm16_of(_with_silence(sound)), _RATE_HZ)
                if rng.random() < 0.2:
                    ended = await ask(channel, _RECORDING, stt_pb2.RecognizeRequest(audio=rng.randbytes(len(wav))))
                    assert_refused(ended, _INVALID, "")
                    return "malformed", ended
                leaves = rng.random() < 0.3
                ended = await ask(channel, _RECORDING, stt_pb2.RecognizeRequest(audio=wav), leaves=leaves)
                if ended.code is grpc.StatusCode.OK:
                    assert ended.responses[0].transcript == self._texts[index]
                return "recording", ended
            case "noise":
                # Garbage of the right length is a loud noise.
                noise = [Request(audio=rng.randbytes(640)) for _ in range(rng.randrange(1, 100))]
                return "noise", await call(channel, _STREAM, [config(interim_results=True), *noise])
            case "malformed":
                sent, code, words = rng.choice(_WRONG)
                ended = await call(channel, _STREAM, sent)
                assert_refused(ended, code, words)
                return "malformed", ended
            case way:
                # In the middle of everything: at once, while it is heard, while the final is awaited.
                stays_for = 0 if way == "leave" else rng.randrange(1, 4)
                sent_until = rng.randrange(1, 150)
                messages: list[Sent] = [*_spoken(sound, rng)[:sent_until]]
                if rng.random() < 0.5:
                    # Nobody sets it: the caller falls silent.
                    messages.append(asyncio.Event())
                return way, await call(channel, _STREAM, messages, leaves_after=stays_for, hangs_up=way == "hang up")

    async def fill(self, channel: grpc.aio.Channel) -> None:
        """Every place takes a good call, all at the same time. Raises: AssertionError, TimeoutError."""

        def check(index: int) -> Callable[[Ended], None]:
            def is_heard(ended: Ended) -> None:
                assert self._final(ended) == self._texts[index]

            return is_heard

        indices = [number % len(self._sounds) for number in range(self._max_streams)]
        await fill(channel, _STREAM, [(_spoken(self._sounds[index]), check(index)) for index in indices])

    def _final(self, ended: Ended) -> str:
        """The text of a call that went well. Raises: AssertionError if it did not, or has another's results."""
        assert ended.code is grpc.StatusCode.OK, ended.details
        results = [response.result for response in ended.responses if response.HasField("result")]
        segments = {result.segment_id for result in results}
        assert not segments & self._segments, "the results of another caller"
        self._segments |= segments
        return " ".join(result.transcript for result in results if result.is_final)


def _with_silence(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    silence = np.zeros(_RATE_HZ, np.float32)
    return np.concatenate([silence[: _RATE_HZ // 4], sound, silence])


def _spoken(sound: NDArray[np.float32], rng: Random | None = None) -> list[Request]:
    """The messages of a caller who says it, and what else comes between them."""
    first = config(interim_results=rng is None or rng.random() < 0.7, language_code="en")
    messages = messages_of(_with_silence(sound))
    if rng is not None and rng.random() < 0.3:
        messages.insert(rng.randrange(len(messages)), assistant(speaking=False))
        messages.insert(rng.randrange(len(messages)), Request(turn=stt_pb2.TurnConfig()))
    return [first, *messages]
