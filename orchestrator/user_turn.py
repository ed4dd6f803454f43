"""The person's turn so far: its words, and where on the media clock they were spoken."""

from __future__ import annotations

import uuid

from avatar.conversation.v1 import conversation_pb2 as pb

from services.common.timing import duration_of_s


class UserTurn:
    """Collects one turn after the other. `end_s` is where the person last stopped speaking or typed."""

    def __init__(self) -> None:
        self.turn_id = uuid.uuid4().hex
        self.end_s = 0.0
        # When the last final words came; a typed turn has none.
        self.final_s: float | None = None
        self._finals: list[str] = []
        self._start_s: float | None = None

    def hear(self, words: str, now_s: float, *, is_final: bool) -> str:
        """Take what was recognised. Returns: the whole turn so far."""
        if is_final:
            self._finals.append(words)
            self.final_s = now_s
            return " ".join(self._finals)
        return " ".join([*self._finals, words])

    def begin(self, at_s: float) -> None:
        """Speech began; a turn keeps where its first did."""
        if self._start_s is None:
            self._start_s = at_s

    def end(self) -> pb.TranscriptItem | None:
        """The turn is over, and another begins. Returns: None if it held no words."""
        text = " ".join(self._finals)
        item = self._item(text) if text else None
        self._finals = []
        self._start_s = None
        self.turn_id = uuid.uuid4().hex
        return item

    def type(self, text: str, now_s: float) -> pb.TranscriptItem:
        """A whole turn was typed."""
        self.end_s, self.final_s = now_s, None
        item = self._item(text)
        self.turn_id = uuid.uuid4().hex
        return item

    def _item(self, text: str) -> pb.TranscriptItem:
        start_s = self._start_s if self._start_s is not None else self.end_s
        return pb.TranscriptItem(
            speaker=pb.SPEAKER_USER,
            utterance_id=self.turn_id,
            text=text,
            start_offset=duration_of_s(max(0.0, start_s)),
            heard_duration=duration_of_s(max(0.0, self.end_s - start_s)),
        )
