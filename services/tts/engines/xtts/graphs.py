"""Work that is recorded once and replayed: hundreds of small kernels for the price of one launch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Runs before the recording, in which libraries choose their kernels and take their memory.
_REHEARSALS = 2


class Graph:
    """A piece of work on fixed tensors."""

    def __init__(self, graph: torch.cuda.CUDAGraph, result: Tensor) -> None:
        self._graph = graph
        self._result = result

    def replay(self) -> Tensor:
        """Run. Returns: the result, which is overwritten when another graph of the same recorder runs."""
        self._graph.replay()
        return self._result


class Recorder:
    """Records graphs that share their memory: none may run while another does."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, work: Callable[[], Tensor]) -> Graph:
        """Record, and replay once, which sets things up. Raises: RuntimeError if the work cannot be recorded."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(stream):
            for _ in range(_REHEARSALS):
                work()
            stream.synchronize()
            # Other threads may go on to use the device meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
                result = work()
        torch.cuda.current_stream().wait_stream(stream)
        graph.replay()
        return Graph(graph, result)
