"""What is heard, tick by tick."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.media_clock import TICK_S, TICK_SAMPLES
from orchestrator.playout import DUCKED_GAIN, End, Place, Playout


def ramp(count: int) -> NDArray[np.int16]:
    return (np.arange(count) % 30_000 + 1).astype(np.int16)


def test_an_utterance_is_played_sample_for_sample_from_its_start_tick() -> None:
    playout = Playout()
    speech = ramp(2 * TICK_SAMPLES + 100)
    playout.begin("u", start_tick=2)
    for chunk in np.array_split(speech, 7):
        playout.push("u", chunk)
    playout.complete("u")
    ticks = [playout.pull(n) for n in range(6)]
    assert [t.utterance_id for t in ticks] == [None, None, "u", "u", "u", None]
    assert [t.started for t in ticks] == [False, False, True, False, False, False]
    assert ticks[5].ended == ("u", End.COMPLETED, len(speech))
    heard = np.concatenate([t.samples for t in ticks[2:5]])
    np.testing.assert_array_equal(heard[: len(speech)], speech)
    assert not heard[len(speech) :].any()


def test_a_cut_fades_one_tick_and_nothing_follows() -> None:
    playout = Playout()
    playout.begin("u", 0)
    playout.push("u", np.full(10 * TICK_SAMPLES, 10_000, np.int16))
    playout.pull(0)
    playout.cut("u")
    assert playout.place_at(5 * TICK_S) is None
    fade = playout.pull(1)
    playout.push("u", ramp(TICK_SAMPLES))
    assert fade.utterance_id == "u"
    assert fade.samples[0] == pytest.approx(10_000, abs=20)
    assert fade.samples[-1] == 0
    assert np.all(np.diff(fade.samples) <= 0)
    after = playout.pull(2)
    assert after.ended == ("u", End.CUT, 2 * TICK_SAMPLES)
    assert not after.samples.any()
    assert playout.pull(3).ended is None


def test_a_cut_before_the_first_sample_is_silent() -> None:
    playout = Playout()
    playout.begin("u", 5)
    playout.push("u", ramp(TICK_SAMPLES))
    playout.cut("u")
    assert playout.pull(0).ended == ("u", End.CUT, 0)


def test_what_is_dropped_leaves_no_fade_and_the_next_may_begin() -> None:
    playout = Playout()
    playout.begin("u", 0)
    playout.push("u", np.full(10 * TICK_SAMPLES, 10_000, np.int16))
    playout.pull(0)
    playout.drop("another")
    assert playout.utterance_id == "u"
    playout.drop("u")
    after = playout.pull(1)
    assert after.ended is None
    assert not after.samples.any()
    playout.begin("v", 2)


def test_late_speech_leaves_a_gap_and_loses_nothing() -> None:
    playout = Playout()
    playout.begin("u", 0)
    playout.push("u", ramp(TICK_SAMPLES))
    first, gap = playout.pull(0), playout.pull(1)
    playout.push("u", ramp(TICK_SAMPLES) + np.int16(5))
    second = playout.pull(2)
    assert first.utterance_id == second.utterance_id == "u"
    assert gap.utterance_id is None
    assert playout.gap_ticks == 1
    assert second.samples[0] == 6


def test_ticks_left_out_by_a_stall_cost_the_utterance_nothing() -> None:
    playout = Playout()
    playout.begin("u", 0)
    playout.push("u", ramp(3 * TICK_SAMPLES))
    playout.pull(0)
    assert playout.pull(9).samples[0] == TICK_SAMPLES + 1


def test_the_place_at_a_media_time_follows_the_samples() -> None:
    playout = Playout()
    assert playout.place_at(0.0) is None
    playout.begin("u", start_tick=3)
    playout.push("u", ramp(4 * TICK_SAMPLES))
    assert playout.place_at(3 * TICK_S) == Place("u", 0)
    assert playout.place_at(2 * TICK_S) == Place("u", -TICK_SAMPLES)
    for tick in range(5):
        playout.pull(tick)
    assert playout.place_at(5 * TICK_S) == Place("u", 2 * TICK_SAMPLES)
    playout.complete("u")
    assert playout.place_at(7 * TICK_S) is None


def test_ducking_is_a_ramp_and_goes_back() -> None:
    playout = Playout()
    playout.begin("u", 0)
    playout.push("u", np.full(20 * TICK_SAMPLES, 10_000, np.int16))
    playout.pull(0)
    playout.duck(ducked=True)
    softer = np.concatenate([playout.pull(n).samples for n in range(1, 5)])
    assert np.abs(np.diff(softer.astype(int))).max() < 10
    assert softer[-1] == pytest.approx(10_000 * DUCKED_GAIN, abs=2)
    playout.duck(ducked=False)
    assert np.concatenate([playout.pull(n).samples for n in range(5, 9)])[-1] == 10_000
