"""What every engine does with kernels that are compiled on the machine: try with care, and go on without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A compiler that ends the whole process is tried so often, and then left alone.
_ATTEMPTS = 2


class UnavailableError(Exception):
    """Triton's kernels cannot be used here; the message says why, for /health."""


def device_kind() -> str:
    """What compiled code is for, "sm90-torch2.13.0" for one: PyTorch's current CUDA device."""
    # Most processes have no PyTorch.
    import torch

    major, minor = torch.cuda.get_device_capability()
    return f"sm{major}{minor}-torch{torch.__version__}"


@contextmanager
def attempted(note: Path | None) -> Iterator[None]:
    """Something that may end the whole process, as a compiler does that meets what it does not know.

    Args: note: file that counts attempts from which nobody came back; None counts none.
    Raises: UnavailableError if there were too many.
    """
    if note is None:
        yield
        return
    note.parent.mkdir(parents=True, exist_ok=True)
    tried = note.stat().st_size if note.exists() else 0
    if tried >= _ATTEMPTS:
        raise UnavailableError(
            f"compiling Triton's kernels ended the process {tried} times; delete {note} to try again"
        )
    note.write_bytes(b"." * (tried + 1))
    try:
        yield
    finally:
        note.unlink(missing_ok=True)
