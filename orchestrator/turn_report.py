"""The waterfall of one turn: when each stage had its first result, counted from the end of the person's speech."""

from __future__ import annotations

from avatar.conversation.v1.conversation_pb2 import ConversationEvent

from orchestrator import metrics
from orchestrator.turn_trace import TurnTrace
from services.common.timing import duration_of_s

STAGES = ("end_of_turn", "transcript", "reply", "synthesis", "audio_sent", "video_sent")


class TurnReport:
    """Collects the stages of one turn."""

    def __init__(self, speech_end_s: float, trace: TurnTrace) -> None:
        """Args: speech_end_s: media time of the person's last voiced sample, or of the typed turn."""
        self._speech_end_s = speech_end_s
        self._trace = trace
        self._stages_s: dict[str, float] = {}

    def note(self, stage: str, media_s: float) -> None:
        """A stage had its first result; later ones are not noted."""
        assert stage in STAGES
        self._stages_s.setdefault(stage, max(0.0, media_s - self._speech_end_s))

    @property
    def is_sent(self) -> bool:
        """Whether the browser has both the first sound and the first picture of the answer."""
        return "audio_sent" in self._stages_s and "video_sent" in self._stages_s

    @property
    def traceparent(self) -> str:
        """What makes the calls of this turn a part of its trace; empty where there is none."""
        return self._trace.traceparent

    def close(self, utterance_id: str, *, stopped: bool) -> None:
        """No stage follows: count the turn and send its trace."""
        for stage, seconds in self._stages_s.items():
            metrics.TURN_SECONDS.labels(stage).observe(seconds)
        self._trace.finish(utterance_id, self._stages_s, stopped=stopped)

    def message(self, utterance_id: str) -> ConversationEvent.TurnReport:
        """The report; stages without a result are unset."""
        durations = {f"{stage}_duration": duration_of_s(seconds) for stage, seconds in self._stages_s.items()}
        return ConversationEvent.TurnReport(utterance_id=utterance_id, **durations)
