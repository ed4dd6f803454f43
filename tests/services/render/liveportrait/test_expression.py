"""What moves a portrait: each slider by hand, and speech, moods, eyes and head as they end in keypoints."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.render.blendshapes import BLENDSHAPE_NAMES, COUNT, weights_of
from services.render.engine import FaceState, HeadPose
from services.render.engines.liveportrait.drive import Expression
from services.render.engines.liveportrait.expression import EXPRESSION_OF_WEIGHTS, Performer
from services.render.engines.liveportrait.ratios import Ratios
from services.render.engines.liveportrait.sliders import SLIDERS, expression_of
from services.render.expressions import ExpressionKind, expression_weights, gaze_weights
from services.render.visemes import SHAPES, Viseme

# What the network for eyes says of this portrait, here that its lids fall by a tenth and a fifth.
SHUT = np.zeros((21, 3), np.float32)
SHUT[11, 1], SHUT[15, 1] = 0.1, 0.2
OPEN_EYES = Performer(Ratios(0.4, 0.3, 0.0), SHUT)

# The published table, typed anew: what one unit of each slider adds.
TABLE = {
    "smile": "20.y -.01 14.y -.02 17.y .0065 17.z .003 13.y -.00275 16.y -.00275 3.y -.0035 7.y -.0035",
    "open": "19.y .001 19.z .0001 17.y -.0001",
    "purse": "14.y .001 3.y -.0005 7.y -.0005 17.z -.0005",
    "grin": "20.z -.001 20.y -.001 14.y -.001",
    "mouth_aside": "19.x 1",
    "raise": "1.y .001 2.y -.001",
    "knit": "1.x .001 2.x -.001 1.y -.0003 2.y .0003",
    "lids_right": "11.y -.001 13.y .0003",
    "lids_left": "15.y -.001 16.y .0003",
    "right_out": "11.x -.001",
    "right_in": "11.x .0007",
    "left_out": "15.x .001",
    "left_in": "15.x -.0007",
    "look_up": "11.y -.0005 13.y -.00015 15.y -.0005 16.y -.00015",
}


def at(exp: Expression, place: str) -> float:
    keypoint, axis = place.split(".")
    return float(exp[int(keypoint), "xyz".index(axis)])


def exp_of(**weights: float) -> Expression:
    return OPEN_EYES.drive(FaceState(weights_of(weights))).exp


def mood(kind: ExpressionKind, intensity: float = 1.0) -> Expression:
    return OPEN_EYES.drive(FaceState(expression_weights(kind, intensity))).exp


def opening(viseme: Viseme, performer: Performer = OPEN_EYES) -> float:
    return at(performer.drive(FaceState(SHAPES[viseme])).exp, "19.y")


@pytest.mark.parametrize("slider", SLIDERS)
def test_a_slider_moves_what_the_table_says_and_nothing_else(slider: str) -> None:
    words = TABLE[slider].split()
    exp = expression_of({slider: 2.0})
    for place, delta in zip(words[::2], words[1::2], strict=True):
        assert at(exp, place) == pytest.approx(2.0 * float(delta))
    assert np.count_nonzero(exp) == len(words) // 2


def test_every_slider_is_in_the_table() -> None:
    assert SLIDERS.keys() == TABLE.keys()


def test_a_face_at_rest_moves_nothing_at_all() -> None:
    drive = Performer(Ratios(0.3, 0.3, 0.2), SHUT, gain=1.7).drive(FaceState())
    assert not drive.exp.any()
    assert (drive.pitch, drive.yaw, drive.roll, drive.scale) == (0, 0, 0, 1)
    assert not drive.t.any()
    np.testing.assert_array_equal(drive.rotation, np.eye(3))
    assert drive.eye_ratio is drive.lip_ratio is None
    assert not drive.is_absolute


def test_visemes_open_the_lips_in_the_order_of_speech() -> None:
    order = [Viseme.PP, Viseme.FF, Viseme.SIL, Viseme.SS, Viseme.CH, Viseme.IH, Viseme.E, Viseme.OH, Viseme.AA]
    openings = [opening(viseme) for viseme in order]
    assert all(less < more for less, more in pairwise(openings)), openings
    assert openings[0] == pytest.approx(-0.040, abs=0.001)
    assert openings[-1] == pytest.approx(0.066, abs=0.001)


def test_lips_meet_for_p_and_touch_the_teeth_for_f_and_no_other_viseme_shuts_them() -> None:
    shut = {viseme for viseme in Viseme if opening(viseme) < 0}
    assert shut == {Viseme.PP, Viseme.FF}


def test_oo_is_pursed_and_ee_is_drawn_wide() -> None:
    ou, e = (OPEN_EYES.drive(FaceState(SHAPES[viseme])).exp for viseme in (Viseme.OU, Viseme.E))
    assert at(ou, "14.y") > 0.01
    assert at(e, "14.y") < -0.003
    assert at(e, "20.z") < -0.003


def test_the_gain_parts_the_lips_wider_and_leaves_closures_and_the_rest_of_the_mouth() -> None:
    wide = Performer(OPEN_EYES.ratios, SHUT, gain=1.5)
    assert opening(Viseme.AA, wide) == pytest.approx(1.5 * opening(Viseme.AA), rel=1e-3)
    assert opening(Viseme.PP, wide) == opening(Viseme.PP)
    before, after = (each.drive(FaceState(SHAPES[Viseme.OU])).exp for each in (OPEN_EYES, wide))
    assert at(after, "14.y") == at(before, "14.y")


def test_happy_draws_the_corners_of_the_mouth_up() -> None:
    exp = mood(ExpressionKind.HAPPY)
    assert at(exp, "20.y") < -0.005
    assert at(exp, "14.y") < -0.01
    assert at(exp, "17.y") > 0


def test_sad_draws_them_down_and_knits_the_brows() -> None:
    exp = mood(ExpressionKind.SAD)
    assert at(exp, "20.y") > 0.001
    assert at(exp, "14.y") > 0.002
    assert at(exp, "1.x") > 0.002
    assert at(exp, "2.x") < -0.002


def test_surprised_raises_the_brows_opens_the_mouth_and_widens_the_eyes() -> None:
    exp = mood(ExpressionKind.SURPRISED)
    assert at(exp, "2.y") < -0.01
    assert at(exp, "19.y") > 0.02
    assert at(exp, "11.y") < -0.005
    assert at(exp, "15.y") < -0.005
    assert abs(at(exp, "1.x")) < 0.001


def test_angry_knits_the_brows_and_presses_the_lips() -> None:
    exp = mood(ExpressionKind.ANGRY)
    assert at(exp, "1.x") > 0.008
    assert at(exp, "2.x") < -0.008
    assert at(exp, "2.y") > 0
    assert at(exp, "19.y") < 0


def test_disgusted_lifts_the_upper_lip_and_narrows_the_eyes() -> None:
    exp = mood(ExpressionKind.DISGUSTED)
    assert at(exp, "20.z") < -0.002
    assert at(exp, "11.y") > 0.002
    assert at(exp, "1.x") > 0.005


def test_fearful_raises_and_knits_the_brows_and_widens_the_eyes() -> None:
    exp = mood(ExpressionKind.FEARFUL)
    assert at(exp, "2.y") < -0.005
    assert at(exp, "1.x") > 0.003
    assert at(exp, "11.y") < -0.005


def test_moods_grow_with_their_intensity_and_neutral_is_none() -> None:
    assert not mood(ExpressionKind.NEUTRAL).any()
    for kind in set(ExpressionKind) - {ExpressionKind.NEUTRAL}:
        np.testing.assert_allclose(mood(kind, 0.5), 0.5 * mood(kind), rtol=1e-4, atol=1e-8)
    shapes = [mood(kind).ravel() for kind in ExpressionKind if kind is not ExpressionKind.NEUTRAL]
    likeness = np.corrcoef(shapes) - np.eye(len(shapes))
    assert likeness.max() < 0.95, "two moods look the same"


def test_looking_left_is_looking_right_in_a_mirror() -> None:
    right, left = (OPEN_EYES.drive(FaceState(gaze_weights(yaw, 0.0))).exp for yaw in (20.0, -20.0))
    assert at(right, "15.x") > at(right, "11.x") > 0
    assert at(left, "11.x") == pytest.approx(-at(right, "15.x"))
    assert at(left, "15.x") == pytest.approx(-at(right, "11.x"))


def test_looking_down_lowers_irises_and_lids_as_much_as_looking_up_raises_them() -> None:
    up, down = (OPEN_EYES.drive(FaceState(gaze_weights(0.0, pitch))).exp for pitch in (20.0, -20.0))
    assert at(up, "11.y") == at(up, "15.y") == pytest.approx(-0.02)
    np.testing.assert_allclose(down, -up)


@settings(deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=2, max_size=2, unique=True), st.floats(0, 1))
def test_lids_fall_with_a_blink_whatever_else_the_eye_does(blinks: list[int], wide: float) -> None:
    drives = [OPEN_EYES.drive(FaceState(weights_of({"eyeBlink": b / 1000, "eyeWide": wide}))) for b in sorted(blinks)]
    assert at(drives[0].exp, "11.y") < at(drives[1].exp, "11.y")
    assert at(drives[0].exp, "15.y") < at(drives[1].exp, "15.y")


def test_a_blink_shuts_both_eyes_as_their_network_says_whatever_else_moves_the_lids() -> None:
    drive = OPEN_EYES.drive(FaceState(weights_of({"eyeBlink": 1.0, "eyeWide": 0.9, "eyeSquint": 0.5})))
    np.testing.assert_array_equal(drive.exp, SHUT)
    half = OPEN_EYES.drive(FaceState(weights_of({"eyeBlink": 0.5})))
    np.testing.assert_allclose(half.exp, SHUT / 2)


def test_a_wink_shuts_one_eye_as_far_as_it_is_open() -> None:
    drive = OPEN_EYES.drive(FaceState(weights_of({"eyeBlinkRight": 1.0})))
    # The person's right eye is the one on the viewer's left, of ratio 0.4.
    assert at(drive.exp, "11.y") == pytest.approx(0.045 * 0.4)
    assert at(drive.exp, "15.y") == 0
    other = OPEN_EYES.drive(FaceState(weights_of({"eyeBlinkLeft": 1.0}))).exp
    assert at(other, "15.y") == pytest.approx(0.045 * 0.3)
    assert at(other, "11.y") == 0


def test_the_head_turns_as_the_networks_count_angles() -> None:
    """They count down, to the viewer's left and clockwise; a face's state counts up, to the right and clockwise."""
    drive = OPEN_EYES.drive(FaceState(pose=HeadPose(yaw=3.0, pitch=2.0, roll=1.0)))
    assert (drive.yaw, drive.pitch, drive.roll) == (-3.0, -2.0, 1.0)


def test_blendshapes_without_a_slider_are_known() -> None:
    still = {name for name, row in zip(BLENDSHAPE_NAMES, EXPRESSION_OF_WEIGHTS, strict=True) if not row.any()}
    assert still == {"cheekPuff", "jawForward", "eyeBlinkLeft", "eyeBlinkRight"}


def test_weights_beyond_their_limits_count_as_the_limit() -> None:
    beyond = OPEN_EYES.drive(FaceState(np.full(COUNT, 3.0, np.float32))).exp
    np.testing.assert_array_equal(beyond, OPEN_EYES.drive(FaceState(np.ones(COUNT, np.float32))).exp)
    below = OPEN_EYES.drive(FaceState(np.full(COUNT, -1.0, np.float32))).exp
    assert not below.any()


def test_both_sides_of_a_blendshape_are_twice_one_side() -> None:
    np.testing.assert_allclose(exp_of(mouthSmile=1.0), 2 * exp_of(mouthSmileLeft=1.0), rtol=1e-6)
