"""The engine is a part ahead of its caller, never two, and whoever waits for it can be called off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from services.common.errors import EngineError
from services.tts.engine import Style
from services.tts.narration import Chunk
from services.tts.recital import Recital
from services.tts.slots import Slot, Slots
from services.tts.text import Segmenter
from tests.fakes.speaking_engine import BROKEN, ENDLESS, RATE_HZ, SpeakingSpeaker

STYLE = Style("beep", "en", 1.0)


@dataclass(frozen=True)
class Saying:
    """An utterance whose text the test writes."""

    recital: Recital
    text: Segmenter
    speaker: SpeakingSpeaker
    slot: Slot

    async def parts_made(self) -> int:
        """Once the engine has nothing to do."""
        await asyncio.sleep(0)
        await self.slot.thread.run(int)
        return self.speaker.chunks_made

    async def rest(self) -> list[Chunk]:
        """All chunks that there are without more text."""
        chunks = []
        while (chunk := await self.recital.next()) is not None:
            chunks.append(chunk)
        return chunks


@asynccontextmanager
async def saying(text: str) -> AsyncIterator[Saying]:
    speaker, segments = SpeakingSpeaker(), Segmenter("sentence", 100)
    segments.add(text)
    slots = Slots([speaker])
    with slots.lend() as slot:
        recital = Recital(slot, STYLE, segments, RATE_HZ, RATE_HZ)
        try:
            yield Saying(recital, segments, speaker, slot)
        finally:
            await recital.close()
    slots.close()


def words(chunks: list[Chunk]) -> list[str]:
    return [word.word for chunk in chunks for word in chunk.words]


async def test_the_engine_makes_the_next_part_while_this_one_is_sent_and_then_waits() -> None:
    async with saying("aaaa bbbb cccc dddd. ") as said:
        assert await said.recital.next() is not None
        assert await said.parts_made() == 2
        # A part is 0.4 s, ten chunks.
        for _ in range(9):
            await said.recital.next()
        assert await said.parts_made() == 2
        first_of_second = await said.recital.next()
        assert first_of_second is not None
        assert words([first_of_second]) == ["bbbb"]
        assert await said.parts_made() == 3


async def test_it_goes_on_into_the_next_segment() -> None:
    async with saying("aaaa. bbbb. cccc. ") as said:
        await said.recital.next()
        # The end of the first segment is a part of its own, without the engine's work.
        for _ in range(10):
            await said.recital.next()
        assert await said.parts_made() == 2


async def test_text_that_comes_while_the_caller_reads_is_said_without_another_word() -> None:
    async with saying("one. ") as said:
        heard = [await said.recital.next()]
        # By now it was seen that there is no more text.
        await said.parts_made()
        said.text.add("two. three")
        said.text.complete()
        rest = await said.rest()
        assert words([chunk for chunk in heard if chunk] + rest) == ["one", "two", "three"]
        assert said.recital.is_over


async def test_without_more_text_there_is_nothing_until_it_comes() -> None:
    async with saying("one. tw") as said:
        assert words(await said.rest()) == ["one"]
        assert not said.recital.is_over
        said.text.add("o. ")
        assert words(await said.rest()) == ["two"]
        assert not said.recital.is_over
        said.text.complete()
        assert await said.rest() != []
        assert said.recital.is_over


async def test_who_waits_for_the_engine_is_called_off_at_once_and_the_engine_when_it_can_be() -> None:
    async with saying(ENDLESS) as said:
        said.text.complete()
        said.speaker.may_work.clear()
        waiting = asyncio.create_task(said.recital.next())
        await asyncio.to_thread(said.speaker.is_held.wait, 20)
        said.recital.interrupt()
        assert await waiting is None
        assert await said.recital.next() is None
        said.speaker.may_work.set()
    assert (said.speaker.chunks_made, said.speaker.chunks_closed) == (1, 1)


async def test_what_was_made_is_heard_before_the_engine_failed() -> None:
    async with saying(f"one {BROKEN}") as said:
        said.text.complete()
        # A word of three letters is 0.3 s.
        heard = [await said.recital.next() for _ in range(7)]
        assert words([chunk for chunk in heard if chunk]) == ["one"]
        with pytest.raises(EngineError, match="hoarse"):
            await said.recital.next()


async def test_a_failure_that_nobody_waits_for_is_forgotten() -> None:
    async with saying(f"one {BROKEN}") as said:
        said.text.complete()
        await said.recital.next()
        await said.parts_made()
    assert said.speaker.chunks_closed == 1
