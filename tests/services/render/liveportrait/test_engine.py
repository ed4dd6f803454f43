"""The production face on narrow networks: what is drawn, what is held, what goes wrong, and how it is said."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from services.common.errors import EngineError, NotReadyError, OverloadedError
from services.render.blendshapes import weights_of
from services.render.engine import FRAME_EDGE, MARGIN, DeviceLostError, FaceState, FrameJob, HeadPose, VideoCodec
from services.render.engines.liveportrait.engine import SETTING_BYTES, LivePortraitAvatar, LivePortraitEngine
from services.render.image_file import decode
from services.render.portrait import Examined

LIVELY = FaceState(weights_of({"jawOpen": 0.7, "mouthSmile": 0.5}), HeadPose(3, 2, 2))
MAX_SOURCES = 3


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def batching(official_folder: Path, compiled: Path) -> Iterator[LivePortraitEngine]:
    """An engine that draws up to four frames at once."""
    engine = LivePortraitEngine(official_folder, "cpu", MAX_SOURCES, compiled, (1, 2, 4))
    yield engine
    engine.close()


@pytest.fixture
def face(batching: LivePortraitEngine, examined: Examined) -> LivePortraitAvatar:
    return batching.prepare(examined.portrait)


def job(face: LivePortraitAvatar, state: FaceState | None = None, size: int = 256) -> FrameJob:
    return FrameJob(face, state or FaceState(), size, VideoCodec.I420)


def picture(frame: bytes, size: int = 256) -> np.ndarray:
    planes = np.frombuffer(frame, np.uint8).reshape(size * 3 // 2, size)
    return cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420).astype(np.float64)


def psnr_db(a: bytes, b: bytes) -> float:
    error = np.mean((np.frombuffer(a, np.uint8).astype(float) - np.frombuffer(b, np.uint8).astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def test_the_face_moves_and_what_is_around_it_is_the_portrait(
    batching: LivePortraitEngine, face: LivePortraitAvatar, examined: Examined
) -> None:
    rest, lively = (picture(frame, FRAME_EDGE) for frame in batching.draw([job(face, s, 512) for s in (None, LIVELY)]))
    frame = examined.portrait.image_rgb[MARGIN:-MARGIN, MARGIN:-MARGIN].astype(np.float64)
    around = face.setting.mask[0, 0].numpy() == 0
    assert 0.05 < around.mean() < 0.9, "the default portrait has both"
    assert np.abs(rest - frame)[around].mean() < 3, "I420 has half of the colours only"
    moved = np.abs(rest - lively).mean(axis=-1)
    assert moved[~around].mean() > 10 * moved[around].mean()


def test_a_batch_of_mixed_sizes_and_codecs_is_drawn_in_its_order(
    batching: LivePortraitEngine, face: LivePortraitAvatar, examined: Examined
) -> None:
    dark = batching.prepare(replace(examined.portrait, image_rgb=examined.portrait.image_rgb // 3))
    jobs = [
        FrameJob(dark, LIVELY, 128, VideoCodec.JPEG),
        FrameJob(face, FaceState(), 256, VideoCodec.I420),
        FrameJob(face, LIVELY, 128, VideoCodec.JPEG),
        FrameJob(dark, FaceState(), 256, VideoCodec.I420),
    ]
    alone = [batching.draw([each])[0] for each in jobs]
    together = batching.draw(jobs)
    for each, one, same in zip(jobs, alone, together, strict=True):
        if each.codec is VideoCodec.I420:
            # Libraries add up in another order in another batch.
            assert psnr_db(one, same) > 50
        else:
            assert np.abs(decode(one).astype(float) - decode(same)).mean() < 1
    # A corner, which is the portrait's: each in its own.
    assert picture(together[1])[:20, :20].mean() > 2 * picture(together[3])[:20, :20].mean()


def test_a_face_in_a_batch_shows_nothing_of_the_others(
    batching: LivePortraitEngine, face: LivePortraitAvatar, examined: Examined
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, examined.portrait.image_rgb.shape, np.uint8)
    other = batching.prepare(replace(examined.portrait, image_rgb=noise))
    among_itself = batching.draw([job(face, LIVELY), job(face), job(face), job(face)])[0]
    among_others = batching.draw([job(face, LIVELY), job(other), job(other, LIVELY), job(other)])[0]
    assert among_others == among_itself


def test_a_portrait_gives_its_place_back_when_nobody_holds_it(batching: LivePortraitEngine, examined: Examined) -> None:
    held = [batching.prepare(examined.portrait) for _ in range(MAX_SOURCES)]
    with pytest.raises(OverloadedError, match="3 portraits are ready to be drawn"):
        batching.prepare(examined.portrait)
    frame = batching.draw([job(held[0])])[0]
    del held[1:]
    gc.collect()
    again = batching.prepare(examined.portrait)
    assert batching.draw([job(again)])[0] == frame


def test_it_says_what_a_portrait_takes(batching: LivePortraitEngine, face: LivePortraitAvatar) -> None:
    assert face.setting.byte_count == SETTING_BYTES
    assert SETTING_BYTES < batching.capabilities.prepared_bytes < SETTING_BYTES + 100_000
    assert batching.capabilities.plays_idle_loops


def test_other_weights_have_another_look(official_folder: Path, batching: LivePortraitEngine, tmp_path: Path) -> None:
    from services.render.engines.liveportrait.config import NARROW
    from services.render.engines.liveportrait.random_weights import write_official_folder

    write_official_folder(tmp_path, NARROW, seed=2)
    other = LivePortraitEngine(tmp_path, "cpu", 1, tmp_path / "compiled")
    other.close()
    assert other.capabilities.look != batching.capabilities.look
    same = LivePortraitEngine(official_folder, "cpu", 1, tmp_path / "compiled")
    same.close()
    assert same.capabilities.look == batching.capabilities.look


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be"),
        RuntimeError("CUDA error: unspecified launch failure"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"),
    ],
)
def test_a_device_that_fails_is_lost(
    batching: LivePortraitEngine, face: LivePortraitAvatar, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    monkeypatch.setattr("torch.nn.functional.grid_sample", _raising(error))
    with pytest.raises(DeviceLostError, match="cpu failed: ") as lost:
        batching.draw([job(face)])
    assert "\n" not in str(lost.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
    ],
)
def test_memory_that_is_full_is_no_loss(
    batching: LivePortraitEngine, face: LivePortraitAvatar, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    frame = batching.draw([job(face)])[0]
    with monkeypatch.context() as full:
        full.setattr("torch.nn.functional.grid_sample", _raising(error))
        with pytest.raises(EngineError, match="the memory of cpu is full: ") as failed:
            batching.draw([job(face)])
        assert not isinstance(failed.value, DeviceLostError)
    assert batching.draw([job(face)])[0] == frame


def test_a_mistake_of_our_own_is_neither(
    batching: LivePortraitEngine, face: LivePortraitAvatar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.nn.functional.grid_sample", _raising(RuntimeError("sizes do not match")))
    with pytest.raises(RuntimeError, match="sizes do not match"):
        batching.draw([job(face)])


def test_a_device_with_little_memory_draws_smaller_batches(
    official_folder: Path, compiled: Path, examined: Examined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.nn.functional.instance_norm", _full_beyond(2))
    engine = LivePortraitEngine(official_folder, "cpu", 1, compiled, (1, 2, 4, 8))
    assert engine.capabilities.batch_sizes == (1, 2)
    face = engine.prepare(examined.portrait)
    assert len(engine.draw([job(face), job(face, LIVELY)])) == 2
    engine.close()


def test_a_device_with_too_little_memory_is_refused_in_a_sentence(
    official_folder: Path, compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.nn.functional.instance_norm", _full_beyond(0))
    with pytest.raises(NotReadyError, match=r"^LivePortrait needs more memory than cpu has free: .*Tried to allocate"):
        LivePortraitEngine(official_folder, "cpu", 1, compiled, (1, 2))


def test_a_closed_engine_prepares_nothing(official_folder: Path, compiled: Path, examined: Examined) -> None:
    engine = LivePortraitEngine(official_folder, "cpu", 1, compiled)
    engine.close()
    with pytest.raises(DeviceLostError, match="closed"):
        engine.prepare(examined.portrait)


def _raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        # Another one each time: an error keeps everything alive that it came through.
        raise type(error)(*error.args)

    return fail


def _full_beyond(frames: int) -> Callable[..., torch.Tensor]:
    """A layer of the generator that has memory for so many frames."""
    norm = torch.nn.functional.instance_norm

    def layer(x: torch.Tensor, **options: Any) -> torch.Tensor:
        if len(x) > frames:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return norm(x, **options)

    return layer
