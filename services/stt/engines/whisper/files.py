"""A Whisper model's folder: which layout it has, its sizes, and what is wrong with it in one sentence."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from services.common.errors import NotReadyError
from services.stt.engines.whisper.runtime import MAX_TOKENS, WINDOW_STATES

# As the two libraries that define them call them.
Layout = Literal["transformers", "ctranslate2"]
_WEIGHTS: dict[str, Layout] = {
    "model.safetensors": "transformers",
    "model.safetensors.index.json": "transformers",
    "pytorch_model.bin": "transformers",
    "model.bin": "ctranslate2",
}
# Vocabularies with language tokens are larger than the one for English only.
_MULTILINGUAL_FROM = 51_865
_MOST_HEADS = 16


@dataclass(frozen=True, slots=True)
class Sizes:
    """A network's sizes, by config.json's names without their prefixes."""

    width: int
    encoder_layers: int
    encoder_heads: int
    encoder_ffn: int
    decoder_layers: int
    decoder_heads: int
    decoder_ffn: int
    vocabulary: int
    bands: int
    states: int = WINDOW_STATES
    tokens: int = MAX_TOKENS


# Of the models that there are, for those who measure without weights.
OFFICIAL = {
    "tiny": Sizes(384, 4, 6, 1536, 4, 6, 1536, 51_865, 80),
    "base": Sizes(512, 6, 8, 2048, 6, 8, 2048, 51_865, 80),
    "small": Sizes(768, 12, 12, 3072, 12, 12, 3072, 51_865, 80),
    "medium": Sizes(1024, 24, 16, 4096, 24, 16, 4096, 51_865, 80),
    "large-v3": Sizes(1280, 32, 20, 5120, 32, 20, 5120, 51_866, 128),
    "large-v3-turbo": Sizes(1280, 32, 20, 5120, 4, 20, 5120, 51_866, 128),
}


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that holds a model.

    Attributes:
        layouts: what it can be read as.
    """

    path: Path
    layouts: frozenset[Layout]

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer.json"


def find_any(models: Sequence[str], models_dir: Path) -> dict[str, ModelFolder]:
    """Those of some models that are there, in their order. Raises: NotReadyError, as `find`, if none is."""
    found: dict[str, ModelFolder] = {}
    missing: NotReadyError | None = None
    for model in models:
        try:
            found[model] = find(model, models_dir)
        except NotReadyError as error:
            missing = missing or error
    if not found and missing is not None:
        raise missing
    return found


def find(model: str, models_dir: Path) -> ModelFolder:
    """The folder of a model.

    Args:
        model: a folder, or a size such as "large-v3", whose folder is looked for in `models_dir`.
    Raises: NotReadyError, with what was looked for, if it is not there or not whole.
    """
    given = Path(model).expanduser()
    places = [given] if given.is_absolute() or "/" in model else [models_dir / f"whisper-{model}", models_dir / model]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        raise NotReadyError(f"there is no Whisper model in {places[0]}; fetch it by `avatar models pull whisper`")
    layouts = frozenset(layout for name, layout in _WEIGHTS.items() if (folder / name).is_file())
    if not layouts:
        raise NotReadyError(f"{folder} has no weights of Whisper: none of {', '.join(_WEIGHTS)}")
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise NotReadyError(f"{folder} is not whole: {name} is missing; pull the model again")
    return ModelFolder(folder, layouts)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is missing. Raises: NotReadyError if it is none."""
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as unreadable:
        raise NotReadyError(f"{file} cannot be read as JSON: {unreadable}; pull the model again") from unreadable
    if not isinstance(content, dict):
        raise NotReadyError(f"{file} holds no JSON object; pull the model again")
    return content


def read_sizes(folder: Path) -> Sizes:
    """The sizes in a config.json of the transformers layout. Raises: NotReadyError for one that is not Whisper's."""
    file = folder / "config.json"
    config = read_json(file)
    if config.get("model_type") != "whisper":
        raise NotReadyError(f'{file} describes a model of the type "{config.get("model_type")}", not "whisper"')

    def size(name: str) -> int:
        value = config.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1_000_000:
            raise NotReadyError(f"{file}: {name} is a whole number over 0, not {value!r}")
        return value

    sizes = Sizes(
        width=size("d_model"),
        encoder_layers=size("encoder_layers"),
        encoder_heads=size("encoder_attention_heads"),
        encoder_ffn=size("encoder_ffn_dim"),
        decoder_layers=size("decoder_layers"),
        decoder_heads=size("decoder_attention_heads"),
        decoder_ffn=size("decoder_ffn_dim"),
        vocabulary=size("vocab_size"),
        bands=size("num_mel_bins"),
        states=size("max_source_positions"),
        tokens=size("max_target_positions"),
    )
    if (sizes.states, sizes.tokens) != (WINDOW_STATES, MAX_TOKENS):
        raise NotReadyError(
            f"{file}: Whisper has {WINDOW_STATES} source and {MAX_TOKENS} target positions, not {sizes.states} and "
            f"{sizes.tokens}"
        )
    if sizes.width % sizes.encoder_heads or sizes.width % sizes.decoder_heads:
        raise NotReadyError(f"{file}: d_model {sizes.width} cannot be shared by its attention heads")
    return sizes


@dataclass(frozen=True, slots=True)
class Generation:
    """How a model's text is chosen.

    Attributes:
        suppressed: tokens that are never written (signs that no speech has).
        suppressed_first: tokens that the text does not begin with.
        alignment_heads: pairs of layer and head whose attention follows the sound.
    """

    suppressed: tuple[int, ...]
    suppressed_first: tuple[int, ...]
    alignment_heads: tuple[tuple[int, int], ...]


def read_generation(folder: Path, sizes: Sizes) -> Generation:
    """The rules in generation_config.json, or in an older model's config.json. Raises: NotReadyError."""
    file = folder / "generation_config.json"
    content = {**read_json(folder / "config.json"), **read_json(file)}
    # Where a model does not name them, its authors take all of the later half of the layers; some of those do as well.
    later = itertools.product(range(sizes.decoder_layers // 2, sizes.decoder_layers), range(sizes.decoder_heads))
    some = list(later)[:: -(-sizes.decoder_layers * sizes.decoder_heads // (2 * _MOST_HEADS))]
    heads = tuple(sorted((int(layer), int(head)) for layer, head in content.get("alignment_heads") or some))
    if any(layer >= sizes.decoder_layers or head >= sizes.decoder_heads for layer, head in heads):
        raise NotReadyError(f"{file}: alignment_heads name a head that config.json's sizes do not have")
    suppressed = tuple(token for token in content.get("suppress_tokens") or () if 0 <= token < sizes.vocabulary)
    first = tuple(token for token in content.get("begin_suppress_tokens") or () if 0 <= token < sizes.vocabulary)
    return Generation(suppressed, first, heads)


def is_multilingual(vocabulary: int) -> bool:
    """Whether a model with so many tokens hears more than English."""
    return vocabulary >= _MULTILINGUAL_FROM
