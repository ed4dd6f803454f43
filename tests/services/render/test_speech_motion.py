"""Visemes become a mouth that moves like one: closures are always reached, the rest flows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.errors import InvalidRequestError
from services.render.blendshapes import INDEX
from services.render.speech_motion import LEAD_S, MAX_CUES, MAX_CUES_AT_ONCE, SpeechMotion, VisemeCue
from services.render.visemes import SHAPES, Viseme

FRAME_S = 0.04


def motion_of(*cues: tuple[Viseme, float, float], weight: float = 1.0) -> SpeechMotion:
    motion = SpeechMotion(FRAME_S)
    motion.add([VisemeCue(viseme, start, end, weight) for viseme, start, end in cues])
    return motion


def reached(motion: SpeechMotion, viseme: Viseme, offset_s: float) -> float:
    """How much of a viseme's shape the mouth has, 0 to 1: the worst of its parts, and nothing besides."""
    weights, shape = motion.at(offset_s).weights, SHAPES[viseme]
    part = float((weights[shape > 0] / shape[shape > 0]).min())
    return part if float(weights[shape == 0].max()) < 0.05 else 0.0


@pytest.mark.parametrize("closure", [Viseme.PP, Viseme.FF])
@pytest.mark.parametrize("length_s", [0.0, 0.01, 0.03, 0.06, 0.12])
@pytest.mark.parametrize("vowel_s", [0.03, 0.06, 0.2])
def test_a_closure_is_reached_in_a_frame_at_any_phase_and_any_rate(
    closure: Viseme, length_s: float, vowel_s: float
) -> None:
    start = vowel_s
    motion = motion_of(
        (Viseme.AA, 0.0, start),
        (closure, start, start + length_s),
        (Viseme.OU, start + length_s, start + length_s + vowel_s),
    )
    for phase_s in np.arange(0.0, FRAME_S, 0.001):
        frames = np.arange(phase_s, start + 0.3, FRAME_S)
        assert max(reached(motion, closure, t) for t in frames) >= 0.9, f"phase {phase_s:.3f} s"


@settings(max_examples=60, deadline=None)
@given(
    visemes=st.lists(st.sampled_from([v for v in Viseme if v is not Viseme.SIL]), min_size=2, max_size=30),
    lengths=st.lists(st.floats(0.02, 0.15), min_size=30, max_size=30),
    phase_s=st.floats(0.0, FRAME_S),
)
def test_every_closure_of_any_speech_gets_its_frame(
    visemes: list[Viseme], lengths: list[float], phase_s: float
) -> None:
    motion, at, cues = SpeechMotion(FRAME_S), 0.1, []
    for viseme, length in zip(visemes, lengths, strict=False):
        cues.append(VisemeCue(viseme, at, at + length))
        at += length
    motion.add(cues)
    frames = np.arange(phase_s, at + 0.5, FRAME_S)
    shown = [next((c for c in (Viseme.PP, Viseme.FF) if reached(motion, c, t) >= 0.9), None) for t in frames]
    # One after the other in the order of speech; the same one twice in a row may be held as one.
    wanted = [v for v in visemes if v in (Viseme.PP, Viseme.FF)]
    seen = iter(shown)
    for k, viseme in enumerate(wanted):
        if k and wanted[k - 1] is viseme:
            continue
        assert viseme in seen


@pytest.mark.parametrize("viseme", [v for v in Viseme if v not in (Viseme.SIL, Viseme.PP, Viseme.FF)])
def test_a_shape_that_is_held_is_reached_and_starts_ahead_of_its_sound(viseme: Viseme) -> None:
    motion = motion_of((viseme, 0.5, 0.9))
    np.testing.assert_allclose(motion.at(0.7).weights, SHAPES[viseme], atol=1e-5)
    strongest = int(SHAPES[viseme].argmax())
    times = np.arange(0.3, 0.7, 0.001)
    half_way = times[np.argmax([motion.at(t).weights[strongest] > SHAPES[viseme][strongest] / 2 for t in times])]
    assert half_way == pytest.approx(0.5 - LEAD_S, abs=0.02)


