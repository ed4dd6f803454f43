"""Streams that share one model: sound is taken in at once, and what it says is written when the model has time.

The model reads a stretch from its beginning each time; the service ends stretches after at most 30 s, so no look costs
more than that. A stream that is due is looked at with all the sound that it has when its turn comes: when the model is
slower than the streams, partials get rarer, and never late.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.common.errors import EngineError
from services.common.log import get_logger
from services.stt.engine import Hearing, Transcript
from services.stt.engines.nemo.agreement import Agreement
from services.stt.engines.nemo.model import SAMPLE_RATE_HZ, Heard, Model, Request

# New sound that is worth another look, and the least that is worth one at all.
_INTERVAL_SAMPLES = SAMPLE_RATE_HZ * 6 // 10
_FIRST_SAMPLES = SAMPLE_RATE_HZ // 2
_ANSWER_TIMEOUT_S = 120.0
log = get_logger(__name__)


class NemoStream:
    """A stream, as `SpeechStream`; its state is guarded by the desk's lock."""

    def __init__(self, desk: Desk, hearing: Hearing) -> None:
        self._desk = desk
        self._hearing = hearing
        self._is_open = True
        self.failure: EngineError | None = None
        self._begin()

    def _begin(self) -> None:
        self._pieces: list[NDArray[np.float32]] = []
        self._samples = 0
        self._has_begun = False
        # Samples that the latest look, and the latest text, are about.
        self._looked_at, self._covered = 0, 0
        self._heard = Heard("")
        self._agreement = Agreement()
        self._partial: Transcript | None = None
        # Rises with each stretch: what was asked about one before is no answer to this one.
        self._stretch = object()

    def push(self, samples: NDArray[np.float32]) -> Sequence[Transcript]:
        """As `SpeechStream.push`."""
        with self._desk.lock:
            self._check()
            self._has_begun = True
            if len(samples):
                self._pieces.append(np.array(samples, np.float32))
                self._samples += len(samples)
            new = self._samples - self._looked_at
            is_due = new >= _INTERVAL_SAMPLES or (not len(samples) and new > 0)
            if self._hearing.wants_partials and is_due and self._samples >= _FIRST_SAMPLES:
                self._desk.ask(self, is_final=False)
            partial, self._partial = self._partial, None
        return [partial] if partial is not None else []

    def finish(self) -> Sequence[Transcript]:
        """As `SpeechStream.finish`."""
        with self._desk.lock:
            self._check()
            if not self._has_begun:
                return []
            if self._samples and self._covered != self._samples:
                if self._looked_at != self._samples:
                    self._desk.ask(self, is_final=True)
                if not self._desk.changed.wait_for(self._is_over, _ANSWER_TIMEOUT_S):
                    raise EngineError(
                        f"the recogniser gave no answer in {_ANSWER_TIMEOUT_S:.0f} s; open another stream"
                    )
                self._check()
            final = Transcript(
                self._heard.text, self._heard.words, is_final=True, stable_characters=len(self._heard.text)
            )
            self._begin()
        return [final]

    def _is_over(self) -> bool:
        return self._covered == self._samples or self.failure is not None or self._desk.is_closed

    def close(self) -> None:
        """As `SpeechStream.close`."""
        with self._desk.lock:
            self._is_open = False
            self._desk.leave(self)
            self._pieces.clear()

    def _check(self) -> None:
        if not self._is_open:
            raise EngineError("this stream has been closed; open another")
        if self._desk.is_closed:
            raise EngineError("the recogniser has been stopped")
        if self.failure is not None:
            raise EngineError(f"{self.failure}; open the stream again") from self.failure

    # --- the desk's thread, with the lock ------------------------------------------------------------------------

    def is_like(self, other: NemoStream) -> bool:
        """Whether both can be heard in one batch."""
        one, two = self._hearing, other._hearing
        return (one.language, one.translate_to) == (two.language, two.translate_to)

    def take(self) -> tuple[Request, object, int]:
        """All of the stretch so far, whose it is, and how much that is."""
        self._pieces = [np.concatenate(self._pieces)]
        self._looked_at = self._samples
        hearing = self._hearing
        request = Request(self._pieces[0], hearing.language, hearing.translate_to or hearing.language)
        return request, self._stretch, self._samples

    def hear(self, heard: Heard, stretch: object, covers: int) -> None:
        """Take what was written; nobody wants it any more if the stretch has ended."""
        if stretch is not self._stretch:
            return
        self._heard, self._covered = heard, covers
        if self._hearing.wants_partials:
            self._partial = self._shown()

    def _shown(self) -> Transcript:
        """The text so far, beginning with what has been settled, whatever the latest look says.

        Where the model does not say when words are spoken, nothing settles: two texts would have to be joined by guess.
        """
        if self._heard.text and not self._heard.words:
            return Transcript(self._heard.text, (), is_final=False)
        words = self._agreement.take(self._heard.words)
        text, settled = (" ".join(word.text for word in part) for part in (words, self._agreement.settled))
        return Transcript(text, words, is_final=False, stable_characters=len(settled))


class Desk:
    """The model's thread. Finals come first, but for every fourth look; among equals who asked first.

    Attributes: lock: guards the streams and this; changed: a text has come, or nothing will come any more.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._asked = threading.Condition(self.lock)
        self._due: OrderedDict[NemoStream, bool] = OrderedDict()
        self._finals_in_a_row = 0
        self.is_closed = False
        self._thread = threading.Thread(target=self._run, name="nemo", daemon=True)
        self._thread.start()

    def ask(self, stream: NemoStream, *, is_final: bool) -> None:
        """A stream wants to know what was said; with the lock."""
        self._due[stream] = is_final or self._due.get(stream, False)
        self._asked.notify()

    def leave(self, stream: NemoStream) -> None:
        """A stream wants nothing more; with the lock."""
        self._due.pop(stream, None)

    def close(self) -> None:
        """End the thread; whoever waits is told."""
        with self.lock:
            self.is_closed = True
            self._asked.notify()
            self.changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self.lock:
                self._asked.wait_for(lambda: self.is_closed or self._due)
                if self.is_closed:
                    return
                streams = self._next()
                taken = [stream.take() for stream in streams]
            written = self._write([request for request, _, _ in taken])
            with self.lock:
                for stream, heard, (_, stretch, covers) in zip(streams, written, taken, strict=True):
                    if heard is None:
                        stream.failure = EngineError("the recogniser failed")
                    else:
                        stream.hear(heard, stretch, covers)
                self.changed.notify_all()

    def _write(self, requests: Sequence[Request]) -> list[Heard | None]:
        """In their order; None for those on which the model fails."""
        try:
            return list(self._model.write(requests))
        # The edge of a thread: whoever waits has to hear of it.
        except Exception:
            log.exception("recogniser_failed", batch=len(requests))
        # One sound that it cannot read, or too many for its memory, is no reason to fail the others.
        return [None] if len(requests) == 1 else [each for one in requests for each in self._write([one])]

    def _next(self) -> list[NemoStream]:
        """A batch of streams in the same languages."""
        waiting = list(self._due)
        finals = [stream for stream in waiting if self._due[stream]]
        first = finals[0] if finals and self._finals_in_a_row < 3 else waiting[0]
        self._finals_in_a_row = self._finals_in_a_row + 1 if self._due[first] and len(waiting) > 1 else 0
        batch = [first]
        for stream in waiting:
            if len(batch) < self._model.max_batch and stream is not first and stream.is_like(first):
                batch.append(stream)
        for stream in batch:
            del self._due[stream]
        return batch
