"""One caller's sound on its way through voice detection, turn detection and recognition; plain synchronous code."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.common.errors import EngineError
from services.stt.echo import is_echo
from services.stt.engine import SpeechStream, Transcript
from services.stt.turn_detector import TurnDetector, TurnEvent, TurnEventKind
from services.stt.turn_model import WINDOW_SAMPLES, TurnModel
from services.stt.vad import FRAME_SAMPLES, SAMPLE_RATE_HZ, VoiceDetector

# Soft first sounds lie before the first voiced frame.
PRE_ROLL_SAMPLES = 3 * SAMPLE_RATE_HZ // 10
_TURN_PRE_ROLL_SAMPLES = SAMPLE_RATE_HZ // 2
# Who goes on this soon after a turn was judged over is in the middle of the same thought.
_SAME_THOUGHT_SAMPLES = 3 * SAMPLE_RATE_HZ // 2
# What follows the last voice by more is kept back until the speaker goes on, so that the final has nothing to wait for.
_TAIL_SAMPLES = 4 * FRAME_SAMPLES
# A silence this long ends the stretch; speech this long ends it at the next pause, or by force.
_LONG_SILENCE_SAMPLES = 2 * SAMPLE_RATE_HZ
_LONG_SPEECH_SAMPLES = 20 * SAMPLE_RATE_HZ
_LONGEST_SPEECH_SAMPLES = 30 * SAMPLE_RATE_HZ
# Sound that is taken in while the turn model thinks; a machine that keeps up with real time never gets that far.
_LONGEST_QUESTION_SAMPLES = SAMPLE_RATE_HZ // 4
_TURN_MODEL_TIMEOUT_S = 10.0
_NO_SOUND = np.zeros(0, np.float32)
# A room, and the way through network and loudspeaker, hold a voice for so long after its last sample.
_ECHO_LASTS_SAMPLES = SAMPLE_RATE_HZ // 2


@dataclass(frozen=True, slots=True)
class Result:
    """Text of one stretch of speech; the words' places count from the start of the sound.

    Attributes:
        segment_id: the same for all results of the stretch.
        transcript: never empty.
        start: the first voiced sample.
        end: one past the last sample that the text accounts for.
    """

    segment_id: str
    transcript: Transcript
    start: int
    end: int


class _RecentSound:
    """The last seconds of a sound, addressed by sample number."""

    def __init__(self, capacity: int) -> None:
        self._buffer = np.zeros(2 * capacity, np.float32)
        self._capacity = capacity
        self._filled = 0
        self.end = 0

    @property
    def start(self) -> int:
        """The oldest sample that is still there."""
        return self.end - min(self._filled, self._capacity)

    def append(self, samples: NDArray[np.float32]) -> None:
        if self._filled + len(samples) > len(self._buffer):
            self._buffer[: self._capacity] = self._buffer[self._filled - self._capacity : self._filled]
            self._filled = self._capacity
        self._buffer[self._filled : self._filled + len(samples)] = samples
        self._filled += len(samples)
        self.end += len(samples)

    def since(self, start: int) -> NDArray[np.float32]:
        """A copy from sample `start` on."""
        return self._buffer[self._filled - (self.end - max(start, self.start)) : self._filled].copy()


class Listener:
    """Turns a sound into results and turn events, in the order in which a caller should hear of them.

    Attributes:
        position: samples taken in.
        turns: the turn detector, whose rules the caller sets.
    """

    def __init__(self, stream: SpeechStream, voice: VoiceDetector, turn_model: TurnModel, turns: TurnDetector) -> None:
        """Args: stream: is closed with the listener; voice: fresh."""
        self.turns = turns
        self.position = 0
        self._stream = stream
        self._voice = voice
        self._turn_model = turn_model
        self._recent = _RecentSound(WINDOW_SAMPLES)
        self._incomplete_frame = np.zeros(0, np.float32)
        self._question: Future[float] | None = None
        self._asked_at = 0
        self._thought_start = 0
        self._last_voiced = 0
        self._segment_id: str | None = None
        self._segment_start = 0  # first voiced sample
        self._first_pushed = 0
        self._pushed_to = 0
        self._partial: tuple[str, int] = ("", 0)
        self._assistant_text = ""
        self._assistant_speaking = False
        self._echo_until = 0
        self._may_be_echo = False

    def assistant(self, *, speaking: bool, text: str) -> None:
        """The assistant began or stopped to speak, or it is known what it says. Args: text: empty if it is unknown."""
        if self._assistant_speaking and not speaking:
            self._echo_until = self.position + _ECHO_LASTS_SAMPLES
        # Its last words are heard after it has stopped.
        if speaking and (text or not self._assistant_speaking):
            self._assistant_text = text
        self._assistant_speaking = speaking
        self.turns.assistant(speaking=speaking)

    def hear(self, samples: NDArray[np.float32]) -> list[Result | TurnEvent]:
        """Take in more sound. Args: samples: shape (n,), in [-1, 1], 16 kHz. Raises: EngineError."""
        heard = self._take_answer()
        self.position += len(samples)
        pending = np.concatenate([self._incomplete_frame, samples])
        whole = len(pending) // FRAME_SAMPLES * FRAME_SAMPLES
        for begin in range(0, whole, FRAME_SAMPLES):
            heard += self._hear_frame(pending[begin : begin + FRAME_SAMPLES])
        self._incomplete_frame = pending[whole:]
        return heard

    def finalize(self) -> list[Result | TurnEvent]:
        """The final of what has been heard; a turn that is open stays open."""
        return list(self._end_segment()) if not self.turns.over_assistant else []

    def finish(self) -> list[Result | TurnEvent]:
        """No sound will follow: the final of what has been heard, and the end of its turn."""
        heard: list[Result | TurnEvent] = []
        if len(self._incomplete_frame):
            padding = np.zeros(FRAME_SAMPLES - len(self._incomplete_frame), np.float32)
            heard += self._hear_frame(np.concatenate([self._incomplete_frame, padding]))
            self._incomplete_frame = padding[:0]
        for event in self.turns.end_of_audio():
            heard += self._around(event)
        return heard

    def _hear_frame(self, frame: NDArray[np.float32]) -> list[Result | TurnEvent]:
        self._recent.append(frame)
        heard: list[Result | TurnEvent] = []
        for event in self.turns.frame(self._voice.probability(frame)):
            heard += self._around(event)
        if self._segment_id is None and self.turns.speaking and self.turns.silence == 0:
            # The stretch before was ended in mid-speech: by the caller, or for its length.
            self._begin_segment(self.turns.position - FRAME_SAMPLES)
        if self._segment_id is not None:
            heard += self._recognise()
        if self.turns.wants_answer and self._question is None:
            start = self._thought_start - _TURN_PRE_ROLL_SAMPLES
            self._asked_at = self.turns.position
            self._question = self._turn_model.ask(self._recent.since(start))
        return heard + self._take_answer()

    def _take_answer(self) -> list[Result | TurnEvent]:
        if self._question is None:
            return []
        overdue = self.turns.position - self._asked_at >= _LONGEST_QUESTION_SAMPLES
        if not self._question.done() and not overdue:
            return []
        try:
            probability = self._question.result(_TURN_MODEL_TIMEOUT_S)
        except TimeoutError as late:
            raise EngineError(f"the turn model gave no answer in {_TURN_MODEL_TIMEOUT_S:.0f} s") from late
        self._question = None
        heard: list[Result | TurnEvent] = []
        for event in self.turns.answer(self._asked_at, probability):
            heard += self._around(event)
        return heard

    def _around(self, event: TurnEvent) -> list[Result | TurnEvent]:
        """The event with what has to be said before it."""
        match event.kind:
            case TurnEventKind.SPEECH_STARTED:
                if event.at - self._last_voiced > _SAME_THOUGHT_SAMPLES:
                    self._thought_start = event.at
                if self._segment_id is None:
                    self._begin_segment(event.at)
            case TurnEventKind.SPEECH_ENDED:
                self._last_voiced = event.at
            case TurnEventKind.END_OF_TURN:
                return [*self._end_segment(), event]
            case TurnEventKind.BACKCHANNEL:
                # "mhm" is an answer to what the assistant says, not a turn: its text is nobody's concern.
                self._end_segment()
            case _:
                pass
        return [event]

    def _begin_segment(self, start: int) -> None:
        self._segment_id = uuid.uuid4().hex
        self._segment_start = start
        self._first_pushed = max(start - PRE_ROLL_SAMPLES, self._pushed_to, self._recent.start)
        self._pushed_to = self._first_pushed
        self._partial = ("", 0)
        self._may_be_echo = self._assistant_speaking or start < self._echo_until

    def _recognise(self) -> Sequence[Result]:
        """Bring the recogniser up to date with the open stretch."""
        silence = self.turns.silence
        if silence > _TAIL_SAMPLES:
            pushed = self._pushed_to - self._first_pushed
            ends = silence >= _LONG_SILENCE_SAMPLES or pushed >= _LONG_SPEECH_SAMPLES
            return self._end_segment() if ends else self._partials(_NO_SOUND)
        unheard = self._recent.since(self._pushed_to)
        self._pushed_to = self._recent.end
        results = self._partials(unheard)
        if self._pushed_to - self._first_pushed >= _LONGEST_SPEECH_SAMPLES:
            results += self._end_segment()
        return results

    def _partials(self, samples: NDArray[np.float32]) -> list[Result]:
        results = []
        for transcript in self._stream.push(samples):
            partial = (transcript.text, transcript.stable_characters)
            if self._is_worth_telling(transcript) and partial != self._partial and not self.turns.over_assistant:
                self._partial = partial
                results.append(self._result(transcript))
        return results

    def _end_segment(self) -> list[Result]:
        if self._segment_id is None:
            return []
        results = [self._result(final) for final in self._stream.finish() if self._is_worth_telling(final)]
        self._segment_id = None
        return results

    def _is_worth_telling(self, transcript: Transcript) -> bool:
        return bool(transcript.text) and not (self._may_be_echo and is_echo(transcript.text, self._assistant_text))

    def _result(self, transcript: Transcript) -> Result:
        assert self._segment_id is not None
        words = tuple(
            replace(word, start=self._first_pushed + word.start, end=self._first_pushed + word.end)
            for word in transcript.words
        )
        last_voiced = self.turns.position - self.turns.silence
        end = last_voiced if transcript.is_final or not words else words[-1].end
        # A word may begin in the pre-roll and end in the tail.
        start = min([self._segment_start, *(word.start for word in words[:1])])
        end = max([end, *(word.end for word in words[-1:])])
        return Result(self._segment_id, replace(transcript, words=words), start, end)
