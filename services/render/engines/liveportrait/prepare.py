"""Prepares portraits: what is done once and not for every frame, kept beside the avatar for the next time."""

from __future__ import annotations

import hashlib
import io
import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from services.common.log import get_logger
from services.render.engine import Portrait
from services.render.engines.liveportrait.arrays import DamagedArraysError, read_arrays
from services.render.engines.liveportrait.config import LivePortraitConfig
from services.render.engines.liveportrait.crop import Square, cut, network_input
from services.render.engines.liveportrait.drive import KEYPOINTS
from services.render.engines.liveportrait.expression import MAX_GAIN, MIN_GAIN, Performer
from services.render.engines.liveportrait.keypoints import Face
from services.render.engines.liveportrait.networks import Networks
from services.render.engines.liveportrait.pipeline import Pipeline, Source
from services.render.engines.liveportrait.ratios import Ratios
from services.render.engines.liveportrait.reading import FaceReader
from services.render.engines.liveportrait.retargeting import retarget

# Rises with everything here, and in cutting and reading, that changes what is kept.
_VERSION = 1
_FILE, _GAIN_FILE = "liveportrait.npz", "liveportrait-gain.json"
_UNFINISHED = "~"
# The networks that what is kept comes from.
_NETWORKS = ("appearance", "motion", "eye", "lip")
_FACE = ("kp", "pitch", "yaw", "roll", "exp", "scale", "t")
_POINTS = ("kp", "exp", "x_s", "lip_shift", "shut_eyes")
_SOURCE = ("x_s", "eye_ratios", "lip_ratio", "lip_shift")
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PreparedPortrait:
    """What every frame of a portrait needs.

    Attributes:
        source: of one portrait, on the CPU; the volume's values are those of float16, whatever draws.
        square: what was cut of the portrait, in its pixels; `paste.Setting.of` puts faces back there.
        performer: how it follows the state of its face.
    """

    source: Source
    square: Square
    performer: Performer


def weights_fingerprint(networks: Networks) -> str:
    """A name for the weights that prepared portraits depend on; takes an eighth of a second on one core."""
    digest = hashlib.blake2b(digest_size=16)
    for name in _NETWORKS:
        for key, weight in networks.get_submodule(name).state_dict().items():
            digest.update(f"{name}.{key} {tuple(weight.shape)} {weight.dtype}".encode())
            digest.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


class Preparer:
    """Prepares portraits, or loads what was prepared before. Blocking, and not for use by two threads at once."""

    def __init__(self, pipeline: Pipeline, reader: FaceReader, weights: str) -> None:
        """Args: weights: `weights_fingerprint` of the networks as they were loaded."""
        self._pipeline = pipeline
        self._reader = reader
        self._made_by = f"{_VERSION} {weights} {reader.route}"

    def prepare(self, portrait: Portrait) -> PreparedPortrait:
        """Raises: InvalidRequestError if the portrait's landmarks are no face."""
        fingerprint = self._fingerprint(portrait)
        path = portrait.kept_in / _FILE if portrait.kept_in is not None else None
        kept = _load(path, fingerprint, self._pipeline.config) if path is not None else None
        if kept is None:
            kept = self._make(portrait)
            if path is not None:
                _save(path, fingerprint, kept)
        return _prepared(kept, 1.0 if portrait.kept_in is None else _gain(portrait.kept_in, self._made_by))

    def keep_gain(self, portrait: Portrait, gain: float) -> None:
        """Remember how far a portrait's lips part, for as long as its avatar and these weights stay.

        Args: gain: MIN_GAIN to MAX_GAIN.
        Raises: ValueError if it is not, or if the portrait is kept nowhere.
        """
        if portrait.kept_in is None or not MIN_GAIN <= gain <= MAX_GAIN:
            raise ValueError(f"a gain is {MIN_GAIN:g} to {MAX_GAIN:g}, of a portrait that is kept; not {gain:g}")
        content = json.dumps({"gain": gain, "made_by": self._made_by})
        _replace(portrait.kept_in / _GAIN_FILE, content.encode())

    def _fingerprint(self, portrait: Portrait) -> str:
        digest = hashlib.blake2b(self._made_by.encode(), digest_size=16)
        digest.update(portrait.image_rgb.tobytes())
        digest.update(portrait.points.tobytes())
        return digest.hexdigest()

    def _make(self, portrait: Portrait) -> dict[str, NDArray[Any]]:
        reading = self._reader.portrait(portrait.image_rgb, portrait.points)
        size = self._pipeline.config.image_size
        ratios = reading.ratios
        with torch.inference_mode():
            source = self._pipeline.prepare(
                network_input(cut(portrait.image_rgb, reading.square), size)[None],
                torch.tensor([[ratios.eye_left, ratios.eye_right]]),
                torch.tensor([[ratios.lips]]),
            )
            shut = torch.cat([source.eye_ratios, torch.zeros_like(source.lip_ratio)], dim=1)
            shift = retarget(self._pipeline.networks.eye, source.x_s, shut)
            shut_eyes = shift / source.face.scale[:, :, None]
        square = reading.square
        tensors = {
            **{name: getattr(source.face, name) for name in _FACE},
            **{name: getattr(source, name) for name in _SOURCE},
            "shut_eyes": shut_eyes,
        }
        return {
            "volume": source.volume.half().cpu().numpy(),
            "square": np.array([square.x, square.y, square.edge, square.angle]),
            **{name: tensor.float().cpu().numpy() for name, tensor in tensors.items()},
        }


