"""The device that draws: which one it is, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from services.common.errors import AvatarError, EngineError, NotReadyError
from services.render.engine import DeviceLostError

# What PyTorch, its libraries and Triton say when a kernel or the device itself has failed. None of it heals: a context
# that has seen it answers everything that follows with the same.
_LOST = re.compile(r"CUDA error|CUDNN_STATUS|cuDNN error|CUBLAS_STATUS|Triton Error \[CUDA\]|device-side assert", re.I)
_FULL = re.compile(r"out of memory|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED", re.I)


def device_of(name: str) -> torch.device:
    """The device of a setting: cpu, cuda, or cuda:1 and so on. Raises: NotReadyError if it is not there."""
    device = torch.device(name)
    if device.type == "cpu":
        return device
    if torch.version.cuda is None:
        raise NotReadyError(
            f"there is no CUDA device for PyTorch {torch.__version__}, which was built without CUDA: install its build "
            "for this machine's CUDA"
        )
    count = torch.cuda.device_count()
    if not torch.cuda.is_available() or not count:
        raise NotReadyError(f"there is no CUDA device here that PyTorch {torch.__version__} can use")
    if device.index is not None and device.index >= count:
        raise NotReadyError(f"there is no {name}: this machine has {count} CUDA device(s), counted from 0")
    device = torch.device("cuda", device.index or 0)
    try:
        torch.zeros(1, device=device).cpu()
    except RuntimeError as error:
        # A context that has failed once stays so; only another process gets another one.
        raise NotReadyError(
            f"{device} does not answer this process: {_first_line(error)}; start the process again, and if that does "
            "not help, look at `nvidia-smi`"
        ) from error
    return device


def described(device: torch.device) -> str:
    """For people."""
    return f"{torch.cuda.get_device_name(device)} ({device})" if device.type == "cuda" else "the CPU"


@contextmanager
def errors_of(device: torch.device) -> Iterator[None]:
    """What is done on the device within.

    Raises: DeviceLostError if the device fails for good; EngineError if its memory is full; whatever else is raised
        within.
    """
    try:
        yield
    except AvatarError:
        raise
    except RuntimeError as error:
        raise _meant(error, device) from error


def _meant(error: RuntimeError, device: torch.device) -> Exception:
    text = str(error)
    line = _first_line(error)
    if isinstance(error, torch.OutOfMemoryError) or _FULL.search(text):
        return EngineError(f"the memory of {device} is full: {line}")
    if isinstance(error, torch.AcceleratorError) or _LOST.search(text):
        return DeviceLostError(f"{device} failed: {line}")
    return error


def is_full(error: EngineError) -> bool:
    """Whether there was too little memory."""
    cause = error.__cause__
    return isinstance(cause, torch.OutOfMemoryError) or bool(cause and _FULL.search(str(cause)))


def _first_line(error: RuntimeError) -> str:
    return str(error).partition("\n")[0].strip()
