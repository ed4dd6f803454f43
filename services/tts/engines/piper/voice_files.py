"""The voices in a folder, as Piper publishes them: NAME.onnx and, beside it, NAME.onnx.json with how to use it."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from services.common.errors import NotReadyError
from services.tts.engines.piper.spelling import BEGIN, END, PAD

_CONFIG_SUFFIX = ".onnx.json"
_MAX_VOICE_ID = 63
_Ids = Annotated[list[int], Field(min_length=1)]


class _Audio(BaseModel):
    sample_rate: Annotated[int, Field(ge=8_000, le=48_000)]
    quality: str = ""


class _Espeak(BaseModel):
    voice: str


class _Inference(BaseModel):
    noise_scale: Annotated[float, Field(ge=0, le=2)] = 0.667
    length_scale: Annotated[float, Field(gt=0, le=10)] = 1.0
    noise_w: Annotated[float, Field(ge=0, le=2)] = 0.8


class _Language(BaseModel):
    code: str
    name_english: str = ""


class _Config(BaseModel):
    """What of a voice's configuration is used."""

    audio: _Audio
    espeak: _Espeak
    phoneme_type: str = "espeak"
    phoneme_id_map: dict[str, _Ids]
    inference: _Inference = _Inference()
    num_speakers: Annotated[int, Field(ge=1)] = 1
    speaker_id_map: dict[str, int] = {}
    hop_length: Annotated[int, Field(ge=1)] = 256
    language: _Language | None = None
    dataset: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class VoiceFile:
    """One published voice.

    Args:
        path: of its model.
        name: as it is published, "de_DE-thorsten-medium".
        language: a BCP-47 tag, "de-DE".
        espeak_voice: the language tag by which espeak-ng is asked for its phonemes.
        ids: what stands for each symbol.
        speakers: id of each of its speakers by name; one without a name where it has one only.
        noise: how much its sound and, second, its rhythm vary.
        length: of its phonemes, as a factor.
        frame_samples: samples of one frame.
    """

    path: Path
    name: str
    language: str
    espeak_voice: str
    sample_rate_hz: int
    ids: Mapping[str, tuple[int, ...]]
    speakers: Mapping[str, int]
    noise: tuple[float, float]
    length: float
    frame_samples: int

    def voice_id(self, speaker: str) -> str:
        """Its id in this service. Args: speaker: one of `speakers`."""
        plain = re.sub("[^a-z0-9]+", "-", f"{self.name}-{speaker}".lower())
        return plain[:_MAX_VOICE_ID].strip("-")

    def display_name(self, speaker: str) -> str:
        """For people: "Thorsten (de-DE)"."""
        parts = self.name.split("-")
        person = parts[1] if len(parts) > 1 else self.name
        who = f"{person} {speaker}".replace("_", " ").strip()
        return f"{who[:1].upper()}{who[1:]} ({self.language})"


def _reason(error: ValidationError) -> str:
    first: Any = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the whole of it'}: {first['msg']}"


def _read(config_path: Path) -> VoiceFile:
    path = config_path.with_name(config_path.name.removesuffix(".json"))
    if not path.is_file():
        raise NotReadyError(f"{path} is missing; it belongs to {config_path.name}")
    try:
        config = _Config.model_validate(json.loads(config_path.read_bytes()))
    except OSError as error:
        raise NotReadyError(f"{config_path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise NotReadyError(f"{config_path} is not the configuration of a voice of Piper: {_reason(error)}") from error
    except ValueError as error:
        raise NotReadyError(f"{config_path} is damaged or not whole; fetch the official file again") from error
    if config.phoneme_type != "espeak":
        raise NotReadyError(
            f"{path.name} reads {config.phoneme_type}, and this engine writes phonemes of espeak-ng only"
        )
    if missing := [symbol for symbol in (PAD, BEGIN, END) if symbol not in config.phoneme_id_map]:
        raise NotReadyError(f"{config_path} has no id for {missing[0]!r} in its phoneme_id_map")
    tag = config.language.code if config.language else path.name.split("-")[0]
    speakers = config.speaker_id_map if config.num_speakers > 1 else {}
    if config.num_speakers > 1 and not speakers:
        speakers = {str(number): number for number in range(config.num_speakers)}
    return VoiceFile(
        path=path,
        name=path.name.removesuffix(".onnx"),
        language=tag.replace("_", "-"),
        espeak_voice=config.espeak.voice,
        sample_rate_hz=config.audio.sample_rate,
        ids={symbol: tuple(ids) for symbol, ids in config.phoneme_id_map.items()},
        speakers=speakers or {"": 0},
        noise=(config.inference.noise_scale, config.inference.noise_w),
        length=config.inference.length_scale,
        frame_samples=config.hop_length,
    )


def find(folder: Path) -> tuple[VoiceFile, ...]:
    """The voices below a folder, by name.

    Raises: NotReadyError, in a sentence, if there is none or one of them is not whole.
    """
    found = [_read(path) for path in sorted(folder.rglob(f"*{_CONFIG_SUFFIX}"))]
    lonely = [path for path in sorted(folder.rglob("*.onnx")) if not path.with_name(f"{path.name}.json").is_file()]
    if lonely:
        raise NotReadyError(f"{lonely[0]}.json is missing; it says how {lonely[0].name} is used")
    if not found:
        raise NotReadyError(f"there is no voice of Piper in {folder}: a NAME.onnx with its NAME.onnx.json")
    found.sort(key=lambda voice: voice.name)
    for one, other in itertools.pairwise(found):
        if one.name == other.name:
            raise NotReadyError(f"{one.path} and {other.path} are two voices of one name; remove one of them")
    return tuple(found)
