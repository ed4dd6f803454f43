"""Whether this machine has a GPU of NVIDIA's, told without a library that takes seconds to import."""

from __future__ import annotations

from pathlib import Path

# What the driver shows to programs on Linux, and in the Linux of Windows.
_NODES: tuple[Path, ...] = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


def is_here() -> bool:
    """Whether a driver says that there is one; whether a library reaches it is another question."""
    return any(node.exists() for node in _NODES)
