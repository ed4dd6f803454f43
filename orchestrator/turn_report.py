"""The waterfall of one turn: when each stage had its first result, counted from the end of the person's speech."""

from __future__ import annotations

from avatar.conversation.v1.conversation_pb2 import ConversationEvent
from google.protobuf.duration_pb2 import Duration

from services.common.timing import duration_of_s

STAGES = ("end_of_turn", "transcript", "reply", "synthesis", "audio_sent", "video_sent")


class TurnReport:
    """Collects the stages of one turn."""

    def __init__(self, speech_end_s: float) -> None:
        """Args: speech_end_s: media time of the person's last voiced sample, or of the typed turn."""
        self._speech_end_s = speech_end_s
        self._stages: dict[str, Duration] = {}

    def note(self, stage: str, media_s: float) -> None:
        """A stage had its first result; later ones are not noted."""
        assert stage in STAGES
        self._stages.setdefault(stage, duration_of_s(max(0.0, media_s - self._speech_end_s)))

    @property
    def is_sent(self) -> bool:
        """Whether the browser has both the first sound and the first picture of the answer."""
        return "audio_sent" in self._stages and "video_sent" in self._stages

    def message(self, utterance_id: str) -> ConversationEvent.TurnReport:
        """The report; stages without a result are unset."""
        return ConversationEvent.TurnReport(
            utterance_id=utterance_id, **{f"{stage}_duration": value for stage, value in self._stages.items()}
        )
