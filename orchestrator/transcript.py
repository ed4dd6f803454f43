"""What was said in a conversation, by whom and in which order, with its captions while it is said."""

from __future__ import annotations

from collections.abc import Callable

from avatar.conversation.v1 import conversation_pb2 as pb

from orchestrator.voice import Utterance
from services.common.timing import duration_of_s


class Transcript:
    """Keeps what was heard of both sides, and tells it to those who follow."""

    def __init__(self, publish: Callable[[pb.ConversationEvent], None]) -> None:
        self.items: list[pb.TranscriptItem] = []
        self._publish = publish
        self._captioned = ""
        # The utterance that is being heard, and where among the items it belongs.
        self._utterance_id, self._place = "", 0

    def hear_user(self, turn_id: str, words: str) -> None:
        """The person's turn so far."""
        self._caption(pb.SPEAKER_USER, turn_id, words, is_final=False)

    def add_user_turn(self, turn: pb.TranscriptItem) -> None:
        """The person's turn is over."""
        self._caption(pb.SPEAKER_USER, turn.utterance_id, turn.text, is_final=True)
        self.items.append(turn)

    def begin_utterance(self, utterance: Utterance) -> None:
        """The first sample of an utterance of the avatar is heard."""
        self._captioned = ""
        self._utterance_id, self._place = utterance.utterance_id, len(self.items)

    def hear_utterance(self, utterance: Utterance) -> None:
        """More of it was heard."""
        text = utterance.spoken.heard(utterance.heard_s)
        if text != self._captioned:
            self._captioned = text
            self._caption(pb.SPEAKER_AVATAR, utterance.utterance_id, text, is_final=False)

    def end_utterance(self, utterance: Utterance, now_s: float) -> pb.ConversationEvent.UtteranceEnded:
        """Nothing of it is heard from now on. Returns: what was heard of it."""
        shown_only = utterance.heard_s == float("inf")
        heard_s = 0.0 if shown_only else utterance.heard_s
        text = utterance.spoken.heard(utterance.heard_s, whole=not utterance.stopped)
        if text:
            self._caption(pb.SPEAKER_AVATAR, utterance.utterance_id, text, is_final=True)
            item = pb.TranscriptItem(
                speaker=pb.SPEAKER_AVATAR,
                utterance_id=utterance.utterance_id,
                text=text,
                interrupted=utterance.stopped,
                start_offset=duration_of_s(max(0.0, now_s - heard_s)),
                heard_duration=duration_of_s(heard_s),
            )
            # What the person said or typed meanwhile stands already, and came after.
            begun = utterance.utterance_id == self._utterance_id
            self.items.insert(self._place if begun else len(self.items), item)
        return pb.ConversationEvent.UtteranceEnded(
            utterance_id=utterance.utterance_id,
            heard_text=text,
            interrupted=utterance.stopped,
            heard_duration=duration_of_s(heard_s),
        )

    def _caption(self, speaker: pb.Speaker.ValueType, utterance_id: str, text: str, *, is_final: bool) -> None:
        caption = pb.ConversationEvent.Caption(speaker=speaker, utterance_id=utterance_id, text=text, is_final=is_final)
        self._publish(pb.ConversationEvent(caption=caption))
