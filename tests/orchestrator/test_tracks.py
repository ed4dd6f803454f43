"""Media is released by the clock: in steady time, late sound skipped, pictures never queued."""

from __future__ import annotations

import asyncio
from typing import Any

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from orchestrator.media_clock import TICK_S, TICK_SAMPLES, MediaClock
from orchestrator.playout import Tick
from orchestrator.tracks import HOLD_S, Encoded, FaceTrack, Picture, SpeechTrack


class ScriptedClock(MediaClock):
    """Media time that stands where the test puts it; waiting moves it on."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(now=lambda: self.now_s)

    async def sleep_until(self, media_s: float) -> None:
        self.now_s = max(self.now_s, media_s)


class StoppingClock(ScriptedClock):
    """Stops a track while it waits for its time."""

    track: MediaStreamTrack

    async def sleep_until(self, media_s: float) -> None:
        await super().sleep_until(media_s)
        self.track.stop()


def silence(tick: int) -> Tick:
    return Tick(np.zeros(TICK_SAMPLES, np.int16), None)


async def test_sound_leaves_in_exact_ticks() -> None:
    clock = ScriptedClock()
    track = SpeechTrack(clock, silence)
    decoder = av.CodecContext.create("libopus", "r")
    packets = [await track.recv() for _ in range(5)]
    assert [packet.pts for packet in packets] == [n * TICK_SAMPLES for n in range(1, 6)]
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    assert {frame.samples for frame in frames[1:]} == {TICK_SAMPLES}
    assert clock.now_s == 5 * TICK_S


async def test_after_a_stall_late_ticks_are_skipped_and_not_sent_in_a_burst() -> None:
    clock = ScriptedClock()
    track = SpeechTrack(clock, silence)
    await track.recv()
    clock.now_s += 0.3
    after = await track.recv()
    assert after.pts == clock.tick * TICK_SAMPLES
    assert track.skipped_ticks == 14
    assert (await track.recv()).pts == after.pts + TICK_SAMPLES


async def test_a_short_delay_is_caught_up_without_loss() -> None:
    clock = ScriptedClock()
    track = SpeechTrack(clock, silence)
    await track.recv()
    clock.now_s += 0.05
    assert [(await track.recv()).pts for _ in range(2)] == [2 * TICK_SAMPLES, 3 * TICK_SAMPLES]
    assert track.skipped_ticks == 0


def picture(media_s: float, utterance_id: str = "") -> Picture:
    return Picture(b"", 512, media_s, utterance_id)


async def encode(shown: Picture, pts: int) -> Encoded:
    packet: av.Packet[Any] = av.Packet(shown.utterance_id.encode() or b"-")
    packet.pts = pts
    return packet


async def test_a_picture_is_released_a_little_after_the_sound_of_its_instant() -> None:
    clock = ScriptedClock()
    track = FaceTrack(clock, encode)
    track.offer(picture(0.04))
    packet = await track.recv()
    assert (clock.now_s, packet.pts) == (0.04 + HOLD_S, 3600)


async def test_a_picture_that_nobody_fetched_is_replaced() -> None:
    track = FaceTrack(ScriptedClock(), encode)
    for slot in range(1, 4):
        track.offer(picture(slot * 0.04))
    assert (await track.recv()).pts == 3 * 3600
    assert track.replaced == 2


async def test_a_picture_of_a_stopped_utterance_is_dropped_before_it_is_encoded() -> None:
    encoded: list[str] = []

    async def noting(shown: Picture, pts: int) -> Encoded:
        encoded.append(shown.utterance_id)
        return await encode(shown, pts)

    track = FaceTrack(ScriptedClock(), noting)
    track.may_show = lambda shown: shown.utterance_id != "stopped"
    track.offer(picture(0.04, "stopped"))
    receiving = asyncio.ensure_future(track.recv())
    await asyncio.sleep(0)
    track.offer(picture(0.08, "next"))
    await receiving
    assert encoded == ["next"]


async def test_a_track_that_was_replaced_takes_no_sound_from_the_one_that_goes_on() -> None:
    pulled: list[int] = []

    def pull(tick: int) -> Tick:
        pulled.append(tick)
        return silence(tick)

    clock = StoppingClock()
    clock.track = track = SpeechTrack(clock, pull)
    with pytest.raises(MediaStreamError):
        await track.recv()
    assert pulled == []


async def test_a_track_that_was_replaced_encodes_no_picture() -> None:
    async def encode(picture: Picture, pts: int) -> Encoded:
        raise AssertionError("its encoder is gone")

    clock = StoppingClock()
    clock.track = track = FaceTrack(clock, encode)
    track.offer(Picture(b"", 2, 0.1, ""))
    with pytest.raises(MediaStreamError):
        await track.recv()
