"""What callers of a voice do, and what has to come of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import grpc
import numpy as np
from avatar.tts.v1 import tts_pb2
from numpy.typing import NDArray

from services.common.audio import samples_of_pcm16
from tests.services.tts.serving import End, Request, config, text
from tests.soak.calls import Ended, Method, Sent, ask, assert_refused, call, fill

_STREAM = Method("/avatar.tts.v1.TextToSpeechService/StreamingSynthesize", tts_pb2.StreamingSynthesizeResponse)
_WHOLE = Method("/avatar.tts.v1.TextToSpeechService/Synthesize", tts_pb2.SynthesizeResponse)
_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_ORDER = grpc.StatusCode.FAILED_PRECONDITION
# Rounding differs with how many speak at once, a million times less than texts do.
_SAME_WITHIN = 0.01
_WRONG: Sequence[tuple[Sequence[Request | bytes], grpc.StatusCode, str]] = (
    ([text("a", "Hello.")], _ORDER, "first message is config, not text"),
    ([Request()], _ORDER, "not an empty message"),
    ([], _ORDER, "not nothing"),
    ([config(), config()], _ORDER, "config came twice"),
    ([config(), Request()], _ORDER, "a message was empty"),
    ([b"\xff\xff\xff"], _INVALID, ""),
    ([config(), b"\xff\xff\xff"], _INVALID, ""),
    ([config(sample_rate_hz=100)], _INVALID, "8000"),
    ([config(speaking_rate=9.0)], _INVALID, "0.5"),
    ([config(voice="voices/nobody")], grpc.StatusCode.NOT_FOUND, "nobody"),
    ([config(language_code="xx")], grpc.StatusCode.UNIMPLEMENTED, "xx"),
    ([config(), text("", "Hello.")], _INVALID, "1 to 128 characters"),
    ([config(), text("a", "a" * 20_001)], _INVALID, "20"),
    ([config(), text("a", "a" * 8_000_000)], _INVALID, "20"),
)


class Voice:
    """That of one process, which draws nothing by chance: the same text has the same sound.

    Args: texts: one sentence each.
    """

    def __init__(self, texts: Sequence[str], max_streams: int) -> None:
        self._texts = texts
        self._max_streams = max_streams
        self._sounds: list[NDArray[np.float32]] = []

    async def alone(self, channel: grpc.aio.Channel) -> None:
        """Say each text while nobody else is there."""
        for said in self._texts:
            ended = await call(channel, _STREAM, [config(), text("alone", said, last=True)])
            assert ended.code is grpc.StatusCode.OK, ended.details
            self._sounds.append(_sound(ended, "alone"))
        least = min(difference(one, other) for one, other in itertools.combinations(self._sounds, 2))
        assert least > 2 * _SAME_WITHIN, "these texts cannot be told from each other"

    async def one(self, channel: grpc.aio.Channel, rng: Random) -> tuple[str, Ended]:
        """A call of any kind. Returns: of which kind, and how it ended. Raises: AssertionError."""
        index = rng.randrange(len(self._texts))
        said = self._texts[index]
        mine = f"{rng.getrandbits(64):x}"
        match rng.choice(("utterance", "utterance", "whole", "interrupt", "cancel", "hang up", "leave", "malformed")):
            case "utterance":
                ended = await call(channel, _STREAM, [config(), *_in_pieces(mine, said, rng)])
                if ended.code is grpc.StatusCode.OK:
                    self._check(ended, {mine: index})
                return "utterance", ended
            case "interrupt":
                return "interrupt", await self._interrupted(channel, mine, index, rng)
            case "whole":
                leaves = rng.random() < 0.3
                ended = await ask(channel, _WHOLE, tts_pb2.SynthesizeRequest(text=said), leaves=leaves)
                if ended.code is grpc.StatusCode.OK:
                    self._assert_same(samples_of_pcm16(ended.responses[0].audio[44:]), index)
                return "whole", ended
            case "malformed":
                sent, code, words = rng.choice(_WRONG)
                ended = await call(channel, _STREAM, sent)
                assert_refused(ended, code, words)
                return "malformed", ended
            case way:
                stays_for = 0 if way == "leave" else rng.randrange(1, 5)
                messages: list[Sent] = [config(), *_in_pieces(mine, said, rng), *_in_pieces(f"{mine}2", said, rng)]
                if rng.random() < 0.5:
                    # Nobody sets it: the caller falls silent.
                    messages.append(asyncio.Event())
                return way, await call(channel, _STREAM, messages, leaves_after=stays_for, hangs_up=way == "hang up")

    async def _interrupted(self, channel: grpc.aio.Channel, mine: str, index: int, rng: Random) -> Ended:
        """An utterance that is dropped while it is spoken, and another one after it."""
        is_spoken = asyncio.Event()

        def heard(response: Any) -> None:
            if response.HasField("audio") or response.HasField("utterance_end"):
                is_spoken.set()

        cancel = Request(cancel=Request.Cancel(utterance_id=mine if rng.random() < 0.5 else ""))
        after = _in_pieces(f"{mine}2", self._texts[index], rng)
        messages: list[Sent] = [config(), *_in_pieces(mine, " ".join(self._texts), rng), is_spoken, cancel, *after]
        ended = await call(channel, _STREAM, messages, on_response=heard)
        if ended.code is grpc.StatusCode.OK:
            self._check(ended, {mine: None, f"{mine}2": index})
        return ended

    async def fill(self, channel: grpc.aio.Channel) -> None:
        """Every place takes a good call, all at the same time. Raises: AssertionError, TimeoutError."""

        def check(index: int) -> Callable[[Ended], None]:
            return lambda ended: self._check(ended, {"full": index})

        indices = [number % len(self._texts) for number in range(self._max_streams)]
        said = [[config(), text("full", self._texts[index], last=True)] for index in indices]
        await fill(channel, _STREAM, list(zip(said, map(check, indices), strict=True)))

    def _check(self, ended: Ended, mine: dict[str, int | None]) -> None:
        """All went well, and only the caller's utterances were spoken. Args: mine: their texts; None was dropped."""
        assert ended.code is grpc.StatusCode.OK, ended.details
        assert not any(response.HasField("warning") for response in ended.responses), ended.responses[-1]
        ends = [response.utterance_end for response in ended.responses if response.HasField("utterance_end")]
        assert [end.utterance_id for end in ends] == list(mine)
        for part in ("audio", "timing"):
            assert {getattr(each, part).utterance_id for each in ended.responses if each.HasField(part)} <= set(mine)
        for end in ends:
            index = mine[end.utterance_id]
            if index is not None:
                assert end.reason == End.REASON_COMPLETED
                self._assert_same(_sound(ended, end.utterance_id), index)

    def _assert_same(self, sound: NDArray[np.float32], index: int) -> None:
        wanted = self._sounds[index]
        assert len(sound) == len(wanted), f"{len(sound)} samples, not {len(wanted)}"
        assert difference(sound, wanted) < _SAME_WITHIN, "not the sound of its text"


def difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Of two sounds of the same length, by the root of its mean square, with that of the second as 1."""
    return float(np.sqrt(np.mean((one - other) ** 2) / np.mean(other**2)))


def _sound(ended: Ended, utterance_id: str) -> NDArray[np.float32]:
    chunks = [response.audio for response in ended.responses if response.HasField("audio")]
    return samples_of_pcm16(b"".join(chunk.data for chunk in chunks if chunk.utterance_id == utterance_id))


def _in_pieces(utterance_id: str, said: str, rng: Random) -> list[Request]:
    """A text as an assistant writes it."""
    at = sorted(rng.sample(range(1, len(said)), k=min(rng.randrange(4), len(said) - 1)))
    pieces = [said[begin:end] for begin, end in zip([0, *at], [*at, len(said)], strict=True)]
    return [text(utterance_id, piece, last=number == len(pieces) - 1) for number, piece in enumerate(pieces)]
