"""The writer against a caller who reads slowly or not at all: cancel, order and limits, step by step."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from avatar.tts.v1 import tts_pb2

from services.common.errors import ProtocolError
from services.common.streaming import write_within
from services.common.timing import samples_of
from services.tts.engine import resolve_style
from services.tts.slots import Slots
from services.tts.stream import SynthesisStream
from services.tts.voice_store import VoiceStore
from services.tts.voices import Voices
from tests.fakes.speaking_engine import ENDLESS, RATE_HZ, SpeakingEngine
from tests.services.tts.serving import End, cancel, text

Message = tts_pb2.StreamingSynthesizeResponse


class SlowReader:
    """A call whose caller takes one message at a time, and only when the test says so."""

    def __init__(self) -> None:
        self._offered: asyncio.Queue[Message] = asyncio.Queue()
        self._taken = asyncio.Semaphore(0)

    async def write(self, message: Message) -> None:
        self._offered.put_nowait(message)
        await self._taken.acquire()

    async def peek(self) -> Message:
        """The message that the writer is blocked on."""
        return await self._offered.get()

    async def read(self) -> Message:
        """Take the next message and let the writer go on."""
        message = await self.peek()
        self._taken.release()
        return message

    def let_go_on(self) -> None:
        self._taken.release()


class Requests:
    """What the caller sends; `send` returns when the server has accepted it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tts_pb2.StreamingSynthesizeRequest | None] = asyncio.Queue()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aiter__(self) -> AsyncIterator[tts_pb2.StreamingSynthesizeRequest]:
        while (request := await self._queue.get()) is not None:
            yield request
            self._queue.task_done()

    async def send(self, request: tts_pb2.StreamingSynthesizeRequest) -> None:
        self._queue.put_nowait(request)
        await self._queue.join()

    def close(self) -> None:
        self._queue.put_nowait(None)


@asynccontextmanager
async def streaming(engine: SpeakingEngine, idle_timeout_s: float = 30.0) -> AsyncIterator[tuple[Requests, SlowReader]]:
    requests, reader, slots = Requests(), SlowReader(), Slots(engine.speakers)
    with slots.lend() as slot, tempfile.TemporaryDirectory() as directory:
        style = resolve_style(engine.capabilities, "", "", 1)
        voices = Voices(engine.capabilities, VoiceStore(Path(directory), 0))
        stream = SynthesisStream(reader, slot, engine.capabilities, voices, style, RATE_HZ, idle_timeout_s)
        running = asyncio.create_task(stream.run(aiter(requests)))
        running.add_done_callback(lambda _: requests.ended.set_result(None))
        try:
            yield requests, reader
        finally:
            requests.close()
            await asyncio.wait_for(running, timeout=20)
    slots.close()


async def until_audio(reader: SlowReader) -> Message:
    while not (message := await reader.peek()).HasField("audio"):
        reader.let_go_on()
    return message


async def test_a_cancel_overtakes_a_writer_whose_caller_does_not_read() -> None:
    async with streaming(SpeakingEngine()) as (requests, reader):
        await requests.send(text("a", ENDLESS, last=True))
        blocked = await until_audio(reader)
        await requests.send(cancel("a"))
        reader.let_go_on()
        end = (await reader.read()).utterance_end
    assert (end.utterance_id, end.reason) == ("a", End.REASON_CANCELLED)
    # The chunk that was on its way when the cancel came is the last one, and it counts.
    assert samples_of(end.audio_duration, RATE_HZ) == len(blocked.audio.data) // 2


async def test_a_cancel_between_timing_and_audio_keeps_the_audio_back() -> None:
    async with streaming(SpeakingEngine()) as (requests, reader):
        await requests.send(text("a", ENDLESS, last=True))
        assert (await reader.peek()).HasField("timing")
        await requests.send(cancel("a"))
        reader.let_go_on()
        end = (await reader.read()).utterance_end
    assert (end.reason, samples_of(end.audio_duration, RATE_HZ)) == (End.REASON_CANCELLED, 0)


async def test_a_cancel_while_the_engine_works_is_told_at_once_and_drops_the_chunk_that_it_makes() -> None:
    engine = SpeakingEngine()
    (speaker,) = engine.speakers
    async with streaming(engine) as (requests, reader):
        speaker.may_work.clear()
        await requests.send(text("a", ENDLESS, last=True))
        await asyncio.to_thread(speaker.is_held.wait, 20)
        await requests.send(cancel())
        end = (await reader.read()).utterance_end
        assert (end.reason, samples_of(end.audio_duration, RATE_HZ)) == (End.REASON_CANCELLED, 0)
        speaker.may_work.set()
    assert (speaker.chunks_made, speaker.chunks_closed) == (1, 1)


