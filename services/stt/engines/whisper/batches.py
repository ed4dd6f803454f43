"""A thread that works through what many streams want of one model, in batches, and one that judges what came out."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from services.common import metrics
from services.common.errors import AvatarError, EngineError
from services.common.log import get_logger
from services.stt.engines.whisper.runtime import Decoded, Prompt, Runtime
from services.stt.engines.whisper.stream import Job, WhisperStream

log = get_logger(__name__)

# Two of the five that the reference implementation goes through, because somebody waits for the answer.
_TEMPERATURES = (0.4, 0.8)
_MOST_FINALS_IN_A_ROW = 3


class Batches:
    """Takes streams that are due, finals first, then whoever has waited longest; each stream is in it once at most.

    A stream that is due is looked at when its turn comes, with all the sound that it has by then: when the model is
    slower than the streams, hypotheses get rarer, and never late. A text is then behind its sound by the time that all
    streams take, one after the other, and that of one batch.

    Attributes:
        lock: guards the streams' state and this object's.
        changed: a hypothesis has come, or the model has failed.
        failure: why nothing will come any more.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.failure: EngineError | None = None
        self._asked = threading.Condition(self.lock)
        # Whether a final is wanted, in the order in which they asked.
        self._due: OrderedDict[WhisperStream, bool] = OrderedDict()
        self._finals_in_a_row = 0
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="whisper", daemon=True)
        self._thread.start()

    # --- the streams' side, with the lock -----------------------------------------------------------------------

    def ask(self, stream: WhisperStream, *, is_final: bool = False) -> None:
        """A stream wants a hypothesis about what it has heard. Args: is_final: somebody waits for it, or soon will."""
        self._due[stream] = is_final or self._due.get(stream, False)
        self._asked.notify()

    def leave(self, stream: WhisperStream) -> None:
        """A stream wants nothing more."""
        self._due.pop(stream, None)

    def check(self) -> None:
        """Raises: EngineError if nothing will come any more."""
        if self.failure is not None:
            raise EngineError(str(self.failure)) from self.failure

    def close(self) -> None:
        """End the thread."""
        with self.lock:
            self._is_closed = True
            self.failure = self.failure or EngineError("the recogniser has been stopped")
            self._asked.notify()
            self.changed.notify_all()
        self._thread.join()

    # --- the thread's side --------------------------------------------------------------------------------------

    def _run(self) -> None:
        # To judge is work for the CPU, in which the model goes on with other streams.
        with ThreadPoolExecutor(1, "whisper-judge") as judge:
            judged: Future[None] | None = None
            while True:
                with self.lock:
                    self._asked.wait_for(lambda: self._is_closed or self._ready())
                    if self._is_closed:
                        return
                    jobs = [stream.take_job() for stream in self._next_batch()]
                decoded: list[Decoded] = []
                with self._failing(jobs), metrics.MODEL_SECONDS.labels("whisper").time():
                    decoded = self._work(jobs)
                # One batch at most waits to be judged.
                if judged is not None:
                    judged.result()
                if decoded:
                    judged = judge.submit(self._judge, jobs, decoded)

    @contextmanager
    def _failing(self, jobs: list[Job]) -> Iterator[None]:
        """The edge of a thread: whoever waits for the jobs has to hear that they failed."""
        try:
            yield
        except AvatarError as failed:
            self._fail(jobs, EngineError(str(failed)))
        except Exception:
            log.exception("recogniser_failed")
            self._fail(jobs, EngineError("the recogniser failed"))

    def _ready(self) -> list[WhisperStream]:
        """The streams that are due, but for those whose last hypothesis is not there yet: the next begins with it."""
        return [stream for stream in self._due if not stream.is_busy]

    def _next_batch(self) -> list[WhisperStream]:
        """Finals before partials, but for every fourth batch; among equals whoever asked first."""
        order, room = self._ready(), self._runtime.max_batch
        finals = [stream for stream in order if self._due[stream]]
        if finals and self._finals_in_a_row < _MOST_FINALS_IN_A_ROW:
            order = finals + [stream for stream in order if not self._due[stream]]
            # Each sound takes its time, however many are encoded at once: a final waits for few others.
            room = min(max(len(finals), room // 2), room)
            self._finals_in_a_row = self._finals_in_a_row + 1 if len(order) > room else 0
        else:
            self._finals_in_a_row = 0
        chosen = order[:room]
        for stream in chosen:
            del self._due[stream]
        return chosen

    def _work(self, jobs: list[Job]) -> list[Decoded]:
        encoded = self._runtime.encode([job.sound for job in jobs])
        shares = None
        if any(job.stream.needs_language for job in jobs):
            shares = self._runtime.language_probabilities(encoded)
        with self.lock:
            if shares is not None:
                for job, found in zip(jobs, shares, strict=True):
                    if job.stream.needs_language:
                        job.stream.hear_language(found, len(job.sound))
            prompts = [job.stream.prompt(job) for job in jobs]
        decoded = self._runtime.decode(encoded, prompts)
        self._try_again(encoded, jobs, prompts, decoded)
        return decoded

    def _judge(self, jobs: list[Job], decoded: list[Decoded]) -> None:
        with self._failing(jobs):
            hypotheses = [job.judge(one) for job, one in zip(jobs, decoded, strict=True)]
            with self.lock:
                for job, hypothesis in zip(jobs, hypotheses, strict=True):
                    job.stream.hear(job, hypothesis)
                self.changed.notify_all()
                # Who waited for this can be due now.
                self._asked.notify()

    def _try_again(self, encoded: Any, jobs: list[Job], prompts: Sequence[Prompt], decoded: list[Decoded]) -> None:
        """Draw other tokens where a final is not to be believed; the first ones that are take its place."""
        for temperature in _TEMPERATURES:
            windows = [number for number, job in enumerate(jobs) if job.is_worth_another_try(decoded[number])]
            if not windows:
                return
            drawn = self._runtime.decode(
                encoded, [replace(prompts[number], temperature=temperature) for number in windows], windows
            )
            for number, one in zip(windows, drawn, strict=True):
                is_better = not jobs[number].is_worth_another_try(one)
                log.info("transcript_drawn", temperature=temperature, is_better=is_better)
                if is_better:
                    decoded[number], jobs[number].temperature = one, temperature

    def _fail(self, jobs: list[Job], failure: EngineError) -> None:
        with self.lock:
            for job in jobs:
                job.stream.fail(failure)
            self.changed.notify_all()
