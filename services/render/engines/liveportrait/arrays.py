"""Reads .npz files of plain arrays, and takes no more memory for one than it has bytes."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# An .npy's header, and more than a real one has.
_MAX_HEADER = 1000


class DamagedArraysError(Exception):
    """The file is not what numpy writes of such arrays; the message is the end of a sentence."""


def read_arrays(file: bytes, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Arrays of floats, or of a text, as `np.savez` writes them. Raises: DamagedArraysError if one is anything else."""
    try:
        with zipfile.ZipFile(io.BytesIO(file)) as archive:
            return {name: _read(archive, f"{name}.npy") for name in names}
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError, NotImplementedError, RuntimeError) as bad:
        raise DamagedArraysError(str(bad)[:100]) from bad


def _read(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Raises: ValueError, KeyError and what zipfile raises."""
    info = archive.getinfo(name)
    # What is not compressed takes no more memory than it has on disk.
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise ValueError(f"{name} is compressed")
    content = io.BytesIO(archive.read(info))
    if np.lib.format.read_magic(content) != (1, 0):
        raise ValueError(f"{name} is of another version of numpy's format")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(content, max_header_size=_MAX_HEADER)
    if dtype.kind not in "fU":
        raise ValueError(f"{name} is {dtype}")
    values = content.read()
    if math.prod(shape) * dtype.itemsize != len(values) or is_fortran:
        raise ValueError(f"{name} is not as long as it says")
    return np.frombuffer(bytearray(values), dtype).reshape(shape)
