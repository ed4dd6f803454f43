"""The two media tracks of a conversation, released by its clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from orchestrator import metrics
from orchestrator.audio_encoder import AudioEncoder
from orchestrator.media_clock import TICK_S, MediaClock
from orchestrator.playout import Tick
from orchestrator.video_encoder import VIDEO_CLOCK_HZ

# Pictures leave this much after the sound of the same instant: a browser keeps sound longer than pictures before it
# plays it. It rests anywhere within 30 ms of together (Chromium corrects nothing less), in steps of one packet of
# sound: with 40 ms its resting places were -10 and -27 ms, with 25 they are 1 to 12.
HOLD_S = 0.025
# A stall of the event loop longer than this is skipped: sent late in a burst, the browser would keep its delay for
# seconds.
_MAX_LATE_TICKS = 3


class SpeechTrack(MediaStreamTrack):
    """20 ms of sound per tick, silence included, each at its time."""

    kind = "audio"

    def __init__(self, clock: MediaClock, pull: Callable[[int], Tick]) -> None:
        """Args: pull: gives the sound of a tick; called once per tick, in order, when it is due."""
        super().__init__()
        self._clock = clock
        self._pull = pull
        self._encoder = AudioEncoder()
        self._tick: int | None = None
        self.skipped_ticks = 0

    async def recv(self) -> av.Packet[Any]:
        if self.readyState != "live":
            raise MediaStreamError
        # Before the first fetch nothing was late.
        self._tick = (self._clock.tick if self._tick is None else self._tick) + 1
        late = self._clock.tick - self._tick
        if late > _MAX_LATE_TICKS:
            self._tick += late
            self.skipped_ticks += late
            metrics.AUDIO_SKIPPED_SECONDS.inc(late * TICK_S)
        await self._clock.sleep_until(self._tick * TICK_S)
        # Another track may have gone on meanwhile, and what is pulled is gone.
        if self.readyState != "live":
            raise MediaStreamError
        return self._encoder.encode(self._pull(self._tick).samples, self._tick)


# A string: PyAV's packet is generic for the type checker only.
Encoded: TypeAlias = "av.Packet[av.VideoStream] | av.VideoFrame"


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame that shows media time `media_s`: planar 4:2:0, size * size * 3 / 2 bytes."""

    i420: bytes
    size: int
    media_s: float
    utterance_id: str


class FaceTrack(MediaStreamTrack):
    """Pictures, each encoded and released at its time.

    A picture that was not fetched in time is replaced by the next, never queued. One that may no longer be shown is
    dropped before it is encoded, because the frames after it build on every frame that was.
    """

    kind = "video"

    def __init__(self, clock: MediaClock, encode: Callable[[Picture, int], Awaitable[Encoded]]) -> None:
        """Args: encode: makes what is sent of a picture with a time in 1/90000 s."""
        super().__init__()
        self._clock = clock
        self._encode = encode
        self._next: Picture | None = None
        self._offered = asyncio.Event()
        self.may_show: Callable[[Picture], bool] = lambda _: True
        self.on_sent: Callable[[Picture], None] = lambda _: None
        self.replaced = 0

    def offer(self, picture: Picture) -> None:
        """Show a picture when it is due."""
        if self._next is not None:
            self.replaced += 1
            metrics.FRAMES_DROPPED.inc()
        self._next = picture
        self._offered.set()

    async def recv(self) -> Encoded:
        while self.readyState == "live":
            await self._offered.wait()
            self._offered.clear()
            picture, self._next = self._next, None
            if picture is None:
                continue
            await self._clock.sleep_until(picture.media_s + HOLD_S)
            if self.readyState != "live":
                break
            if not self.may_show(picture):
                metrics.FRAMES_DROPPED.inc()
                continue
            encoded = await self._encode(picture, round(picture.media_s * VIDEO_CLOCK_HZ))
            self.on_sent(picture)
            metrics.FRAMES_SENT.inc()
            return encoded
        raise MediaStreamError

    def stop(self) -> None:
        super().stop()
        self._offered.set()