def _prepared(kept: Mapping[str, NDArray[Any]], gain: float) -> PreparedPortrait:
    tensors = {name: torch.from_numpy(kept[name]) for name in (*_FACE, *_SOURCE)}
    face = Face(**{name: tensors[name] for name in _FACE})
    source = Source(torch.from_numpy(kept["volume"]).float(), face, **{name: tensors[name] for name in _SOURCE})
    left, right = kept["eye_ratios"][0].tolist()
    ratios = Ratios(left, right, float(kept["lip_ratio"][0, 0]))
    square = Square(*kept["square"].tolist())
    return PreparedPortrait(source, square, Performer(ratios, kept["shut_eyes"][0], gain))


def _shapes(config: LivePortraitConfig) -> dict[str, tuple[int, ...]]:
    """Of what is kept, by name."""
    points = (1, KEYPOINTS, 3)
    angles = dict.fromkeys(("pitch", "yaw", "roll"), (1,))
    own = {"volume": (1, *config.volume), "square": (4,), "eye_ratios": (1, 2), "lip_ratio": (1, 1)}
    return own | angles | dict.fromkeys(_POINTS, points) | {"scale": (1, 1), "t": (1, 3)}


def _load(path: Path, fingerprint: str, config: LivePortraitConfig) -> dict[str, NDArray[Any]] | None:
    """What was kept; None if nothing was, or of another portrait, other weights or another version."""
    shapes = _shapes(config)
    try:
        kept = read_arrays(path.read_bytes(), ("fingerprint", *shapes))
        if str(kept["fingerprint"]) != fingerprint:
            return None
        if any(kept[name].shape != shape for name, shape in shapes.items()):
            raise DamagedArraysError("it holds other shapes")
    except FileNotFoundError:
        return None
    except (OSError, DamagedArraysError) as damaged:
        log.warning("prepared_portrait_damaged", file=path.name, error=str(damaged)[:200])
        return None
    return kept


def _save(path: Path, fingerprint: str, kept: Mapping[str, NDArray[Any]]) -> None:
    """Keep it for the next time; where that fails, the portrait is prepared again then."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, fingerprint=np.array(fingerprint), **kept)
    try:
        _replace(path, content.getvalue())
    except OSError as failed:
        log.warning("prepared_portrait_not_kept", file=path.name, error=str(failed)[:200])


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises: OSError."""
    new = path.with_name(f"{_UNFINISHED}{path.name}-{secrets.token_hex(4)}")
    try:
        new.write_bytes(content)
        # A file that is there is a whole one: renaming is the only step that shows it.
        new.rename(path)
    finally:
        new.unlink(missing_ok=True)


def _gain(folder: Path, made_by: str) -> float:
    """What `keep_gain` kept; 1 if nothing was, or by other weights."""
    try:
        content = json.loads((folder / _GAIN_FILE).read_bytes())
        gain = float(content["gain"]) if content["made_by"] == made_by else 1.0
        if not math.isfinite(gain):
            raise ValueError(f"the gain is {gain}")
    except FileNotFoundError:
        return 1.0
    except (OSError, ValueError, KeyError, TypeError) as damaged:
        log.warning("gain_damaged", file=_GAIN_FILE, error=str(damaged)[:200])
        return 1.0
    return min(max(gain, MIN_GAIN), MAX_GAIN)
