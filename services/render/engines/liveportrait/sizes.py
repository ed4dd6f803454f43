"""Sizes of networks other than the official ones, kept beside their weights: a folder says by itself what it is."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from services.common.errors import NotReadyError
from services.render.engines.liveportrait.config import OFFICIAL, LivePortraitConfig

# Below the official folder; the official one has none.
FILE = "liveportrait/sizes.json"

T = TypeVar("T")


def read_sizes(folder: Path) -> LivePortraitConfig:
    """Sizes of the networks whose weights a folder holds: OFFICIAL unless it says otherwise.

    Args: folder: laid out as the official `pretrained_weights`.
    Raises: NotReadyError if what it says is not understood.
    """
    path = folder / FILE
    try:
        return _made(LivePortraitConfig, json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return OFFICIAL
    except (OSError, ValueError, TypeError) as wrong:
        raise NotReadyError(f"{path} does not say how large the networks are: {wrong}") from wrong


def write_sizes(folder: Path, config: LivePortraitConfig) -> None:
    """Keep sizes for `read_sizes`; the official ones need no file."""
    if config != OFFICIAL:
        (folder / FILE).write_text(json.dumps(asdict(config), indent=1))


def _made(kind: type[T], content: Any) -> T:
    """A dataclass of whole numbers, tuples of them and further dataclasses. Raises: TypeError; ValueError."""
    if not isinstance(content, dict):
        raise TypeError(f"{kind.__name__} is a table of sizes")
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    unknown = [name for name in content if name not in known]
    if unknown:
        raise TypeError(f"{kind.__name__} has no {unknown[0]}; it has {', '.join(known)}")
    hints = get_type_hints(kind)
    return kind(**{name: _value(name, hints[name], value) for name, value in content.items()})


def _value(name: str, hint: Any, value: Any) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        return _made(hint, value)
    numbers = value if isinstance(value, list) and hint is not int else [value]
    if not all(type(number) is int and number > 0 for number in numbers):
        raise TypeError(f"{name} is {value!r} and should be of whole numbers above 0")
    return tuple(value) if isinstance(value, list) else value
