"""What a face's expression is made of: sliders, each a direction in the space of keypoints.

Source: the sliders of the official app (`gradio_pipeline.py` of KwaiVGI/LivePortrait) and the numbers behind them; its
eyebrow and gaze sliders, which differ by direction, are one slider for each direction here.

No picture was made with them for lack of the published weights, so how they look is unverified. What they move was
held against the five official motion templates whose driving videos are published (633 frames, landmarks measured on
the videos): keypoints 11 and 13 are the lids of the person's right eye and 15 and 16 those of the left one (11.y and
15.y fall by 0.045 for each unit of the official eye ratio), 2.y falls when the brows rise, 1.x rises and 2.x falls when
they knit, 20.y and 14.y fall when the mouth widens to a smile, 19.y rises by 0.12 for each unit of the official lip
ratio, 19.x follows a mouth drawn to one side, 11.x and 15.x follow the irises: all with the signs below.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.render.engines.liveportrait.drive import Expression, no_expression

# Slider: what a unit of it adds, as keypoint.axis.
SLIDERS: dict[str, dict[str, float]] = {
    # -0.3 to 1.3
    "smile": {
        "20.y": -0.01,
        "14.y": -0.02,
        "17.y": 0.0065,
        "17.z": 0.003,
        "13.y": -0.00275,
        "16.y": -0.00275,
        "3.y": -0.0035,
        "7.y": -0.0035,
    },
    # Lips from pressed to wide open, -90 to 120.
    "open": {"19.y": 0.001, "19.z": 0.0001, "17.y": -0.0001},
    # Lips pursed, -20 to 15.
    "purse": {"14.y": 0.001, "3.y": -0.0005, "7.y": -0.0005, "17.z": -0.0005},
    # Lips drawn to the side and back, -20 to 15.
    "grin": {"20.z": -0.001, "20.y": -0.001, "14.y": -0.001},
    # Mouth to the viewer's right, -0.09 to 0.09.
    "mouth_aside": {"19.x": 1.0},
    # Brows up, 0 to 30.
    "raise": {"1.y": 0.001, "2.y": -0.001},
    # Brows together, 0 to 30.
    "knit": {"1.x": 0.001, "2.x": -0.001, "1.y": -0.0003, "2.y": 0.0003},
    # Lids of the person's right and left eye, -20 (shut) to 5 (wide).
    "lids_right": {"11.y": -0.001, "13.y": 0.0003},
    "lids_left": {"15.y": -0.001, "16.y": 0.0003},
    # Each eye outwards and inwards, 0 to 30.
    "right_out": {"11.x": -0.001},
    "right_in": {"11.x": 0.0007},
    "left_out": {"15.x": 0.001},
    "left_in": {"15.x": -0.0007},
    # Both eyes up, -63 to 63; the lids follow them halfway.
    "look_up": {"11.y": -0.0005, "13.y": -0.00015, "15.y": -0.0005, "16.y": -0.00015},
}


def expression_of(values: Mapping[str, float]) -> Expression:
    """What sliders add to an expression. Args: values: by the sliders' names, in their own units."""
    exp = no_expression()
    for slider, value in values.items():
        for place, delta in SLIDERS[slider].items():
            keypoint, axis = place.split(".")
            exp[int(keypoint), "xyz".index(axis)] += np.float32(delta * value)
    return exp
