"""The production face: LivePortrait's frames for many streams, put back into their portraits and coded."""

from __future__ import annotations

import copy
import gc
import hashlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from weakref import finalize

import torch
from torch import Tensor

from services.common.errors import EngineError, NotReadyError, OverloadedError
from services.common.log import get_logger
from services.render import metrics
from services.render.engine import FRAME_EDGE, Capabilities, DeviceLostError, FrameJob, Portrait
from services.render.engines.liveportrait.batching import batched
from services.render.engines.liveportrait.checkpoint import FILES, load_networks
from services.render.engines.liveportrait.clip import MotionClip
from services.render.engines.liveportrait.coding import Coder
from services.render.engines.liveportrait.device import described, device_of, errors_of, is_full
from services.render.engines.liveportrait.expression import Performer
from services.render.engines.liveportrait.fast.frames import BATCH_SIZES, FastFrames
from services.render.engines.liveportrait.motion_files import MotionReader
from services.render.engines.liveportrait.networks import Networks
from services.render.engines.liveportrait.paste import Setting
from services.render.engines.liveportrait.pipeline import Pipeline, Source, driven
from services.render.engines.liveportrait.prepare import Preparer, weights_fingerprint
from services.render.engines.liveportrait.reading import FaceReader
from services.render.engines.liveportrait.retargeting import Mlp
from services.render.engines.liveportrait.sizes import read_sizes
from services.render.landmarks import FaceLandmarker

# Rises with whatever here or in paste-back changes pictures.
_VERSION = 1
# A batch on the CPU saves nothing.
CPU_BATCH_SIZES = (1,)
# Grid, mask and picture of a portrait's `Setting`.
SETTING_BYTES = FRAME_EDGE**2 * (2 * 4 + 4 + 3)
# A step of what makes the engine faster takes seconds; the end of the process waits for one.
_STEP_S = 30.0
log = get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class LivePortraitAvatar:
    """A prepared portrait.

    Attributes:
        slot: of its features, which lie on the device.
        source: everything else of it, on the CPU.
        setting: what its faces are put into, on the device.
    """

    slot: int
    source: Source
    setting: Setting
    performer: Performer


@dataclass(frozen=True, slots=True)
class _OnCpu:
    """Networks that have so little to do for a frame that the way to a GPU takes longer."""

    stitching: Mlp
    eye: Mlp
    lip: Mlp


class _ClosedError(Exception):
    """The engine is no longer wanted."""


