"""What any engine that draws a face offers: a protocol and its plain value types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.common.errors import EngineError
from services.render.blendshapes import Weights, rest

# Shape (edge, edge, 3), RGB.
FrameRgb = NDArray[np.uint8]

MIN_SIZE = 64
MAX_SIZE = 512


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Degrees from the portrait's own pose: yaw to the viewer's right, pitch up, roll clockwise for the viewer."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0


class RecordedMotion(Protocol):
    """What an engine read of a driving file; it stays of use when the engine is started anew."""

    @property
    def duration_s(self) -> float:
        """Its length."""

    @property
    def frame_count(self) -> int:
        """Frames that it was read in."""

    def to_file(self) -> bytes:
        """The motion itself, as a file that `RenderEngine.read_motion` takes."""


@dataclass(frozen=True, slots=True)
class Driving:
    """Recorded motion that moves the face now.

    Attributes:
        motion: from an engine's `read_motion`.
        offset_s: the place in it; its end stays.
        share: 0 to 1, how much of it moves the face; it is less than 1 while it goes.
        speech: 0 to 1, how far the lips are not the motion's but those of the weights.
    """

    motion: RecordedMotion
    offset_s: float
    share: float = 1.0
    speech: float = 0.0


@dataclass(frozen=True, slots=True)
class FaceState:
    """Everything that changes from frame to frame.

    Attributes:
        weights: the gaze is in the eyeLook weights, 1 being the farthest look.
        driven: what moves the face besides, for engines that read motion; others leave it out.
    """

    weights: Weights = field(default_factory=rest)
    pose: HeadPose = HeadPose()
    driven: tuple[Driving, ...] = ()


@dataclass(frozen=True, slots=True)
class Portrait:
    """A portrait that passed the checks, cropped to the frame with a margin around it.

    Attributes:
        image_rgb: shape (PORTRAIT_EDGE, PORTRAIT_EDGE, 3); the frame is its middle FRAME_EDGE pixels.
        points: shape (478, 3), the landmarks in pixels of `image_rgb`.
        person: shape (PORTRAIT_EDGE, PORTRAIT_EDGE), 0 to 255: how much of a pixel belongs to the person.
        kept_in: a folder that goes when the avatar goes, where an engine may keep what it made of the portrait; None
            for a picture that is not kept.
    """

    image_rgb: NDArray[np.uint8]
    points: NDArray[np.float32]
    person: NDArray[np.uint8]
    kept_in: Path | None = None


FRAME_EDGE = 512
# The head moves: what comes in at the frame's edge is taken from this margin.
MARGIN = 24
PORTRAIT_EDGE = FRAME_EDGE + 2 * MARGIN


class VideoCodec(IntEnum):
    """Numbered as in avatar.render.v1.VideoCodec; `video.py` makes both of an RGB picture."""

    I420 = 1
    JPEG = 2


class DeviceLostError(EngineError):
    """The engine's device is gone (a GPU that fell off its bus, a broken CUDA context): no further frame will come.

    The message is one sentence for /health.
    """


class PreparedAvatar(Protocol):
    """What an engine keeps of a portrait to draw it fast; made by `prepare`, opaque to everyone else.

    It may be drawn as long as somebody holds it, and takes `Capabilities.prepared_bytes`.
    """


@dataclass(frozen=True, slots=True)
class FrameJob:
    """One frame to draw.

    Attributes:
        prepared: from the same engine's `prepare`.
        size: edge of the square frame in pixels: MIN_SIZE to MAX_SIZE, even.
    """

    prepared: PreparedAvatar
    state: FaceState
    size: int
    codec: VideoCodec


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do; fixed for its life.

    Attributes:
        batch_sizes: rising. `draw` takes as many jobs as the largest, and n jobs cost what the smallest size costs
            that is not less than n, so that a place which is left over is free.
        prepared_bytes: memory of one prepared avatar, on whatever device it lives. An engine keeps nothing else of a
            session: all that changes comes with each job.
        plays_idle_loops: frames are so costly that an idle face is played from a loop that was drawn once.
        look: changes with everything that changes pictures (weights, crop): loops of another look are drawn anew.
        reads_motion: recorded motion can move its faces.
    """

    batch_sizes: tuple[int, ...] = (1,)
    prepared_bytes: int = 0
    plays_idle_loops: bool = False
    look: str = ""
    reads_motion: bool = False

    @property
    def max_batch(self) -> int:
        """The most jobs of one `draw`."""
        return self.batch_sizes[-1]


class RenderEngine(Protocol):
    """Draws faces: plain synchronous code that knows no session.

    `draw` is called from one thread. `prepare` is called from another one, also while `draw` runs, and must not hold it
    up: what cannot run beside it waits on a lock of the engine's own.
    """

    @property
    def name(self) -> str:
        """As in the settings."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    @property
    def path(self) -> str:
        """How it draws now, in a word, where there are several ways ("graph+triton"); else empty.

        It may change from one `draw` to the next: a faster way that was made ready behind is swapped in. Its cost is
        then measured anew, and callers are told.
        """

    def prepare(self, portrait: Portrait) -> PreparedAvatar:
        """Do once per portrait what every frame needs.

        Raises: EngineError if the portrait cannot be drawn; DeviceLostError.
        """

    def read_motion(self, file: bytes) -> RecordedMotion:
        """Motion of a driving video, or of a file that holds motion. Takes up to a minute.

        It is called from a thread of its own, and holds nothing else up.

        Raises:
            UnsupportedError: if the engine reads none, or not of such files.
            InvalidRequestError: in words, if the file is damaged, too large or too long, or shows no face.
            DeviceLostError; EngineError.
        """

    def draw(self, jobs: Sequence[FrameJob]) -> list[bytes]:
        """Draw and code a frame for each job.

        Args: jobs: 1 to `max_batch`, of any avatars, sizes and codecs; none of them shows in the frame of another.
        Returns: the frames in the order of the jobs, each in its job's codec.
        Raises: DeviceLostError; EngineError for any other failure, after which the next call may succeed.
        """

    def close(self) -> None:
        """Free the device, also after it was lost. Called once, from the thread that draws or after it has ended."""