def test_silence_is_rest_exactly() -> None:
    motion = motion_of((Viseme.AA, 1.0, 1.3), (Viseme.SIL, 1.3, 2.0), (Viseme.PP, 2.0, 2.1))
    for t in [*np.arange(0.0, 0.85, 0.01), *np.arange(1.42, 1.88, 0.01), *np.arange(2.25, 3.0, 0.01)]:
        pose = motion.at(float(t))
        assert not pose.weights.any(), f"{t:.2f} s"
        assert pose.closure == 0.0


def test_the_mouth_is_shut_within_150_ms_of_the_end_of_speech() -> None:
    motion = motion_of((Viseme.AA, 0.0, 0.5))
    assert motion.at(0.45).weights[INDEX["jawOpen"]] > 0.5
    assert not motion.at(0.65).weights.any()


def test_the_mouth_never_jumps() -> None:
    rng = np.random.default_rng(1)
    at, cues = 0.2, []
    for viseme in rng.choice(list(Viseme), 60):
        length = float(rng.uniform(0.03, 0.15))
        cues.append(VisemeCue(Viseme(viseme), at, at + length, float(rng.uniform(0.4, 1.0))))
        at += length
    motion = SpeechMotion(FRAME_S)
    motion.add(cues)
    track = np.stack([motion.at(t).weights for t in np.arange(0.0, at + 0.5, 0.002)])
    # The lips' fastest way is a closure between two others: about 40 ms from open to shut.
    assert np.abs(np.diff(track, axis=0)).max() < 0.15


def test_soft_speech_opens_less_but_its_closures_are_whole() -> None:
    motion = motion_of((Viseme.AA, 0.0, 0.3), (Viseme.PP, 0.3, 0.4), weight=0.4)
    assert motion.at(0.15).weights[INDEX["jawOpen"]] == pytest.approx(
        0.4 * SHAPES[Viseme.AA][INDEX["jawOpen"]], rel=0.05
    )
    assert reached(motion, Viseme.PP, 0.35) == pytest.approx(1.0)


def test_rounding_spreads_to_the_consonants_around() -> None:
    rounded = motion_of((Viseme.OU, 0.0, 0.2), (Viseme.NN, 0.2, 0.26), (Viseme.OU, 0.26, 0.5)).at(0.17)
    spread = motion_of((Viseme.IH, 0.0, 0.2), (Viseme.NN, 0.2, 0.26), (Viseme.IH, 0.26, 0.5)).at(0.17)
    pucker = INDEX["mouthPucker"]
    assert rounded.weights[pucker] > 0.25
    assert spread.weights[pucker] == 0.0


def test_visemes_in_pieces_move_like_visemes_at_once() -> None:
    cues = [(Viseme.AA, 0.0, 0.1), (Viseme.PP, 0.1, 0.2), (Viseme.IH, 0.3, 0.5), (Viseme.FF, 0.5, 0.55)]
    whole, pieces = motion_of(*cues), SpeechMotion(FRAME_S)
    for viseme, start, end in cues:
        pieces.add([VisemeCue(viseme, start, end)])
    for t in np.arange(-0.1, 0.9, 0.01):
        np.testing.assert_array_equal(whole.at(t).weights, pieces.at(t).weights)


@pytest.mark.parametrize(
    ("cues", "said"),
    [
        ([VisemeCue(Viseme.AA, 1.0, 1.2), VisemeCue(Viseme.IH, 0.5, 0.6)], "send them in order"),
        ([VisemeCue(Viseme.AA, 1.0, 0.8)], "ends where it starts or later"),
        ([VisemeCue(Viseme.AA, -0.1, 0.8)], "cannot be"),
        ([VisemeCue(Viseme.AA, float(k), float(k)) for k in range(MAX_CUES + 1)], f"at most {MAX_CUES}"),
    ],
)
def test_visemes_that_cannot_be_are_refused_in_words(cues: list[VisemeCue], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        SpeechMotion().add(cues)


def test_visemes_all_at_once_are_refused_because_each_is_work_for_every_frame() -> None:
    with pytest.raises(InvalidRequestError, match=f"more than {MAX_CUES_AT_ONCE} visemes begin within 0.1 s"):
        motion_of(*[(Viseme.AA, 1.0, 1.0)] * (2 * MAX_CUES_AT_ONCE))
    # Faster than anybody speaks.
    motion_of(*[(Viseme.AA, 0.005 * number, 0.005 * number + 0.005) for number in range(500)])
