"""Recorded motion on a live face: it takes over, speech keeps the lips, and it lets go, all without a jump."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from services.render.blendshapes import BLENDSHAPE_NAMES, INDEX
from services.render.engine import Driving, FaceState
from services.render.expressions import ExpressionKind
from services.render.idle_motion import IdleLoop, IdleMotion
from services.render.performance import Moment, Performance
from services.render.speech_motion import VisemeCue
from services.render.visemes import Viseme
from tests.fakes.drawing_driven import Clip

FRAME_S = 0.04
MOUTH = np.array([name.startswith(("jaw", "mouth", "tongue")) for name in BLENDSHAPE_NAMES])
LONG_A = [VisemeCue(Viseme.AA, 0.1, 1.0)]


def played(performance: Performance, first: int, count: int, utterance_id: str = "") -> list[FaceState]:
    """States of consecutive frames; the utterance began with the first of all."""
    shown = []
    for k in range(first, first + count):
        shown.append(performance.state(k * FRAME_S, utterance_id, k * FRAME_S).state)
        performance.was_shown()
    return shown


def idle() -> Performance:
    return Performance(IdleMotion(1), 25)


def driving(state: FaceState) -> Driving:
    (only,) = state.driven
    return only


def test_nothing_drives_a_face_that_nobody_drives() -> None:
    assert not any(state.driven for state in played(idle(), 0, 10))


def test_motion_begins_with_the_next_frame_and_runs_with_the_callers_clock() -> None:
    performance = idle()
    played(performance, 0, 5)
    motion = Clip(2.0)
    performance.drive(motion)
    states = played(performance, 5, 50)
    for k, state in enumerate(states):
        assert driving(state).motion is motion
        assert driving(state).offset_s == pytest.approx(k * FRAME_S)
        assert driving(state).share == 1.0


def test_idle_motion_gives_way_and_comes_back_without_a_jump() -> None:
    alone, performance = idle(), idle()
    played(performance, 0, 50)
    played(alone, 0, 50)
    performance.drive(Clip(2.0))
    driven, undriven = played(performance, 50, 100), played(alone, 50, 100)
    # Within three tenths of a second nothing of it is left, until the motion has ended.
    for state in driven[9:50]:
        assert not state.weights.any()
        assert (state.pose.yaw, state.pose.pitch, state.pose.roll) == (0.0, 0.0, 0.0)
    for state, own in zip(driven[67:], undriven[67:], strict=True):
        np.testing.assert_array_equal(state.weights, own.weights)
        assert state.pose == own.pose
        assert not state.driven
    yaws = [state.pose.yaw for state in driven]
    assert max(abs(b - a) for a, b in pairwise(yaws)) < 0.6
    shares = [sum(d.share for d in state.driven) for state in driven]
    assert max(a - b for a, b in pairwise(shares)) < 0.12
    assert shares[40] == 1.0
    assert shares[70] == 0.0


def test_an_expression_waits_until_the_motion_has_ended() -> None:
    performance = idle()
    performance.set_expression(ExpressionKind.HAPPY, 1.0, 0.0)
    performance.drive(Clip(1.0))
    states = played(performance, 0, 60)
    smile = INDEX["mouthSmileLeft"]
    assert states[20].weights[smile] == 0.0
    assert states[59].weights[smile] > 0.9


def test_speech_keeps_the_lips_from_its_first_sound_to_its_end() -> None:
    performance = idle()
    performance.add_visemes("u", [VisemeCue(Viseme.SIL, 0.0, 0.5), VisemeCue(Viseme.AA, 0.5, 1.0)])
    performance.drive(Clip(10.0))
    states = played(performance, 0, 60, "u")
    speech = [driving(state).speech for state in states]
    assert speech[10] == 0.0
    assert speech[17] == 1.0
    # Through the silence behind it, until the utterance is over.
    assert speech[59] == 1.0
    after = [driving(state).speech for state in played(performance, 60, 10)]
    assert after[0] < 1.0
    assert after[9] == 0.0
    assert max(abs(b - a) for a, b in pairwise([*speech, *after])) <= FRAME_S / 0.12 + 1e-6


def test_the_mouth_speaks_as_it_does_without_motion_and_the_brows_are_the_motions() -> None:
    alone, performance = idle(), idle()
    for each in (alone, performance):
        each.add_visemes("u", LONG_A)
    performance.drive(Clip(10.0))
    driven, undriven = played(performance, 0, 25, "u"), played(alone, 0, 25, "u")
    np.testing.assert_allclose(driven[15].weights[MOUTH], undriven[15].weights[MOUTH], atol=1e-6)
    assert undriven[20].weights[INDEX["browInnerUp"]] > 0.05
    assert driven[20].weights[INDEX["browInnerUp"]] == 0.0


def test_an_utterance_without_sound_leaves_the_lips_to_the_motion() -> None:
    performance = Performance(IdleMotion(1), 25, 16_000)
    performance.add_audio("u", np.zeros(32_000, np.float32))
    performance.finish("u")
    performance.drive(Clip(10.0))
    assert not any(driving(state).speech for state in played(performance, 0, 40, "u"))


def test_new_motion_begins_while_the_old_one_lets_go() -> None:
    performance = idle()
    first, second = Clip(10.0), Clip(10.0)
    performance.drive(first)
    played(performance, 0, 20)
    performance.drive(second)
    old, new = performance.state(20 * FRAME_S).state.driven
    assert (old.motion, new.motion) == (first, second)
    assert (old.offset_s, new.offset_s) == pytest.approx((0.8, 0.0))
    assert old.share < 1.0 == new.share
    assert driving(played(performance, 21, 20)[-1]).motion is second


def test_motion_can_be_ended() -> None:
    performance = idle()
    performance.drive(Clip(10.0))
    played(performance, 0, 20)
    performance.drive(None)
    states = played(performance, 20, 20)
    assert driving(states[5]).share < 1.0
    assert not states[-1].driven


def test_who_sends_much_motion_keeps_two() -> None:
    performance = idle()
    for _ in range(100):
        performance.drive(Clip(10.0))
    assert len(performance.state(0.0).state.driven) <= 2


def test_a_driven_face_plays_no_idle_loop() -> None:
    performance = Performance(IdleLoop(1), 25)

    def moment(index: int) -> Moment:
        return performance.state(index * FRAME_S)

    assert moment(0).loop_s is not None
    performance.drive(Clip(1.0))
    assert all(moment(index).loop_s is None for index in range(1, 35))
    assert moment(60).loop_s is not None


def test_a_clock_that_stands_still_moves_nothing() -> None:
    performance = idle()
    performance.drive(Clip(1.0))
    first = performance.state(1.0).state
    assert performance.state(1.0).state.driven == first.driven
