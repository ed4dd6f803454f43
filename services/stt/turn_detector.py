"""When a speaker's turn begins and ends: a pure state machine over voice and turn probabilities.

It has no clock but the frames that it is given, does no I/O and asks no model: it says when the turn model should be
asked, and takes the answer whenever there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from services.stt.vad import FRAME_SAMPLES

# A voice that is there may fade to the lower bound before it counts as gone; one that is not must reach the upper.
VOICE_STARTS_AT = 0.5
VOICE_STAYS_AT = 0.35
# The sound of a silence tells the turn model more as it grows, so it is asked again this often.
_ASK_AGAIN_FRAMES = 3
# The onset of the next word, before it counts as a voice, makes a pause sound like an end.
_SURELY_SILENT_BELOW = 0.1


@dataclass(frozen=True, slots=True)
class TurnRules:
    """How a turn is judged; times in samples at 16 kHz.

    Attributes:
        min_speech: voice before SPEECH_STARTED.
        min_silence: silence before the turn model is asked.
        max_silence: silence that ends the turn whatever the turn model says.
        end_of_turn_threshold: the turn ends when the turn model is this sure after `min_silence`, 0 to 1; the longer
            the silence grows, the less sure it has to be.
        eager_threshold: END_OF_TURN_LIKELY from here on, 0 to 1; 0 turns it off.
        min_barge_in: voice over the assistant's speech that makes it a BARGE_IN.
    """

    min_speech: int
    min_silence: int
    max_silence: int
    end_of_turn_threshold: float
    eager_threshold: float
    min_barge_in: int


class TurnEventKind(Enum):
    """What happened; the contract's `TurnEvent.Kind`."""

    SPEECH_STARTED = auto()
    SPEECH_ENDED = auto()
    END_OF_TURN_LIKELY = auto()
    TURN_RESUMED = auto()
    END_OF_TURN = auto()
    BACKCHANNEL = auto()
    BARGE_IN = auto()


@dataclass(frozen=True, slots=True)
class TurnEvent:
    """What happened, at which sample, and how sure the model behind it was (0 to 1)."""

    kind: TurnEventKind
    at: int
    probability: float


