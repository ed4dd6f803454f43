"""Portraits are prepared once: what is kept is what was made, and whatever is stale or damaged is made again."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.common.errors import InvalidRequestError
from services.render.avatars import DEFAULT_ID, AvatarStore
from services.render.blendshapes import weights_of
from services.render.engine import FRAME_EDGE, MARGIN, FaceState, HeadPose, Portrait
from services.render.engines.liveportrait import prepare
from services.render.engines.liveportrait.batching import batched
from services.render.engines.liveportrait.config import NARROW, OFFICIAL
from services.render.engines.liveportrait.crop import SOURCE, cut, network_input, outline_of_mesh, square_around
from services.render.engines.liveportrait.networks import Networks
from services.render.engines.liveportrait.paste import Setting, bytes_of
from services.render.engines.liveportrait.pipeline import Pipeline, Source, to_rgb
from services.render.engines.liveportrait.prepare import PreparedPortrait, Preparer, weights_fingerprint
from services.render.engines.liveportrait.random_weights import random_networks
from services.render.engines.liveportrait.ratios import ratios_of_mesh
from services.render.engines.liveportrait.reading import FaceReader
from services.render.portrait import Examined

FILE = "liveportrait.npz"


@pytest.fixture
def portrait(examined: Examined, tmp_path: Path) -> Portrait:
    return replace(examined.portrait, kept_in=tmp_path)


@pytest.fixture
def preparer(pipeline: Pipeline) -> Preparer:
    return Preparer(pipeline, FaceReader(), "weights")


@pytest.fixture
def loader(pipeline: Pipeline) -> Preparer:
    """The same, and nothing can be made: what it returns was kept."""

    class Broken(Pipeline):
        def prepare(self, *_: Any) -> Source:
            raise AssertionError("it was made again")

    return Preparer(Broken(pipeline.networks), FaceReader(), "weights")


def assert_same(one: PreparedPortrait, other: PreparedPortrait) -> None:
    assert one.square == other.square
    assert one.performer.ratios == other.performer.ratios
    np.testing.assert_array_equal(one.performer.shut_eyes, other.performer.shut_eyes)
    for name in ("volume", "x_s", "eye_ratios", "lip_ratio", "lip_shift"):
        assert torch.equal(getattr(one.source, name), getattr(other.source, name)), name
    for part in fields(one.source.face):
        assert torch.equal(getattr(one.source.face, part.name), getattr(other.source.face, part.name)), part.name


def test_it_is_what_the_pipeline_makes_of_the_cut(pipeline: Pipeline, preparer: Preparer, portrait: Portrait) -> None:
    prepared = preparer.prepare(portrait)
    square = square_around(outline_of_mesh(portrait.points), SOURCE)
    ratios = ratios_of_mesh(portrait.points)
    source = pipeline.prepare(
        network_input(cut(portrait.image_rgb, square), NARROW.image_size)[None],
        torch.tensor([[ratios.eye_left, ratios.eye_right]]),
        torch.tensor([[ratios.lips]]),
    )
    assert prepared.square == square
    assert prepared.performer.gain == 1.0
    torch.testing.assert_close(prepared.source.x_s, source.x_s)
    torch.testing.assert_close(prepared.source.volume, source.volume, rtol=1e-3, atol=1e-4)


def test_what_is_kept_comes_back_exactly(preparer: Preparer, loader: Preparer, portrait: Portrait) -> None:
    made = preparer.prepare(portrait)
    assert_same(loader.prepare(portrait), made)


def test_a_portrait_that_is_kept_nowhere_leaves_nothing(preparer: Preparer, examined: Examined) -> None:
    assert examined.portrait.kept_in is None
    assert_same(preparer.prepare(examined.portrait), preparer.prepare(examined.portrait))


def edited(portrait: Portrait) -> Portrait:
    image = portrait.image_rgb.copy()
    image[0, 0] ^= 1
    return replace(portrait, image_rgb=image)


@pytest.mark.parametrize(
    "stale",
    [
        lambda preparer, portrait, pipeline: (preparer, edited(portrait)),
        lambda preparer, portrait, pipeline: (preparer, replace(portrait, points=portrait.points + np.float32(0.5))),
        lambda preparer, portrait, pipeline: (Preparer(pipeline, FaceReader(), "other weights"), portrait),
    ],
    ids=["another picture", "other landmarks", "other weights"],
)
def test_what_is_stale_is_made_again(
    preparer: Preparer,
    portrait: Portrait,
    pipeline: Pipeline,
    stale: Callable[[Preparer, Portrait, Pipeline], tuple[Preparer, Portrait]],
) -> None:
    assert portrait.kept_in is not None
    preparer.prepare(portrait)
    before = (portrait.kept_in / FILE).read_bytes()
    other, changed = stale(preparer, portrait, pipeline)
    other.prepare(changed)
    assert (portrait.kept_in / FILE).read_bytes() != before


def test_another_version_makes_it_again(
    pipeline: Pipeline, loader: Preparer, preparer: Preparer, portrait: Portrait, monkeypatch: pytest.MonkeyPatch
) -> None:
    preparer.prepare(portrait)
    monkeypatch.setattr(prepare, "_VERSION", 999)
    with pytest.raises(AssertionError, match="made again"):
        Preparer(type(loader._pipeline)(pipeline.networks), FaceReader(), "weights").prepare(portrait)


def rewritten(path: Path, **changes: Any) -> bytes:
    with np.load(path) as kept:
        arrays = {name: kept[name] for name in kept.files} | changes
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: b"",
        lambda path: b"not a file of arrays",
        lambda path: path.read_bytes()[:-500],
        lambda path: path.read_bytes().replace(b"volume.npy", b"volume.nyp"),
        lambda path: rewritten(path, volume=np.zeros((1, 2), np.float16)),
        lambda path: rewritten(path, kp=np.array([{}], object)),
    ],
    ids=["empty", "text", "truncated", "without the volume", "another shape", "objects"],
)
def test_what_is_damaged_is_made_again_and_replaced(
    preparer: Preparer, loader: Preparer, portrait: Portrait, damage: Callable[[Path], bytes]
) -> None:
    assert portrait.kept_in is not None
    whole = preparer.prepare(portrait)
    path = portrait.kept_in / FILE
    path.write_bytes(damage(path))
    assert_same(preparer.prepare(portrait), whole)
    assert_same(loader.prepare(portrait), whole)
    assert [file.name for file in portrait.kept_in.iterdir()] == [FILE]


def test_where_nothing_can_be_written_it_is_prepared_all_the_same(preparer: Preparer, portrait: Portrait) -> None:
    missing = replace(portrait, kept_in=Path("/nowhere/at/all"))
    assert_same(preparer.prepare(missing), preparer.prepare(portrait))


def test_landmarks_that_are_no_face_are_refused(preparer: Preparer, portrait: Portrait) -> None:
    with pytest.raises(InvalidRequestError, match="have no extent"):
        preparer.prepare(replace(portrait, points=np.zeros((478, 3), np.float32)))


def test_it_loads_in_less_than_a_tenth_of_a_second_at_full_size(portrait: Portrait, tmp_path: Path) -> None:
    shapes = prepare._shapes(OFFICIAL)
    kept = {name: np.zeros(shape, np.float16 if name == "volume" else np.float32) for name, shape in shapes.items()}
    path = tmp_path / FILE
    prepare._save(path, "made by", kept)
    assert path.stat().st_size == pytest.approx(4.2e6, rel=0.02)
    times: list[float] = []
    for _ in range(5):
        begin = time.perf_counter()
        loaded = prepare._load(path, "made by", OFFICIAL)
        assert loaded is not None
        prepared = prepare._prepared(loaded, 1.0)
        Setting.of(portrait, square_around(outline_of_mesh(portrait.points), SOURCE))
        times.append(time.perf_counter() - begin)
        assert prepared.source.volume.shape == (1, 32, 16, 64, 64)
    assert min(times) < 0.1


def test_a_gain_is_kept_for_its_portrait_and_weights(
    preparer: Preparer, pipeline: Pipeline, portrait: Portrait, examined: Examined
) -> None:
    preparer.keep_gain(portrait, 1.25)
    assert preparer.prepare(portrait).performer.gain == 1.25
    assert Preparer(pipeline, FaceReader(), "weights").prepare(portrait).performer.gain == 1.25
    assert Preparer(pipeline, FaceReader(), "other weights").prepare(portrait).performer.gain == 1.0
    assert preparer.prepare(examined.portrait).performer.gain == 1.0


@pytest.mark.parametrize("gain", [0.0, -1.0, 3.5, float("nan")])
def test_a_gain_that_can_be_none_is_refused(preparer: Preparer, portrait: Portrait, gain: float) -> None:
    with pytest.raises(ValueError, match="of a portrait that is kept"):
        preparer.keep_gain(portrait, gain)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"gain": "much"}', '{"gain": 1.5}', '{"gain": NaN, "made_by": "?"}']
)
def test_a_damaged_gain_counts_as_one(preparer: Preparer, portrait: Portrait, content: str) -> None:
    assert portrait.kept_in is not None
    (portrait.kept_in / "liveportrait-gain.json").write_text(content)
    assert preparer.prepare(portrait).performer.gain == 1.0


@pytest.mark.parametrize(("written", "taken"), [(100.0, 3.0), (0.001, 0.3), (float("nan"), 1.0)])
def test_a_gain_that_somebody_wrote_stays_within_its_limits(
    preparer: Preparer, portrait: Portrait, written: float, taken: float
) -> None:
    assert portrait.kept_in is not None
    preparer.keep_gain(portrait, 1.0)
    path = portrait.kept_in / "liveportrait-gain.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"gain": written}))
    assert preparer.prepare(portrait).performer.gain == taken


def test_weights_have_a_name_that_any_change_changes(networks: Networks) -> None:
    name = weights_fingerprint(networks)
    again = random_networks(NARROW, 1)
    assert weights_fingerprint(again) == name
    for changed in (again.appearance, again.motion, again.eye, again.lip):
        last = list(changed.parameters())[-1]
        last.view(-1)[-1] += 1e-3
        assert weights_fingerprint(again) != name
        last.view(-1)[-1] -= 1e-3
    # W and G leave no trace in what is kept.
    next(again.generator.parameters()).view(-1)[0] += 1.0
    last_name = weights_fingerprint(random_networks(NARROW, 2))
    assert last_name != name


def test_an_avatars_prepared_portrait_goes_when_the_avatar_goes(
    data_dir: Path, default_file: bytes, preparer: Preparer
) -> None:
    store = AvatarStore(data_dir, max_avatars=2)
    store.create("zoe", "", "I am a drawing", default_file)
    preparer.prepare(store.portrait("zoe"))
    assert (data_dir / "avatars" / "zoe" / FILE).exists()
    store.delete("zoe")
    assert not list(data_dir.rglob(FILE))
    preparer.prepare(store.portrait(DEFAULT_ID))
    assert list(data_dir.rglob(FILE)) == [data_dir / "prepared" / DEFAULT_ID / FILE]
    assert [record.avatar_id for record in AvatarStore(data_dir, max_avatars=2).records()] == [DEFAULT_ID]


def test_a_prepared_portrait_is_drawn_and_put_back(pipeline: Pipeline, preparer: Preparer, portrait: Portrait) -> None:
    prepared = preparer.prepare(portrait)
    states = [FaceState(), FaceState(weights_of({"jawOpen": 0.8, "eyeBlink": 1.0}), HeadPose(5.0, 2.0, 1.0))]
    frames = [prepared.performer.drive(state) for state in states]
    source = Source.stacked([prepared.source] * len(frames))
    faces = torch.from_numpy(to_rgb(pipeline.frames(source, batched(source.face, frames))))
    setting = Setting.stacked([Setting.of(portrait, prepared.square)] * len(frames))
    shown = bytes_of(setting.with_faces(faces), FRAME_EDGE).numpy()
    assert shown.shape == (2, FRAME_EDGE, FRAME_EDGE, 3)
    assert (shown[0] != shown[1]).any()
    own = portrait.image_rgb[MARGIN : MARGIN + FRAME_EDGE, MARGIN : MARGIN + FRAME_EDGE]
    around = setting.mask[0, 0].numpy() == 0.0
    assert 0.1 < around.mean() < 0.9
    np.testing.assert_array_equal(shown[:, around], np.stack([own[around]] * 2))