class LivePortraitEngine:
    """Draws by `FastFrames`: at once as PyTorch runs it, and by the compiled and captured path once that is ready."""

    name = "liveportrait"

    def __init__(
        self,
        folder: Path,
        device: str,
        max_sources: int,
        compiled: Path,
        batch_sizes: Sequence[int] | None = None,
        open_landmarker: Callable[[], FaceLandmarker] | None = None,
    ) -> None:
        """Load the networks, draw a largest batch, and begin to make the fast path ready behind.

        Args:
            folder: the official `pretrained_weights`.
            device: cpu, cuda, or cuda:1 and so on.
            max_sources: portraits that are held at once.
            compiled: keeps compiled kernels from one start to the next.
            batch_sizes: by default those of the device, as far as its memory allows.
            open_landmarker: loads what finds faces in driving videos; without it, none are read.
        Raises: NotReadyError if the weights are not the official ones, or the device is not there or too small.
        """
        self._device = device_of(device)
        on_cpu = load_networks(folder, read_sizes(folder))
        weights = weights_fingerprint(on_cpu)
        self._on_cpu = _OnCpu(*(copy.deepcopy(network) for network in (on_cpu.stitching, on_cpu.eye, on_cpu.lip)))
        reader = FaceReader.of_folder(folder)
        is_gpu = self._device.type == "cuda"
        if is_gpu:
            # What is left for the CPU is too small to be shared out.
            torch.set_num_threads(1)
        sizes = tuple(batch_sizes or (BATCH_SIZES if is_gpu else CPU_BATCH_SIZES))
        try:
            with errors_of(self._device):
                networks = on_cpu.to(self._device)
                self._frames = _fitting(networks, sizes, max_sources, compiled, self._device)
        except DeviceLostError as lost:
            raise NotReadyError(f"LivePortrait cannot draw on {self._device}: {lost}") from lost
        except EngineError as full:
            raise NotReadyError(f"LivePortrait needs more memory than {self._device} has free: {full}") from full
        pipeline = Pipeline(networks)
        self._preparer = Preparer(pipeline, reader, weights)
        self._motion = MotionReader(open_landmarker, reader, pipeline.read, networks.config.image_size)
        self._coder = Coder(self._device)
        # Drawing and preparing share the device without waiting for each other.
        self._draws, self._prepares, self._reads = self._stream(), self._stream(), self._stream()
        # Filled by whoever drops an avatar, in the middle of whatever: the slots are given back by who prepares next.
        self._dropped: deque[int] = deque()
        self._one_prepares = threading.Lock()
        self.capabilities = Capabilities(
            batch_sizes=self._frames.batch_sizes,
            prepared_bytes=self._frames.source_bytes + SETTING_BYTES,
            plays_idle_loops=True,
            reads_motion=True,
            look=f"{_VERSION} {weights} {reader.route} {_files_fingerprint(folder)}",
        )
        self.device_name = described(self._device)
        # How it draws, as of `fast.frames.Way`.
        self.path = self._frames.way.name
        if is_gpu:
            metrics.DEVICE_BYTES.labels("used").set_function(partial(torch.cuda.memory_allocated, self._device))
            metrics.DEVICE_BYTES.labels("held").set_function(partial(torch.cuda.memory_reserved, self._device))
        self._is_closed = threading.Event()
        self._accelerating = threading.Thread(target=self._accelerate, name="accelerate", daemon=True)
        self._accelerating.start()
        log.info(
            "liveportrait_loaded",
            device=self.device_name,
            batch_sizes=self._frames.batch_sizes,
            faces=reader.route,
        )

    def _stream(self) -> torch.cuda.Stream | None:
        return torch.cuda.Stream(self._device) if self._device.type == "cuda" else None

    def _on(self, stream: torch.cuda.Stream | None) -> AbstractContextManager[None]:
        return nullcontext() if stream is None else torch.cuda.stream(stream)

    def _accelerate(self) -> None:
        def step(what: str) -> None:
            if self._is_closed.is_set():
                raise _ClosedError
            log.info("liveportrait_accelerates", step=what)

        try:
            with errors_of(self._device):
                self._frames.warm_up(step)
        except _ClosedError:
            return
        # What draws goes on as it did, and says so itself if the device is gone.
        except (EngineError, RuntimeError) as failed:
            log.warning("liveportrait_not_faster", path=self.path, error=str(failed))
            return
        way = self._frames.way
        self.path = way.name
        log.info("liveportrait_path", path=way.name, slower_because=way.reason)

    def settled(self, timeout_s: float) -> bool:
        """Wait until the fast path draws or was given up. Returns: False if neither has come in that time."""
        self._accelerating.join(timeout_s)
        return not self._accelerating.is_alive()

    def prepare(self, portrait: Portrait) -> LivePortraitAvatar:
        """As of `RenderEngine`. Raises: InvalidRequestError if its landmarks are no face; OverloadedError."""
        with self._one_prepares:
            if self._is_closed.is_set():
                raise DeviceLostError(f"{self.name} was closed")
            with errors_of(self._device), torch.inference_mode(), self._on(self._prepares):
                ready = self._preparer.prepare(portrait)
                setting = Setting.of(portrait, ready.square, self._device)
                slot = self._slot_of(ready.source.volume)
                if self._prepares is not None:
                    self._prepares.synchronize()
        without_volume = replace(ready.source, volume=torch.empty(1, 0))
        avatar = LivePortraitAvatar(slot, without_volume, setting, ready.performer)
        finalize(avatar, self._dropped.append, slot).atexit = False
        return avatar

    @staticmethod
    def with_gain(avatar: LivePortraitAvatar, gain: float) -> LivePortraitAvatar:
        """The same avatar with lips that part by another gain; it may be drawn as long as `avatar` is held."""
        return replace(avatar, performer=replace(avatar.performer, gain=gain))

    def keep_gain(self, portrait: Portrait, gain: float) -> None:
        """As of `Preparer`: who prepares the portrait from now on draws by it."""
        with self._one_prepares:
            self._preparer.keep_gain(portrait, gain)

    def _slot_of(self, volume: Tensor) -> int:
        self._take_back()
        try:
            return self._frames.add_source(volume)
        except OverloadedError:
            # An error that was raised while it was drawn may hold an avatar that nobody else does.
            gc.collect()
            self._take_back()
            return self._frames.add_source(volume)

    def _take_back(self) -> None:
        while self._dropped:
            self._frames.remove(self._dropped.popleft())

    def read_motion(self, file: bytes) -> MotionClip:
        """As of `RenderEngine`."""
        with errors_of(self._device), torch.inference_mode(), self._on(self._reads):
            return self._motion.read(file)

    def draw(self, jobs: Sequence[FrameJob]) -> list[bytes]:
        """As of `RenderEngine`."""
        with errors_of(self._device), torch.inference_mode(), self._on(self._draws):
            avatars = [_avatar(job) for job in jobs]
            source = Source.stacked([avatar.source for avatar in avatars])
            drive = batched(
                source.face, [avatar.performer.drive(job.state) for avatar, job in zip(avatars, jobs, strict=True)]
            )
            x_d = driven(self._on_cpu, source, drive)
            faces = self._frames.render_on_device([avatar.slot for avatar in avatars], source.x_s, x_d)
            frames = Setting.stacked([avatar.setting for avatar in avatars]).with_faces(faces)
            return self._coder.code(frames, [(job.size, job.codec) for job in jobs])

    def close(self) -> None:
        """As of `RenderEngine`."""
        self._is_closed.set()
        with self._one_prepares:
            self._accelerating.join(_STEP_S)
            # Whoever still holds the engine holds nothing of the device.
            del self._preparer, self._motion, self._frames, self._coder
        if self._device.type == "cuda":
            try:
                torch.cuda.empty_cache()
            except RuntimeError as lost:
                log.info("liveportrait_not_freed", error=str(lost).partition("\n")[0])


