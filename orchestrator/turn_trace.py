"""One turn as a trace: from the end of the person's speech to the answer on its way, with a span for each stage."""

from __future__ import annotations

from collections.abc import Mapping

from services.common.telemetry import Tracer

# A span's name -> the stage after whose first result it begins (empty: the end of the speech), and the stage it is.
_SPANS = {
    "stt.end_of_turn": ("", "end_of_turn"),
    "stt.transcript": ("", "transcript"),
    "reply": ("end_of_turn", "reply"),
    "tts.first_chunk": ("reply", "synthesis"),
    "audio.sent": ("synthesis", "audio_sent"),
    "render.first_frame": ("synthesis", "video_sent"),
}
_NANOS = 1_000_000_000


class TurnTrace:
    """Told once, when all is known: nothing of it costs time while a person waits."""

    def __init__(self, tracer: Tracer, session_id: str, linked: str, began_ns: int) -> None:
        """Args: linked: traceparent of the conversation; began_ns: wall time at which the person's speech ended."""
        self._tracer = tracer
        self._began_ns = began_ns
        self._turn = tracer.start("turn", linked=linked, at_ns=began_ns, attributes={"session.id": session_id})

    @property
    def traceparent(self) -> str:
        """What makes the calls of this turn a part of it."""
        return self._turn.traceparent

    def finish(self, utterance_id: str, stages_s: Mapping[str, float], *, stopped: bool) -> None:
        """Args: stages_s: first result of each stage that had one, counted from the end of the speech."""
        for name, (after, stage) in _SPANS.items():
            if stage not in stages_s:
                continue
            start_s = min(stages_s.get(after, 0.0), stages_s[stage])
            span = self._tracer.start(name, parent=self.traceparent, at_ns=self._at_ns(start_s))
            span.end(self._at_ns(stages_s[stage]))
        self._turn.end(
            self._at_ns(max(stages_s.values(), default=0.0)),
            attributes={"utterance.id": utterance_id, "utterance.stopped": stopped},
            failed="audio_sent" not in stages_s and not stopped,
        )

    def _at_ns(self, offset_s: float) -> int:
        return self._began_ns + round(offset_s * _NANOS)
