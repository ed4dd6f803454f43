"""Work that is recorded once and replayed: hundreds of small kernels for the price of one launch."""

from __future__ import annotations

from collections.abc import Callable

import torch

# Runs before the recording, in which libraries choose their kernels and take their memory.
_REHEARSALS = 2


class Recorder:
    """Records CUDA graphs of work on fixed tensors. They share their memory: none may run while another does."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        # Libraries keep memory for each stream.
        self._stream = torch.cuda.Stream()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record, and replay once, which sets things up. Returns: the replay. The largest first takes least memory.

        Raises: RuntimeError if the work cannot be recorded.
        """
        self._stream.wait_stream(torch.cuda.current_stream())
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(self._stream):
            for _ in range(_REHEARSALS):
                work()
            self._stream.synchronize()
            # Other threads may go on to use the device meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                work()
        torch.cuda.current_stream().wait_stream(self._stream)
        graph.replay()
        return graph.replay
