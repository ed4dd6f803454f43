"""Which utterance of a stream is next, and which was dropped: a state machine without I/O."""

from __future__ import annotations

from collections import deque
from functools import partial

from services.common.errors import InvalidRequestError, OverloadedError, ProtocolError
from services.tts.engine import Capabilities
from services.tts.text import Segmenter

MAX_TEXT_CHARACTERS = 20_000
MAX_ID_CHARACTERS = 128
# Utterances that have begun and not ended, in one stream. Waiting instead would keep a cancel from being read.
MAX_OPEN_UTTERANCES = 256
# Utterances whose end is remembered, so that late text for them is told from a new utterance.
_MAX_ENDED_UTTERANCES = 4096


def segmenter_for(capabilities: Capabilities, language: str) -> Segmenter:
    """Cuts an utterance's text as the engine likes it. Args: language: one of the engine's."""
    return Segmenter(
        capabilities.segment_unit,
        capabilities.segment_characters(language),
        capabilities.first_segment_unit or capabilities.segment_unit,
    )


class Utterance:
    """An utterance that has begun and not ended."""

    def __init__(self, utterance_id: str, text: Segmenter) -> None:
        self.id = utterance_id
        self.text = text
        self.is_cancelled = False
        # How much of it the caller was sent, in samples of the output rate.
        self.sent_samples = 0


def _check_id(utterance_id: str) -> None:
    if not 1 <= len(utterance_id) <= MAX_ID_CHARACTERS:
        raise InvalidRequestError(f"an utterance_id has 1 to {MAX_ID_CHARACTERS} characters, not {len(utterance_id)}")


def _reused(utterance_id: str) -> ProtocolError:
    return ProtocolError(f"utterance {utterance_id} has had its last text; begin another with a new utterance_id")


class UtteranceQueue:
    """The utterances of one stream, in the order in which they began."""

    def __init__(self, capabilities: Capabilities, language: str) -> None:
        """Args: language: one of the engine's."""
        self._segmenter = partial(segmenter_for, capabilities, language)
        self._open: dict[str, Utterance] = {}
        self._cancelled: deque[Utterance] = deque()
        # Utterances that have ended, and whether the caller, who did not know of it, may still send text.
        self._expects_text: dict[str, bool] = {}
        self.is_closed = False

    @property
    def head(self) -> Utterance | None:
        """The utterance to speak now."""
        return next(iter(self._open.values()), None)

    def add_text(self, utterance_id: str, text: str, *, is_last: bool) -> None:
        """Begin or continue an utterance; text that was on the way when its utterance was dropped is ignored.

        Raises: InvalidRequestError, ProtocolError, OverloadedError.
        """
        _check_id(utterance_id)
        if utterance_id in self._expects_text:
            self._ignore_text(utterance_id, is_last=is_last)
            return
        utterance = self._open.get(utterance_id) or self._begin(utterance_id)
        if utterance.text.is_complete:
            raise _reused(utterance_id)
        length = utterance.text.length + len(text)
        if length > MAX_TEXT_CHARACTERS:
            raise InvalidRequestError(
                f"an utterance has at most {MAX_TEXT_CHARACTERS} characters; {utterance_id} would have {length}"
            )
        utterance.text.add(text)
        if is_last:
            utterance.text.complete()

    def _begin(self, utterance_id: str) -> Utterance:
        if len(self._open) == MAX_OPEN_UTTERANCES:
            raise OverloadedError(
                f"{MAX_OPEN_UTTERANCES} utterances wait in this stream; send more when some have ended",
                limit=f"open_utterances={MAX_OPEN_UTTERANCES}",
            )
        utterance = self._open[utterance_id] = Utterance(utterance_id, self._segmenter())
        return utterance

    def _ignore_text(self, utterance_id: str, *, is_last: bool) -> None:
        if not self._expects_text[utterance_id]:
            raise _reused(utterance_id)
        self._expects_text[utterance_id] = not is_last

    def flush(self, utterance_id: str) -> None:
        """Let what there is of an utterance be spoken.

        Raises: InvalidRequestError if it cannot be an id; ProtocolError if it has not begun.
        """
        _check_id(utterance_id)
        if utterance := self._open.get(utterance_id):
            utterance.text.flush()
        elif utterance_id not in self._expects_text:
            raise ProtocolError(f"utterance {utterance_id} has not begun; send its text before the flush")

    def cancel(self, utterance_id: str) -> None:
        """Drop an utterance, or all of them if the id is empty.

        One that is not open is left alone: it may have ended while the cancel was on its way.

        Raises: InvalidRequestError if it cannot be an id.
        """
        if utterance_id:
            _check_id(utterance_id)
        for utterance in [self._open.get(utterance_id)] if utterance_id else list(self._open.values()):
            if utterance is not None:
                utterance.is_cancelled = True
                self.end(utterance)
                self._cancelled.append(utterance)

    def end(self, utterance: Utterance) -> None:
        """Note that an utterance has ended: it was spoken, dropped, or it failed."""
        del self._open[utterance.id]
        self._expects_text[utterance.id] = not utterance.text.is_complete
        if len(self._expects_text) > _MAX_ENDED_UTTERANCES:
            del self._expects_text[next(iter(self._expects_text))]

    def take_cancelled(self) -> Utterance | None:
        """A dropped utterance whose end is to be acknowledged."""
        return self._cancelled.popleft() if self._cancelled else None

    def close(self) -> None:
        """The caller has sent everything: what is open gets no more text."""
        self.is_closed = True
        for utterance in self._open.values():
            if not utterance.text.is_complete:
                utterance.text.complete()
