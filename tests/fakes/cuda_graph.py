"""A CUDA graph without CUDA: what a piece of work does to its tensors, recorded once and done again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

# What waits for the device, or brings numbers from Python to it: no graph can hold that.
_REFUSED = {"_local_scalar_dense", "nonzero", "masked_select", "lift_fresh", "lift_fresh_copy", "item"}


def _indices(args: tuple[Any, ...]) -> list[Any]:
    """What an indexing goes by; of booleans somebody has to count."""
    return list(args[1]) if len(args) > 1 and isinstance(args[1], list | tuple) else []


class RecordedGraph(TorchDispatchMode):
    """Records as a capture does: a replay runs the same operations on the same places, and no line of Python."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Any]]] = []
        with self:
            work()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in _REFUSED or any(isinstance(one, Tensor) and one.dtype is torch.bool for one in _indices(args)):
            raise RuntimeError(f"{name}: operation not permitted when stream is capturing")
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        self._operations.append((func, args, kwargs, tree_flatten(result)[0]))
        return result

    def replay(self) -> None:
        """Do it again; what is new in it gets new memory."""
        places: dict[int, Any] = {}

        def now(one: Any) -> Any:
            return places.get(id(one), one) if isinstance(one, Tensor) else one

        for func, args, kwargs, before in self._operations:
            result = func(*tree_map(now, args), **tree_map(now, kwargs))
            places.update((id(old), new) for old, new in zip(before, tree_flatten(result)[0], strict=True))
