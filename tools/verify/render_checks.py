"""What a face that was drawn in every way has to show, each in figures that landmarks give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.render.engines.liveportrait.expression import asked_lip_ratio
from services.render.visemes import CLOSURES, Viseme, shape_of
from tools.verify.check import Check, judged, not_measured
from tools.verify.face_measures import FaceMeasures
from tools.verify.looks import Seen

# Lip ratios: shut ones stay below, and all mouth shapes follow what is asked. Where the portrait's own lips are parted,
# the landmarks see them as up to 0.08 when they have met.
_SHUT_LIPS = 0.1
_LIPS_CORRELATION = 0.8
# Eye ratios: a shut eye stays below this share of the open one, an open one beside it above that. On painted faces the
# landmarks see lids that have met as up to 0.77 of the open eye.
_SHUT_EYE, _OPEN_EYE = 0.8, 0.9


@dataclass(frozen=True, slots=True)
class _Change:
    """A measure that moves from one look to another by at least so much, in that direction."""

    name: str
    what: str
    measure: Callable[[FaceMeasures], float]
    begin: str
    end: str
    least: float


_CHANGES = (
    _Change("a smile lifts the corners of the mouth", "corners", lambda m: m.mouth_corners, "rest", "happy 1", 0.015),
    _Change("a smile widens the mouth", "width", lambda m: m.mouth_width, "rest", "happy 1", 0.02),
    _Change("a full smile is more than half of one", "width", lambda m: m.mouth_width, "happy 0.5", "happy 1", 0.005),
    _Change("sadness lowers the corners", "corners", lambda m: -m.mouth_corners, "rest", "sad 1", 0.005),
    _Change("surprise raises the brows", "brows", lambda m: m.brows, "rest", "surprised 1", 0.01),
    _Change("surprise parts the lips", "lips", lambda m: m.lips, "rest", "surprised 1", 0.04),
    _Change("anger lowers the brows", "brows", lambda m: -m.brows, "rest", "angry 1", 0.01),
    _Change("eyes look from left to right", "irises", lambda m: m.gaze_x, "looks left", "looks right", 0.1),
    _Change("eyes look from down to up", "irises", lambda m: m.gaze_y, "looks down", "looks up", 0.02),
    _Change("the head turns", "nose", lambda m: m.turned, "turned left", "turned right", 0.1),
    _Change("the head nods", "nose", lambda m: m.tilted, "up", "down", 0.02),
    _Change("the head rolls", "degrees", lambda m: m.rolled, "rolled left", "rolled right", 8.0),
)


def checks_of(seen: Sequence[Seen]) -> list[Check]:
    """Everything that landmarks tell of the looks, lips apart. Where there is no face at rest, nothing is measured."""
    measures = {one.look.name: one.measures for one in seen}
    without = [name for name, found in measures.items() if found is None]
    if measures["rest"] is None:
        why = "no face is found in the picture of the face at rest"
        names = [change.name for change in _CHANGES] + ["lids fall, together and alone"]
        faceless = judged("every picture shows a face", passed=False, found=f"{why}: are these trained weights?")
        return [faceless, *(not_measured(name, why) for name in names)]
    found = f"none in {', '.join(without)}" if without else f"one in each of {len(measures)}"
    checks = [judged("every picture shows a face", passed=not without, found=found)]
    checks += [_changed(change, measures) for change in _CHANGES]
    checks.append(_lids(measures))
    return checks


def _changed(change: _Change, measures: Mapping[str, FaceMeasures | None]) -> Check:
    begin, end = measures[change.begin], measures[change.end]
    if begin is None or end is None:
        return not_measured(change.name, f"no face is found in {change.begin if begin is None else change.end}")
    by = change.measure(end) - change.measure(begin)
    found = f"{change.what} by {by:.3f} from {change.begin} to {change.end}; at least {change.least:g}"
    return judged(change.name, passed=by >= change.least, found=found)


def _lids(measures: Mapping[str, FaceMeasures | None]) -> Check:
    name = "lids fall, together and alone"
    rest, shut, left, right = (measures[look] for look in ("rest", "shut", "wink left", "wink right"))
    if rest is None or shut is None or left is None or right is None:
        return not_measured(name, "no face is found in one of the pictures")
    shares = {
        "both": max(shut.eye_left / rest.eye_left, shut.eye_right / rest.eye_right),
        "left alone": left.eye_left / rest.eye_left,
        "right alone": right.eye_right / rest.eye_right,
    }
    others = min(left.eye_right / rest.eye_right, right.eye_left / rest.eye_left)
    found = ", ".join(f"{which} {share:.2f}" for which, share in shares.items())
    return judged(
        name,
        passed=max(shares.values()) <= _SHUT_EYE and others >= _OPEN_EYE,
        found=f"of the open eye {found} (at most {_SHUT_EYE:g}), and the other one {others:.2f} "
        f"(at least {_OPEN_EYE:g})",
    )


def lips_of(seen: Sequence[Seen]) -> dict[Viseme, tuple[float, float]]:
    """Lip ratios of the mouth shapes in which a face was found: asked and measured."""
    return {
        Viseme[one.look.name]: (asked_lip_ratio(shape_of(Viseme[one.look.name])), one.measures.lips)
        for one in seen
        if one.look.group == "mouth shapes" and one.measures is not None
    }


def lips_checks(seen: Sequence[Seen]) -> list[Check]:
    """Whether lips meet where they must, and part as far as is asked."""
    lips = lips_of(seen)
    names = ("lips meet for p, b and m, and nearly for f and v", "lips part as far as each mouth shape asks")
    if len(lips) < len(Viseme):
        why = f"a face is found in {len(lips)} of {len(Viseme)} mouth shapes"
        return [not_measured(name, why) for name in names]
    widest = max(lips[viseme][1] for viseme in CLOSURES)
    asked, measured = np.array(list(lips.values())).T
    together = float(np.corrcoef(asked, measured)[0, 1]) if measured.std() > 0 else 0.0
    return [
        judged(names[0], passed=widest <= _SHUT_LIPS, found=f"lip ratio {widest:.3f}; at most {_SHUT_LIPS:g}"),
        judged(
            names[1],
            passed=together >= _LIPS_CORRELATION,
            found=f"correlation {together:.2f} over {len(lips)} shapes; at least {_LIPS_CORRELATION:g}",
        ),
    ]
