"""One utterance from its text to its chunks: the engine works on its own thread, a part ahead of what is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator

from services.tts.engine import SpeechChunk, Style
from services.tts.narration import Chunk, Narration
from services.tts.slots import Slot
from services.tts.text import Segment, Segmenter


class Recital:
    """Speaks the segments of an utterance in their order.

    While the chunks of one part go to the caller, the engine makes the next part and then waits. So no more than a part
    is made in vain, and an engine that is faster than speech leaves no gap for a caller who reads a part ahead.
    """

    def __init__(self, slot: Slot, style: Style, segments: Segmenter, engine_rate_hz: int, output_rate_hz: int) -> None:
        """Args: segments: of the utterance; text may still be added to it."""
        self._slot = slot
        self._style = style
        self._segments = segments
        self._narration = Narration(style.speaking_rate, engine_rate_hz, output_rate_hz)
        self._segment: Segment | None = None
        self._speech: Generator[SpeechChunk, None, None] | None = None
        self._ready: Iterator[Chunk] = iter(())
        self._ahead: asyncio.Task[Iterator[Chunk] | None] | None = None
        self._is_interrupted = False
        # All of a complete text has been made, the silence at its end too; once `next` has nothing more, it was said.
        self.is_over = False

    async def next(self) -> Chunk | None:
        """The next chunk; None if there is none without more text, or the recital `is_over` or was interrupted.

        Raises: EngineError.
        """
        while (chunk := next(self._ready, None)) is None and not self._is_interrupted:
            # What was looked for earlier may have been there only since.
            is_new = self._ahead is None
            self._ahead = ahead = self._ahead or asyncio.create_task(self._make())
            await asyncio.wait([ahead])
            if ahead.cancelled():
                return None
            self._ahead = None
            if (part := ahead.result()) is not None:
                self._ready = part
                self._ahead = asyncio.create_task(self._make())
            elif is_new:
                return None
        return chunk

    async def _make(self) -> Iterator[Chunk] | None:
        """The chunks of the next part; None if there is nothing to say now."""
        if self._speech is None:
            self._segment = self._segments.take()
            if self._segment is None:
                if self.is_over or not self._segments.is_complete:
                    return None
                self.is_over = True
                return self._narration.finish()
            self._speech = self._slot.speaker.speak(self._segment.text, self._style)
        speech = await self._slot.thread.run(next, self._speech, None)
        if speech is None:
            self._speech = None
            return self._narration.end_segment()
        assert self._segment is not None
        return self._narration.speak(self._segment, speech)

    def interrupt(self) -> None:
        """Let whoever waits for the next chunk wait no longer; there will be none."""
        self._is_interrupted = True
        self._ready = iter(())
        if self._ahead is not None:
            self._ahead.cancel()

    async def close(self) -> None:
        """End the engine's work, behind the part that it may still be making."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.wait([self._ahead])
            if not self._ahead.cancelled():
                # A failure that nobody waits for any more.
                self._ahead.exception()
        if self._speech is not None:
            await self._slot.thread.run(self._speech.close)
