"""One stream's face: speech over expression over idle motion, without jumps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidRequestError
from services.render.blendshapes import BLENDSHAPE_NAMES, INDEX, Weights
from services.render.expressions import ExpressionKind
from services.render.idle_motion import IdleMotion
from services.render.performance import Performance
from services.render.speech_motion import VisemeCue
from services.render.visemes import Viseme

FRAME_S = 0.04
MOUTH = np.array([name.startswith(("jaw", "mouth", "tongue")) for name in BLENDSHAPE_NAMES])
LONG_A = [VisemeCue(Viseme.AA, 0.0, 2.0)]


def speaking(cues: list[VisemeCue] | None = None) -> Performance:
    performance = Performance(IdleMotion(1), 25)
    performance.add_visemes("u", LONG_A if cues is None else cues)
    return performance


def frames(performance: Performance, first: int, count: int, utterance_id: str = "", from_s: float = 0.0) -> Weights:
    """Mouth weights of consecutive frames, shape (count, n)."""
    shown = []
    for k in range(count):
        shown.append(performance.state((first + k) * FRAME_S, utterance_id, from_s + k * FRAME_S).state.weights[MOUTH])
        performance.was_shown()
    return np.stack(shown)


def test_an_idle_face_has_its_mouth_at_rest_and_blinks() -> None:
    performance = Performance(IdleMotion(1), 25)
    states = [performance.state(k * FRAME_S).state for k in range(300)]
    assert not any(state.weights[MOUTH].any() for state in states)
    assert max(state.weights[INDEX["eyeBlinkLeft"]] for state in states) > 0.97


def test_a_frame_says_whether_it_shows_the_utterance() -> None:
    performance = speaking()
    assert performance.state(0.0, "u", 0.0).is_spoken
    assert not performance.state(0.04, "another", 0.0).is_spoken
    performance.interrupt("u")
    assert not performance.state(0.08, "u", 0.08).is_spoken


def test_the_mouth_is_shut_150_ms_after_an_interruption_and_never_jumps() -> None:
    performance = speaking()
    spoken = frames(performance, 0, 10, "u")
    assert spoken[-1].max() > 0.5
    performance.interrupt("u")
    after = frames(performance, 10, 6, "u", 0.4)
    assert not after[3:].any()
    steps = np.abs(np.diff(np.concatenate([spoken[-1:], after]), axis=0)).max(1)
    assert steps.max() < 0.6 * spoken[-1].max()
    assert (np.diff(after[:, spoken[-1].argmax()]) <= 0).all()


def test_what_comes_for_an_interrupted_utterance_is_dropped() -> None:
    performance = speaking()
    performance.interrupt("u")
    performance.add_visemes("u", LONG_A)
    assert not performance.knows("u")
    assert not frames(performance, 0, 5, "u", 0.5).any()


def test_an_interruption_says_how_far_the_face_got() -> None:
    performance = speaking()
    frames(performance, 0, 6, "u", 0.2)
    assert performance.interrupt("u") == pytest.approx(0.2 + 5 * FRAME_S)
    assert performance.interrupt("never heard of") == 0.0


def test_a_jump_within_an_utterance_is_blended() -> None:
    performance = speaking([VisemeCue(Viseme.AA, 0.0, 1.0), VisemeCue(Viseme.SIL, 1.0, 2.0)])
    before = frames(performance, 0, 15, "u")[-1]
    after = frames(performance, 15, 5, "u", 1.6)
    assert 0 < after[0].max() < before.max()
    assert not after[-1].any()


@pytest.mark.parametrize("kind", list(ExpressionKind))
def test_lips_close_on_a_p_whatever_the_expression(kind: ExpressionKind) -> None:
    performance = speaking(
        [VisemeCue(Viseme.AA, 0.0, 0.3), VisemeCue(Viseme.PP, 0.3, 0.4), VisemeCue(Viseme.AA, 0.4, 0.7)]
    )
    performance.set_expression(kind, 1.0, 0.0)
    states = [performance.state(k * FRAME_S, "u", k * FRAME_S).state.weights for k in range(18)]
    best = min(states, key=lambda w: w[INDEX["jawOpen"]] - w[INDEX["mouthClose"]])
    assert best[INDEX["mouthClose"]] > 0.9
    for name in ("jawOpen", "mouthFunnel", "mouthUpperUpLeft", "mouthLowerDownLeft", "noseSneerLeft"):
        assert best[INDEX[name]] < 0.03, name


def test_an_expression_sets_out_at_the_next_frame_and_takes_its_time() -> None:
    performance = Performance(IdleMotion(1), 25)
    performance.state(1.0)
    performance.set_expression(ExpressionKind.HAPPY, 1.0, 0.2)
    smile = [performance.state(1.0 + k * FRAME_S).state.weights[INDEX["mouthSmileLeft"]] for k in range(1, 8)]
    assert 0 < smile[0] < smile[2] < smile[4]
    assert smile[4] == pytest.approx(smile[6])
    # Half way to another one, a third one starts from what is seen.
    performance.set_expression(ExpressionKind.SAD, 1.0, 0.2)
    performance.state(1.36)
    seen = performance.state(1.40).state.weights
    performance.set_expression(ExpressionKind.NEUTRAL, 0.0, 0.4)
    following = performance.state(1.44).state.weights
    assert np.abs(following - seen)[MOUTH].max() < 0.15


def test_gaze_moves_the_eyes_and_a_little_of_the_head_and_is_given_back() -> None:
    performance = Performance(IdleMotion(1), 25)
    performance.state(1.0)
    performance.set_gaze((30.0, 0.0))
    state = [performance.state(1.0 + k * FRAME_S).state for k in range(1, 10)][-1]
    assert state.weights[INDEX["eyeLookOutLeft"]] > 0.9
    assert state.weights[INDEX["eyeLookInRight"]] > 0.9
    aside = state.pose.yaw
    performance.set_gaze(None)
    state = [performance.state(1.5 + k * FRAME_S).state for k in range(1, 10)][-1]
    assert state.weights[INDEX["eyeLookOutLeft"]] < 0.2
    assert aside - state.pose.yaw > 3.0


def test_time_may_stand_still_but_not_go_back() -> None:
    performance = Performance(IdleMotion(1), 25)
    performance.state(2.0)
    performance.state(2.0)
    with pytest.raises(InvalidRequestError, match="may only rise"):
        performance.state(1.9)


def test_old_utterances_are_forgotten_and_not_hoarded() -> None:
    performance = Performance(IdleMotion(1), 25)
    for k in range(50):
        performance.add_visemes(f"u{k}", LONG_A)
    assert performance.knows("u49")
    assert not performance.knows("u0")


@given(st.lists(st.sampled_from(["frame", "speak", "stop", "smile", "look", "skip"]), max_size=40))
def test_weights_stay_in_range_whatever_happens(events: list[str]) -> None:
    performance, time_s, offset_s = Performance(IdleMotion(1), 25), 0.0, 0.0
    for number, event in enumerate(events):
        match event:
            case "speak":
                performance.add_visemes(f"u{number}", [VisemeCue(Viseme.OU, 0.0, 0.5), VisemeCue(Viseme.PP, 0.5, 0.6)])
                offset_s = 0.0
            case "stop":
                performance.interrupt(f"u{number - 1}")
            case "smile":
                performance.set_expression(ExpressionKind.SURPRISED, 1.0, 0.1)
            case "look":
                performance.set_gaze((-30.0, 20.0))
            case "skip":
                offset_s += 0.3
        time_s += FRAME_S
        offset_s += FRAME_S
        state = performance.state(time_s, f"u{number}", offset_s).state
        assert state.weights.min() >= 0.0
        assert state.weights.max() <= 1.0
        assert max(abs(state.pose.yaw), abs(state.pose.pitch), abs(state.pose.roll)) < 12
