"""The bridge from the event loop to one model's thread."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from services.common import metrics
from services.common.errors import OverloadedError

P = ParamSpec("P")
R = TypeVar("R")


class InferenceThread:
    """Runs blocking model calls on one thread, in order, and refuses more than `max_pending` at once."""

    def __init__(self, name: str, max_pending: int) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._max_pending = max_pending
        self._free = max_pending
        # Threads of one kind are numbered, and counted together.
        kind = name.rstrip("0123456789").rstrip("-")
        self._wait = metrics.MODEL_WAIT_SECONDS.labels(kind)
        self._run = metrics.MODEL_SECONDS.labels(kind)
        self._refused = metrics.MODEL_CALLS_REFUSED.labels(kind)

    async def run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `call` on the thread. Raises: OverloadedError when `max_pending` calls wait or run already."""
        if self._free == 0:
            self._refused.inc()
            raise OverloadedError(
                f"the model has {self._max_pending} calls waiting already", limit=f"pending_calls={self._max_pending}"
            )
        self._free -= 1
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        asked_s = time.perf_counter()

        def on_thread() -> R:
            self._wait.observe(time.perf_counter() - asked_s)
            with self._run.time():
                return context.run(call, *args, **kwargs)

        future = self._executor.submit(on_thread)
        # A cancelled await does not stop the thread, so the thread itself gives the slot back.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._release))
        try:
            return await asyncio.wrap_future(future)
        finally:
            # It holds the call's error, and that this frame: a cycle in which the call's arguments would stay.
            del future

    def _release(self) -> None:
        self._free += 1

    def close(self) -> None:
        """Wait for the running call and drop those that wait."""
        self._executor.shutdown(wait=True, cancel_futures=True)
