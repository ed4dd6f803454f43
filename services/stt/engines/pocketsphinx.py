"""CMU pocketsphinx: US English on any CPU, with the weights in the wheel; each stream decodes in its own process.

Word error rate with every stretch the first of its stream: a real speech of 11 s with echo, five sentences of a real
reader, six short real commands, 24 sentences of two espeak voices. The last column is the time from the last sample to
the final, per second of speech.

| configuration | speech | read | commands | espeak | final |
|---|---|---|---|---|---|
| the library's defaults | 1.05 | 0.32 | 0.40 | 0.76 | 44 ms |
| without the flat-lexicon and best-path passes | 1.05 | 0.31 | 0.36 | 0.86 | 2 ms |
| and with the mean cepstrum estimated from 1.2 s | 0.41 | 0.27 | 0.28 | 0.68 | 3 ms |
| and with the best path and fewer inserted words | 0.23 | 0.30 | 0.24 | 0.65 | 6 ms |
| and with a noise floor: as it is here | 0.23 | 0.28 | 0.20 | 0.45 | 7 ms |
| and with the flat-lexicon pass | 0.23 | 0.32 | 0.20 | 0.51 | 44 ms |

Wider beams, other language weights and a mean blended with a typical one gained nothing; narrower beams and fewer
active states (5000) lost much. espeak's figures vary by 0.05 from run to run. Decoding takes 0.2 to 0.3 of real time.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.audio import pcm16_of
from services.common.errors import EngineError
from services.common.log import get_logger
from services.stt.engine import Capabilities, Hearing, SpeechStream, Transcript, Word
from services.stt.engines.pocketsphinx_worker import (
    AUDIO,
    END_OF_STRETCH,
    NEW_CALLER,
    REQUEST_HEADER,
    SAMPLE_RATE_HZ,
)

_CHUNK_SAMPLES = SAMPLE_RATE_HZ // 4
# This much sound and its replies fit into the pipes, so neither side ever waits for the other to read.
_MOST_BEHIND_SAMPLES = SAMPLE_RATE_HZ
# The front end takes the noise floor out, and takes half the words with it where there is none: synthetic voices and
# gated microphones. Noise at -72 dBFS lowers the word error rate of the former by a third; real microphones exceed it.
_NOISE_LEVEL = 8 / 32768
_REPLY_TIMEOUT_S = 30.0
_EXIT_TIMEOUT_S = 2.0
log = get_logger(__name__)


class _Worker:
    """One decoding process. Requests are answered in order; `unanswered` holds the samples of each open one."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "services.stt.engines.pocketsphinx_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin
        self._replies = self._process.stdout
        os.set_blocking(self._replies.fileno(), False)
        self._readable = select.poll()
        self._readable.register(self._replies.fileno(), select.POLLIN)
        self._received = b""
        # The process says once, unasked, that it is ready.
        self.unanswered: deque[int] = deque([0])

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, kind: bytes, payload: bytes = b"", samples: int = 0) -> None:
        """Send a request. Raises: EngineError if the process is gone."""
        try:
            self._requests.write(REQUEST_HEADER.pack(kind, len(payload)) + payload)
            self._requests.flush()
        except OSError as broken:
            raise self._gone() from broken
        self.unanswered.append(samples)

    def replies(self, *, until_unanswered: int | None = None) -> list[dict[str, Any]]:
        """The replies that are there, after waiting until no more than `until_unanswered` are missing.

        Raises: EngineError if the process is gone or answers nothing for 30 s.
        """
        replies: list[dict[str, Any]] = []
        while True:
            *lines, self._received = (self._received + self._read()).split(b"\n")
            for line in lines:
                replies.append(json.loads(line))
                self.unanswered.popleft()
            if until_unanswered is None or len(self.unanswered) <= until_unanswered:
                return replies
            if not self._readable.poll(_REPLY_TIMEOUT_S * 1000):
                self.kill()
                raise EngineError(f"the recogniser gave no answer in {_REPLY_TIMEOUT_S:.0f} s; open the stream again")

    def _read(self) -> bytes:
        try:
            received = os.read(self._replies.fileno(), 65536)
        except BlockingIOError:
            return b""
        if not received:
            raise self._gone()
        return received

    def _gone(self) -> EngineError:
        self.kill()
        code = self._process.wait()
        return EngineError(f"the recogniser's process ended with code {code}; open the stream again")

    def kill(self) -> None:
        """End the process; whoever waits for its reply gets an EngineError."""
        self._process.kill()

    def end(self) -> None:
        """Close the pipes and wait for the process, which ends with its input, if need be by force."""
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        try:
            self._process.wait(_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._replies.close()


class _Stream:
    """A stream on one worker. Sound is sent ahead of its decoding; `push` waits only when the worker is 1 s behind."""

    def __init__(self, engine: PocketsphinxEngine, worker: _Worker) -> None:
        self._engine = engine
        self._worker: _Worker | None = worker
        self._pushed = False
        self._noise = np.random.default_rng(0)

    def push(self, samples: NDArray[np.float32]) -> Sequence[Transcript]:
        """As `SpeechStream.push`."""
        worker = self._open_worker()
        self._pushed = True
        replies = worker.replies()
        for begin in range(0, len(samples), _CHUNK_SAMPLES):
            chunk = samples[begin : begin + _CHUNK_SAMPLES]
            noise = self._noise.standard_normal(len(chunk), np.float32) * np.float32(_NOISE_LEVEL)
            worker.ask(AUDIO, pcm16_of(chunk + noise), len(chunk))
            replies += worker.replies()
            while sum(worker.unanswered) > _MOST_BEHIND_SAMPLES:
                replies += worker.replies(until_unanswered=len(worker.unanswered) - 1)
        words = [reply["words"] for reply in replies if "words" in reply]
        return [_transcript(words[-1], is_final=False)] if words else []

    def finish(self) -> Sequence[Transcript]:
        """As `SpeechStream.finish`."""
        worker = self._open_worker()
        if not self._pushed:
            return []
        self._pushed = False
        worker.ask(END_OF_STRETCH)
        last = worker.replies(until_unanswered=0)[-1]
        return [_transcript(last["words"], is_final=True)]

    def close(self) -> None:
        """As `SpeechStream.close`."""
        if self._worker is not None:
            self._engine.give_back(self._worker)
            self._worker = None

    def _open_worker(self) -> _Worker:
        if self._worker is None:
            raise EngineError("this stream has been closed; open another")
        return self._worker


def _transcript(words: list[Any], *, is_final: bool) -> Transcript:
    heard = tuple(Word(text, start, end, confidence) for text, start, end, confidence in words)
    return Transcript(" ".join(word.text for word in heard), heard, is_final)


class PocketsphinxEngine:
    """A pool of decoding processes, some of them started ahead, so that a stream opens at once.

    A process takes 0.3 s to start and 120 MB; one that its stream gives back serves another.
    """

    capabilities = Capabilities(sample_rate_hz=SAMPLE_RATE_HZ, languages=("en",))

    def __init__(self, spare_workers: int) -> None:
        """Args: spare_workers: processes that wait for a stream, 1 or more."""
        self._spare_workers = spare_workers
        self._lock = threading.Lock()
        self._spare: deque[_Worker] = deque()
        self._busy: set[_Worker] = set()
        self._closed = False
        self._refill()

    def open_stream(self, hearing: Hearing) -> SpeechStream:
        """As `SpeechEngine.open_stream`. Waits for a process to load if no spare one is ready."""
        assert hearing.language in self.capabilities.languages, "the edge refuses other languages"
        with self._lock:
            if self._closed:
                raise EngineError("the recogniser has been stopped")
            worker = None
            while self._spare and worker is None:
                spare = self._spare.popleft()
                if spare.is_alive():
                    worker = spare
                else:
                    spare.end()
            worker = worker or _Worker()
            self._busy.add(worker)
        self._refill()
        try:
            worker.replies(until_unanswered=0)
        except EngineError:
            self.give_back(worker)
            raise
        return _Stream(self, worker)

    def close(self) -> None:
        """As `SpeechEngine.close`."""
        with self._lock:
            self._closed = True
            spares, self._spare = self._spare, deque()
            for worker in self._busy:
                # Its stream finds it gone, and tidies up.
                worker.kill()
        for worker in spares:
            worker.end()

    def give_back(self, worker: _Worker) -> None:
        """A stream has closed: its process forgets the caller and waits for another, or ends if enough wait."""
        alive = worker.is_alive()
        with contextlib.suppress(EngineError):
            worker.ask(NEW_CALLER)
        with self._lock:
            self._busy.discard(worker)
            # What it still decodes of the old stream is done before the next one opens.
            keep = alive and not self._closed and len(self._spare) <= self._spare_workers
            if keep:
                self._spare.append(worker)
        if not keep:
            worker.end()
        if not alive:
            log.warning("worker_died")

    def _refill(self) -> None:
        with self._lock:
            while not self._closed and len(self._spare) < self._spare_workers:
                self._spare.append(_Worker())