class TurnDetector:
    """The turns of one speaker.

    Attributes:
        rules: may be replaced at any time, and hold from the next frame on.
        position: samples judged so far.
        in_turn: a turn is open: speech was heard, and no END_OF_TURN or BACKCHANNEL has come yet.
        speaking: a voice is heard, or was until less than `min_silence` ago.
        silence: samples since the last voiced one; meaningful in a turn.
        over_assistant: the open turn is so far only a sound over the assistant's speech.
        wants_answer: the turn model should be asked about the sound up to `position`; lasts one frame.
    """

    def __init__(self, rules: TurnRules) -> None:
        self.rules = rules
        self.position = 0
        self.in_turn = False
        self.speaking = False
        self.silence = 0
        self.over_assistant = False
        self.wants_answer = False
        self._voiced = False
        self._run = 0  # voiced samples in a row
        self._voice_over_assistant = 0  # voiced samples of this stretch of speech while the assistant speaks
        self._barged_in = False
        self._likely = False
        self._assistant_speaking = False
        self._asked_in_silence = 0  # how long the silence was when the model was asked last
        self._last_answer = 0.0

    def assistant(self, *, speaking: bool) -> None:
        """The assistant began or stopped to speak."""
        if speaking != self._assistant_speaking:
            self._voice_over_assistant = 0
            self._barged_in = False
        if not speaking:
            # Nobody is spoken over any more, so what has been said is a turn like any other.
            self.over_assistant = False
        self._assistant_speaking = speaking

    def frame(self, voice_probability: float) -> list[TurnEvent]:
        """Judge the next 512 samples. Args: voice_probability: 0 to 1."""
        self.position += FRAME_SAMPLES
        self.wants_answer = False
        self._voiced = voice_probability >= (VOICE_STAYS_AT if self._voiced else VOICE_STARTS_AT)
        if self._voiced:
            return self._voice(voice_probability)
        self._run = 0
        self.silence += FRAME_SAMPLES
        return self._silence(voice_probability) if self.in_turn else []

    def answer(self, asked_at: int, probability: float) -> list[TurnEvent]:
        """Take the turn model's answer.

        Args:
            asked_at: `position` when it was asked; an answer from before the last voice is of no interest.
            probability: that the turn is over, 0 to 1.
        """
        silence_began = self.position - self.silence
        if not self.in_turn or self.speaking or asked_at <= silence_began:
            return []
        self._last_answer = probability
        if probability >= self._sure_enough(asked_at - silence_began):
            return self._end_turn(probability)
        if self.rules.eager_threshold and probability >= self.rules.eager_threshold and not self._likely:
            self._likely = True
            return [self._event(TurnEventKind.END_OF_TURN_LIKELY, probability)]
        return []

    def _sure_enough(self, silence: int) -> float:
        """The probability that ends the turn after a silence of so many samples.

        It falls from the threshold at `min_silence` to 0 at `max_silence`, slowly at first: people who look for a word
        do so for some hundred milliseconds, and hardly ever for as long as the longest silence.
        """
        growth = max(self.rules.max_silence - self.rules.min_silence, 1)
        share = min(max(silence - self.rules.min_silence, 0) / growth, 1.0)
        return self.rules.end_of_turn_threshold * (1 - share * share)

    def end_of_audio(self) -> list[TurnEvent]:
        """No sound will follow: end what is open."""
        if not self.in_turn:
            return []
        return [*self._end_speech(1.0), *(self._end_turn(1.0) if self.in_turn else [])]

    def _voice(self, probability: float) -> list[TurnEvent]:
        self._run += FRAME_SAMPLES
        self.silence = 0
        events: list[TurnEvent] = []
        if not self.speaking and self._run >= self.rules.min_speech:
            self.speaking = True
            if self._likely:
                events.append(self._event(TurnEventKind.TURN_RESUMED, probability))
                self._likely = False
            if not self.in_turn:
                self.in_turn = True
                self.over_assistant = self._assistant_speaking
            self._voice_over_assistant = self._run - FRAME_SAMPLES if self._assistant_speaking else 0
            events.append(TurnEvent(TurnEventKind.SPEECH_STARTED, self.position - self._run, probability))
        if self.speaking and self._assistant_speaking and not self._barged_in:
            self._voice_over_assistant += FRAME_SAMPLES
            if self._voice_over_assistant >= self.rules.min_barge_in:
                self._barged_in = True
                self.over_assistant = False
                events.append(self._event(TurnEventKind.BARGE_IN, probability))
        return events

    def _silence(self, probability: float) -> list[TurnEvent]:
        events: list[TurnEvent] = []
        if self.silence < self.rules.min_silence:
            return events
        if self.speaking:
            events += self._end_speech(1 - probability)
        if self.in_turn and self.silence >= self.rules.max_silence:
            events += self._end_turn(self._last_answer)
        if self.in_turn:
            due = self.silence >= self._asked_in_silence + _ASK_AGAIN_FRAMES * FRAME_SAMPLES
            if due and probability < _SURELY_SILENT_BELOW:
                self._asked_in_silence = self.silence
                self.wants_answer = True
        return events

    def _end_speech(self, probability: float) -> list[TurnEvent]:
        events = []
        if self.speaking:
            self.speaking = False
            self._asked_in_silence = 0
            self._last_answer = 0.0
            events.append(TurnEvent(TurnEventKind.SPEECH_ENDED, self.position - self.silence, probability))
        if self.over_assistant:
            self._close()
            events.append(self._event(TurnEventKind.BACKCHANNEL, probability))
        return events

    def _end_turn(self, probability: float) -> list[TurnEvent]:
        self._close()
        return [self._event(TurnEventKind.END_OF_TURN, probability)]

    def _close(self) -> None:
        self.in_turn = False
        self.over_assistant = False
        self._likely = False
        self._barged_in = False

    def _event(self, kind: TurnEventKind, probability: float) -> TurnEvent:
        return TurnEvent(kind, self.position, probability)
