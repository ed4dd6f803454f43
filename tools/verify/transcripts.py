"""Recordings with what is said in them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError

_RECORDINGS = (".wav", ".flac", ".mp3", ".ogg", ".m4a", ".webm")


def recordings_in(folder: Path) -> list[tuple[Path, str]]:
    """Recordings and what is said in them: each file with a text of the same name beside it, `hello.wav`, `hello.txt`.

    Raises: InvalidRequestError if there is none, or a recording has no text.
    """
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in _RECORDINGS)
    without = [path.name for path in files if not path.with_suffix(".txt").is_file()]
    if not files or without:
        wrong = f"has no text beside {', '.join(without[:5])}" if without else "has no recording"
        raise InvalidRequestError(f"{folder} {wrong}; put hello.txt, what is said, beside hello.wav, for each")
    return [(path, path.with_suffix(".txt").read_text().strip()) for path in files]


def read_sound(path: Path, rate_hz: int) -> NDArray[np.float32]:
    """Of a file in any format. Returns: shape (n,), mono, in [-1, 1], at a rate. Raises: OSError, ValueError."""
    with av.open(str(path)) as file:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
        frames = [out for frame in (*file.decode(audio=0), None) for out in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.float32)
