"""A person's face is told from an animal's and a statue's, and no person is asked for more than another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.render.image_file import decode
from services.render.likeness import Likeness
from services.render.portrait import Examined, PortraitExaminer

Picture = NDArray[np.uint8]
# What happens to pictures on their way.
CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "as it is": lambda image: image,
    "dark": lambda image: (image * 0.35).astype(np.uint8),
    "bright": lambda image: np.clip(image.astype(int) * 1.4, 0, 255).astype(np.uint8),
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "smaller": lambda image: np.asarray(
        cv2.resize(image, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA), np.uint8
    ),
    "without colour": lambda image: np.repeat(image.mean(-1, keepdims=True), 3, axis=2).astype(np.uint8),
    "in warm light": lambda image: np.clip(image * [1.2, 1.0, 0.7], 0, 255).astype(np.uint8),
    "in cold light": lambda image: np.clip(image * [0.75, 0.95, 1.25], 0, 255).astype(np.uint8),
}
PEOPLE = ("mona-lisa.jpg", "donna-velata.jpg", "girl-with-a-pearl-earring.jpg", "sargent-lady-seated.jpg")


def test_the_face_that_ships_is_not_in_doubt(examined: Examined) -> None:
    assert examined.doubts == ()


@pytest.mark.parametrize(
    ("likeness", "words"),
    [
        (Likeness(presence=17.0, surroundings=0.86, iris_contrast=0.3), ""),
        (Likeness(presence=25.0, surroundings=0.70, iris_contrast=0.2), ""),
        (Likeness(presence=25.0, surroundings=0.95, iris_contrast=-0.1), ""),
        (Likeness(presence=12.0, surroundings=0.95, iris_contrast=0.3), "animal"),
        (Likeness(presence=19.0, surroundings=0.76, iris_contrast=-0.05), "statue"),
    ],
)
def test_one_weak_sign_is_no_doubt_unless_it_is_the_features_own(likeness: Likeness, words: str) -> None:
    assert len(likeness.doubts) == bool(words)
    assert all(words in doubt for doubt in likeness.doubts)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", PEOPLE)
def test_people_are_not_in_doubt_in_any_light_and_colour(
    examiner: PortraitExaminer, test_data: Path, name: str
) -> None:
    image = decode((test_data / "portraits" / name).read_bytes())
    doubted = {change for change, make in CHANGES.items() if examiner.examine(make(image)).doubts}
    assert doubted == set()


@pytest.mark.data
@pytest.mark.parametrize(("name", "words"), [("not-a-person-dog.png", "animal"), ("terracotta-statue.jpg", "statue")])
def test_a_dog_and_a_statue_are_in_doubt(examiner: PortraitExaminer, test_data: Path, name: str, words: str) -> None:
    image = decode((test_data / "portraits" / name).read_bytes())
    for change in ("as it is", "dark", "mirrored"):
        assert any(words in doubt for doubt in examiner.examine(CHANGES[change](image)).doubts), change
