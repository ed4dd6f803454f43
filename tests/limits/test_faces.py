"""Whose face it is: the largest of several is taken; what may be no person's is made only when somebody has looked."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.limits import files
from tests.limits.refusals import PORTRAIT, WRONG_ORDER, create, delete, drawn
from tests.limits.world import KEPT, World, refused

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
PEOPLE = ("mona-lisa.jpg", "donna-velata.jpg", "girl-with-a-pearl-earring.jpg", "sargent-lady-seated.jpg")
NO_PEOPLE = ("not-a-person-dog.png", "terracotta-statue.jpg")


async def test_of_two_faces_the_largest_is_taken_and_that_is_said(world: World) -> None:
    small, large = files.shrunk(drawn(), 400), drawn()
    picture = files.beside(small, large)
    made = await create(world, files.jpeg(picture))
    try:
        assert "The picture has 2 faces; the largest was taken." in made.warnings
        xs = [point.x for point in made.landmarks]
        assert min(xs) > small.shape[1] + 40
        assert max(xs) < picture.shape[1]
    finally:
        await delete(world, made.name)


async def test_the_face_that_ships_is_a_persons_and_looking_keeps_nothing(world: World) -> None:
    seen = await create(world, PORTRAIT.read_bytes(), avatar_id="seen", validate_only=True)
    assert (seen.name, len(seen.landmarks), list(seen.doubts)) == ("avatars/seen", 468, [])
    async with world.http.get(world.url("render", "/v1/avatars/seen")) as response:
        assert response.status == 404


@pytest.mark.data
@pytest.mark.parametrize("name", PEOPLE)
async def test_a_painting_of_a_person_is_taken_at_once(world: World, test_data: Path, name: str) -> None:
    made = await create(world, (test_data / "portraits" / name).read_bytes())
    await delete(world, made.name)
    assert list(made.doubts) == []


@pytest.mark.data
@pytest.mark.parametrize("name", NO_PEOPLE)
async def test_a_dog_and_a_statue_are_made_only_when_somebody_has_looked_at_the_landmarks(
    world: World, test_data: Path, name: str
) -> None:
    portrait = (test_data / "portraits" / name).read_bytes()
    error = await refused(
        create(world, portrait), WRONG_ORDER, "may not be a person's face.*confirm_doubtful_face=true"
    )
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    assert info.reason == "CONFIRMATION_NEEDED"
    assert world.kept() == KEPT
    seen = await create(world, portrait, validate_only=True)
    points = np.array([(point.x, point.y) for point in seen.landmarks])
    assert points.shape == (468, 2)
    assert (points.min(0) > 0).all()
    assert (points.max(0) < (seen.width, seen.height)).all()
    assert seen.doubts
    made = await create(world, portrait, confirm_doubtful_face=True)
    await delete(world, made.name)
    assert made.doubts == seen.doubts


@pytest.mark.data
async def test_json_asks_for_the_confirmation_and_takes_it(world: World, test_data: Path) -> None:
    portrait = base64.b64encode((test_data / "portraits" / "not-a-person-dog.png").read_bytes()).decode()
    avatar = {"portrait": portrait, "consent": "it is my dog"}
    status, body = await world.post("page", "/v1/avatars", json=avatar)
    assert (status, body["code"], body["details"][0]["reason"]) == (400, 9, "CONFIRMATION_NEEDED")
    status, body = await world.post("page", "/v1/avatars?confirm_doubtful_face=true", json=avatar)
    assert status == 200
    assert body["doubts"]
    await delete(world, body["name"])
