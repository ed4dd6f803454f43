"""Streams whose speakers share one model: batched, heard at the first clause, dropped without harm to others."""

from __future__ import annotations

import asyncio
from typing import Any

from avatar.tts.v1 import tts_pb2

from tests.fakes.batching_engine import BatchingEngine
from tests.services.tts.serving import End, Stub, cancel, config, serving, text

COUNT = 4
STORY = "When it rains for days, nobody who lives there goes out. Then they read."


async def opened(tts: Stub) -> Any:
    """A stream that has been accepted."""
    call: Any = tts.StreamingSynthesize()
    await call.write(config())
    assert (await call.read()).HasField("started")
    return call


async def until_end(call: Any) -> tuple[bytes, tts_pb2.UtteranceEnd]:
    """What is still heard of the first utterance that ends, and how that ends."""
    pcm = b""
    while not (message := await call.read()).HasField("utterance_end"):
        pcm += message.audio.data
    return pcm, message.utterance_end


async def test_streams_that_wait_at_the_same_time_are_served_by_one_batch() -> None:
    engine = BatchingEngine(COUNT)
    async with serving(engine) as tts:
        engine.model.may_step.clear()
        calls = [await opened(tts) for _ in range(COUNT)]
        for number, call in enumerate(calls):
            await call.write(text("u", f"Word{number} and another. ", last=True))
        await asyncio.to_thread(engine.model.wait_until_asked_by, COUNT)
        engine.model.may_step.set()
        heard = await asyncio.gather(*(until_end(call) for call in calls))
    assert sorted(engine.model.batches[0]) == [f"Word{number}" for number in range(COUNT)]
    assert all(end.reason == End.REASON_COMPLETED for _, end in heard)
    assert len({len(pcm) for pcm, _ in heard}) == 1


async def test_the_first_clause_is_heard_while_the_rest_is_not_even_written() -> None:
    engine = BatchingEngine(1)
    async with serving(engine) as tts:
        call = await opened(tts)
        await call.write(text("u", STORY[: STORY.index("nobody") + 3]))
        while not (await call.read()).HasField("audio"):
            pass
        await call.write(text("u", STORY[STORY.index("nobody") + 3 :], last=True))
        _, end = await until_end(call)
    assert end.reason == End.REASON_COMPLETED
    assert [word for batch in engine.model.batches for word in batch] == [word.strip(",.") for word in STORY.split()]


async def test_a_cancel_ends_one_stream_within_its_chunk_and_no_other() -> None:
    engine = BatchingEngine(2)
    async with serving(engine) as tts:
        dropped, kept = [await opened(tts) for _ in range(2)]
        engine.model.may_step.clear()
        await dropped.write(text("u", "gone " * 40, last=True))
        await kept.write(text("u", "stays " * 8, last=True))
        await asyncio.to_thread(engine.model.wait_until_asked_by, 2)
        await dropped.write(cancel())
        await dropped.write(text("next", "after", last=True))
        engine.model.may_step.set()
        _, end = await until_end(dropped)
        assert end.reason == End.REASON_CANCELLED
        assert (await until_end(dropped))[1].reason == End.REASON_COMPLETED
        assert (await until_end(kept))[1].reason == End.REASON_COMPLETED
    words = [word for batch in engine.model.batches for word in batch]
    assert (words.count("stays"), words.count("after")) == (8, 1)
    # A chunk while the cancel is on its way, and one that is being made when it comes.
    assert words.count("gone") <= 3


async def test_a_language_has_its_own_longest_text() -> None:
    engine = BatchingEngine(1)
    async with serving(engine) as tts:
        for language in ("en", "de"):
            synthesis = tts_pb2.SynthesisConfig(language_code=language)
            await tts.Synthesize(tts_pb2.SynthesizeRequest(text=STORY, config=synthesis))
    spoken = engine.speakers[0].texts
    assert spoken[:3] == ["When it rains for days,", "nobody who lives there goes out.", "Then they read."]
    assert spoken[3:] == ["When it rains for days,", "nobody who lives there goes", "out.", "Then they read."]
