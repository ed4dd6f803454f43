"""Random messages in random order, some of them no messages at all, over real gRPC: no bug, no leak, no harm."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
import structlog
from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2
from avatar.stt.v1 import stt_pb2
from avatar.tts.v1 import tts_pb2
from google.protobuf.message import Message

from tests.fuzz.messages import MessageMaker
from tests.fuzz.serving import MAX_STREAMS, serving_render, serving_stt, serving_tts

# CI takes a part; AVATAR_FUZZ_STREAMS=10000 is the whole of it.
STREAMS = int(os.environ.get("AVATAR_FUZZ_STREAMS", "700"))
SEED = int(os.environ.get("AVATAR_FUZZ_SEED", "1"))
# A call that takes longer hangs.
LONGEST_CALL_S = 20.0
SHORTEST_SENTENCE = 15
REFUSALS = {
    *(grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND),
    *(grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.RESOURCE_EXHAUSTED),
}
FORMAT = media_pb2.AudioFormat(encoding=media_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=16_000, channel_count=1)


@dataclass(frozen=True)
class Stream:
    """A method to try.

    Args:
        serving: a channel to it, given a data directory with models.
        path: of the method, as gRPC has it.
        request, response: its messages; those of the requests are one `oneof`.
        config: a first message that is right, and what is then sent to see that all is well.
        hints: values that get past the first check, by field name.
    """

    serving: Callable[[Path], AbstractAsyncContextManager[grpc.aio.Channel]]
    path: str
    request: type[Message]
    response: type[Message]
    config: Message
    good: Sequence[Message]
    hints: Mapping[str, Sequence[Any]]


_RENDER = render_pb2.StreamingRenderRequest
_STT = stt_pb2.StreamingRecognizeRequest
_TTS = tts_pb2.StreamingSynthesizeRequest
_IDS = ("a", "b", "c")
_STREAMS = {
    "render": Stream(
        serving_render,
        "/avatar.render.v1.RenderService/StreamingRender",
        _RENDER,
        render_pb2.StreamingRenderResponse,
        _RENDER(
            config=render_pb2.RenderConfig(
                avatar="avatars/default",
                video_format=render_pb2.VideoFormat(codec=render_pb2.VIDEO_CODEC_I420, width=256, height=256),
                audio_format=FORMAT,
            )
        ),
        [_RENDER(frame=_RENDER.FrameRequest())],
        {
            "avatar": ("avatars/default", "avatars/none"),
            "utterance_id": _IDS,
            "data": (bytes(640), bytes(32_000), b"\x7f" * 3200),
            "frame_index": range(1, 40),
            "seconds": range(4),
            "nanos": (0, 40_000_000, 999_999_999),
        },
    ),
    "stt": Stream(
        serving_stt,
        "/avatar.stt.v1.SpeechToTextService/StreamingRecognize",
        _STT,
        stt_pb2.StreamingRecognizeResponse,
        _STT(config=stt_pb2.StreamingRecognitionConfig(audio_format=FORMAT, interim_results=True)),
        [_STT(audio=b"\x00\x40" * 16_000), _STT(audio=bytes(32_000))],
        {
            "audio": (bytes(640), bytes(32_000), b"\x00\x40" * 320, b"\x00\x40" * 16_000),
            "language_code": ("en", "de-AT", "xx"),
            "seconds": (0, 1, 2),
            "nanos": (0, 100_000_000, 500_000_000),
        },
    ),
    "tts": Stream(
        serving_tts,
        "/avatar.tts.v1.TextToSpeechService/StreamingSynthesize",
        _TTS,
        tts_pb2.StreamingSynthesizeResponse,
        _TTS(config=tts_pb2.SynthesisConfig()),
        [_TTS(text=_TTS.TextChunk(utterance_id="good", text="one two", last=True))],
        {
            "utterance_id": _IDS,
            "text": ("one ", "two. ", "three, four! ", "broken ", "\n\n", "12.5 %"),
            "voice": ("voices/beep", "voices/none"),
            "language_code": ("en", "de-AT", "xx"),
            "speaking_rate": (1.0, 2.0),
            "sample_rate_hertz": (16_000, 8_000, 48_000),
        },
    ),
}


@pytest.fixture(params=_STREAMS)
def stream(request: pytest.FixtureRequest) -> Stream:
    return _STREAMS[request.param]


def _serialized(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


def _call(stream: Stream, channel: grpc.aio.Channel) -> Any:
    return channel.stream_stream(
        stream.path, request_serializer=_serialized, response_deserializer=stream.response.FromString
    )


def requests(stream: Stream, rng: Random) -> list[Message | bytes]:
    """What one caller sends: mostly a right config first, then anything."""
    maker = MessageMaker(rng, stream.hints)

    def anything() -> Message | bytes:
        message = stream.request()
        field: Any = rng.choice(stream.request.DESCRIPTOR.oneofs_by_name["request"].fields)
        if field.message_type is not None:
            inner = getattr(message, field.name)
            inner.SetInParent()
            maker.fill(inner, rng.choice((0.3, 0.8, 1.0)))
        else:
            setattr(message, field.name, rng.choice(stream.hints[field.name]))
        if rng.random() < 0.03:
            return _serialized(message)[:-1] + rng.randbytes(rng.choice((0, 1, 9)))
        return message

    first = stream.request()
    first.CopyFrom(stream.config)
    if rng.random() < 0.3:
        maker.disturb(first.config)  # type: ignore[attr-defined]
    sent: list[Message | bytes] = [first] if rng.random() < 0.9 else []
    return sent + [anything() for _ in range(rng.choice((0, 1, 3, 8, 20)))]


async def _one(stream: Stream, channel: grpc.aio.Channel, seed: int) -> grpc.StatusCode:
    rng = Random(seed)
    sent = requests(stream, rng)
    # Some callers go away in the middle, some without having read anything.
    read_up_to = rng.choice((None, None, None, 0, 1, 5))

    async def sending() -> AsyncIterator[Message | bytes]:
        for message in sent:
            yield message

    call = _call(stream, channel)(sending())
    try:
        async with asyncio.timeout(LONGEST_CALL_S):
            count = 0
            while count != read_up_to and await call.read() is not grpc.aio.EOF:
                count += 1
            if count == read_up_to:
                call.cancel()
            code: grpc.StatusCode = await call.code()
            return code
    except grpc.aio.AioRpcError as error:
        if error.details() == "Internal error from Core":
            # The client's own: it was sending when the refusal came. The server's bugs stand in its log.
            return grpc.StatusCode.ABORTED
        if error.code() not in REFUSALS or len(str(error.details())) < SHORTEST_SENTENCE:
            pytest.fail(f"seed {seed}: {error.code()} {error.details()}")
        return error.code()
    except TimeoutError:
        pytest.fail(f"seed {seed}: the call hangs")
    except asyncio.CancelledError:
        if call.cancelled():
            return grpc.StatusCode.CANCELLED
        raise
    finally:
        # One that failed while it was sending would wait for its status for ever.
        call.cancel()


async def _is_well(stream: Stream, channel: grpc.aio.Channel) -> None:
    """Every slot takes a good call."""

    async def good() -> None:
        while True:
            try:
                answers = [answer async for answer in _call(stream, channel)([stream.config, *stream.good])]
            except grpc.aio.AioRpcError as error:
                # A call that was cut off gives its place back a moment later.
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
            else:
                assert answers[0].HasField("started")
                assert len(answers) > 1
                return

    async with asyncio.timeout(LONGEST_CALL_S), asyncio.TaskGroup() as tasks:
        for _ in range(MAX_STREAMS):
            tasks.create_task(good())


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_no_order_of_messages_breaks_a_stream_or_leaves_anything_behind(
    stream: Stream, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = sorted(path.name for path in data_dir.rglob("*"))
    seeds = iter(range(SEED * 1_000_000, SEED * 1_000_000 + STREAMS))
    ended: dict[grpc.StatusCode, int] = {}
    with structlog.testing.capture_logs() as events, caplog.at_level(logging.WARNING):
        async with stream.serving(data_dir) as channel:

            async def caller() -> None:
                for seed in seeds:
                    code = await _one(stream, channel, seed)
                    ended[code] = ended.get(code, 0) + 1

            async with asyncio.TaskGroup() as callers:
                for _ in range(MAX_STREAMS - 1):
                    callers.create_task(caller())
            await _is_well(stream, channel)
    assert [event for event in events if event["log_level"] == "error"] == []
    assert [record.getMessage() for record in caplog.records] == []
    after = sorted(path.name for path in data_dir.rglob("*"))
    # The faces that are kept, and what an engine made of the default one, have folders.
    assert after in (before, sorted([*before, "avatars", "prepared", "default"]))
    # The noise reaches what it is to reach: some calls succeed, and each way of refusing is taken.
    assert {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION} <= set(ended)