async def test_the_next_utterance_is_spoken_only_when_the_engine_has_put_down_the_one_that_was_dropped() -> None:
    engine = SpeakingEngine()
    (speaker,) = engine.speakers
    async with streaming(engine) as (requests, reader):
        await requests.send(text("a", ENDLESS, last=True))
        await until_audio(reader)
        speaker.may_work.clear()
        await requests.send(cancel("a"))
        await requests.send(text("b", "next", last=True))
        reader.let_go_on()
        assert (await reader.read()).utterance_end.utterance_id == "a"
        speaker.may_work.set()
        assert (await until_audio(reader)).audio.utterance_id == "b"
        assert speaker.chunks_closed >= 1
        await requests.send(cancel())
        reader.let_go_on()
        assert (await reader.read()).utterance_end.utterance_id == "b"


async def test_a_queued_utterance_is_dropped_while_another_is_spoken() -> None:
    async with streaming(SpeakingEngine()) as (requests, reader):
        await requests.send(text("a", ENDLESS, last=True))
        await requests.send(text("b", "never heard", last=True))
        await until_audio(reader)
        await requests.send(cancel("b"))
        reader.let_go_on()
        end = (await reader.read()).utterance_end
        assert (end.utterance_id, end.reason, end.audio_duration.nanos) == ("b", End.REASON_CANCELLED, 0)
        assert (await until_audio(reader)).audio.utterance_id == "a"
        await requests.send(cancel())
        reader.let_go_on()
        assert (await reader.read()).utterance_end.utterance_id == "a"


async def test_a_queued_utterance_is_dropped_while_the_one_before_it_waits_for_text() -> None:
    async with streaming(SpeakingEngine()) as (requests, reader):
        await requests.send(text("a", "not a whole sentence"))
        await requests.send(text("b", "never heard", last=True))
        await requests.send(cancel("b"))
        assert (await reader.read()).utterance_end.utterance_id == "b"
        await requests.send(cancel("a"))
        assert (await reader.read()).utterance_end.utterance_id == "a"


async def test_the_engine_is_asked_for_no_more_than_the_caller_reads() -> None:
    engine = SpeakingEngine()
    (speaker,) = engine.speakers
    async with streaming(engine) as (requests, reader):
        await requests.send(text("a", ENDLESS, last=True))
        for _ in range(30):
            await reader.read()
        await reader.peek()
        # Each of the engine's chunks is 0.7 s, so a handful covers what was read.
        assert speaker.chunks_made <= 3
        await requests.send(cancel())
        reader.let_go_on()
        await reader.read()


async def read_nothing() -> None:
    async with streaming(SpeakingEngine(), idle_timeout_s=0.05) as (requests, reader):
        await requests.send(text("a", ENDLESS, last=True))
        await reader.peek()


async def test_a_caller_who_reads_nothing_is_let_go() -> None:
    with pytest.raises(ExceptionGroup) as ended:
        await read_nothing()
    assert ended.group_contains(ProtocolError, match=r"nothing (came|was read) for 0\.05 s")


class GoneCaller:
    """A call as gRPC shows it between the caller's going and the handler's cancellation."""

    async def write(self, message: Message) -> None:
        raise grpc.aio.InternalError("execute_batch")


async def test_a_message_to_a_caller_who_has_gone_ends_the_handler_like_a_cancellation() -> None:
    with pytest.raises(asyncio.CancelledError):
        await write_within(GoneCaller(), Message(), 1.0)


async def listen_longer_than_the_limit_and_then_stay_silent(limit_s: float) -> None:
    async with streaming(SpeakingEngine(), idle_timeout_s=limit_s) as (requests, reader):
        await requests.send(text("a", ENDLESS, last=True))
        loop = asyncio.get_running_loop()
        begin = loop.time()
        while loop.time() < begin + 2 * limit_s:
            await reader.read()
        await requests.send(cancel())
        while not (await reader.read()).HasField("utterance_end"):
            pass
        await asyncio.wait_for(requests.ended, timeout=20)


async def test_a_caller_who_is_silent_is_let_go_but_not_while_it_listens() -> None:
    with pytest.raises(ExceptionGroup) as ended:
        await listen_longer_than_the_limit_and_then_stay_silent(0.3)
    assert ended.group_contains(ProtocolError, match=r"nothing came for 0\.3 s")