def _fitting(
    networks: Networks, sizes: tuple[int, ...], max_sources: int, compiled: Path, device: torch.device
) -> FastFrames:
    """What draws, with the batches that the device has memory for. Raises: EngineError if it has for none."""
    while True:
        try:
            with errors_of(device), torch.inference_mode():
                frames = FastFrames(networks, sizes, max_sources, compiled)
                _try(frames)
                return frames
        except EngineError as failed:
            if len(sizes) == 1 or not is_full(failed):
                raise
            log.warning("liveportrait_smaller_batches", batch_sizes=sizes[:-1], error=str(failed))
        # What failed is forgotten by now, and its memory can be taken again.
        sizes = sizes[:-1]
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _try(frames: FastFrames) -> None:
    """Draw a largest batch."""
    slot = frames.add_source(torch.zeros(1, *frames.config.volume))
    keypoints = torch.zeros(frames.max_batch, frames.config.motion.num_kp, 3)
    frames.render([slot] * frames.max_batch, keypoints, keypoints)
    frames.remove(slot)


def _avatar(job: FrameJob) -> LivePortraitAvatar:
    assert isinstance(job.prepared, LivePortraitAvatar), "prepared by another engine"
    return job.prepared


def _files_fingerprint(folder: Path) -> str:
    """Changes when a checkpoint is exchanged, without reading it."""
    files = (folder / file for file in sorted({file for file, _ in FILES.values()}))
    seen = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.blake2b(repr(seen).encode(), digest_size=8).hexdigest()
