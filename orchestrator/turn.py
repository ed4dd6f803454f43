"""Who may speak: a pure state machine, no I/O, no clock of its own.

Events come in, actions come out; the session carries them out in order. The avatar's voice is ducked at the first
sign of speech, cut when the turn is sure, and restored when it was only a cough or an "mhm".
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class State(enum.Enum):
    """What the conversation is doing."""

    LISTENING = "listening"
    USER_SPEAKING = "user_speaking"
    THINKING = "thinking"
    AVATAR_SPEAKING = "avatar_speaking"
    DUCKED = "ducked"


# --- events -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Voice began."""


@dataclass(frozen=True, slots=True)
class Backchannel:
    """The voice over the avatar was short: no reason to stop."""


@dataclass(frozen=True, slots=True)
class BargeIn:
    """The person takes the floor while the avatar speaks."""


@dataclass(frozen=True, slots=True)
class EndOfTurn:
    """The person is done; `text` is all that was understood, perhaps nothing."""

    text: str


@dataclass(frozen=True, slots=True)
class Typed:
    """The person typed a turn."""

    text: str


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Somebody pressed stop."""


@dataclass(frozen=True, slots=True)
class AvatarStarted:
    """The first sample of an answer is heard."""


@dataclass(frozen=True, slots=True)
class AvatarEnded:
    """The answer was heard to its end, and no other is on its way."""


Event = SpeechStarted | Backchannel | BargeIn | EndOfTurn | Typed | StopAsked | AvatarStarted | AvatarEnded


# --- actions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Duck:
    """Play the answer softer."""


@dataclass(frozen=True, slots=True)
class Restore:
    """Play the answer at full level again."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Drop every answer that is heard or on its way."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the person."""

    text: str


Action = Duck | Restore | Stop | Answer


class TurnMachine:
    """Turns events into actions."""

    def __init__(self) -> None:
        self.state = State.LISTENING
        # Words whose answer was dropped before it was heard, because the person went on.
        self._unanswered = ""

    def on(self, event: Event) -> list[Action]:
        """Take one event in. Returns: what to do, in order."""
        match event:
            case SpeechStarted():
                return self._speech_started()
            case Backchannel():
                if self.state is State.DUCKED:
                    self.state = State.AVATAR_SPEAKING
                    return [Restore()]
            case BargeIn():
                if self.state in (State.AVATAR_SPEAKING, State.DUCKED):
                    self.state = State.USER_SPEAKING
                    return [Stop()]
            case EndOfTurn(text):
                return self._end_of_turn(text)
            case Typed(text):
                self._unanswered = ""
                self.state = State.THINKING
                return [Stop(), Answer(text)]
            case StopAsked():
                self._unanswered = ""
                if self.state is State.DUCKED:
                    self.state = State.USER_SPEAKING
                elif self.state in (State.THINKING, State.AVATAR_SPEAKING):
                    self.state = State.LISTENING
                # In every state, because what an assistant says is on its way before it is heard.
                return [Stop()]
            case AvatarStarted():
                self._unanswered = ""
                if self.state in (State.THINKING, State.LISTENING):
                    self.state = State.AVATAR_SPEAKING
                elif self.state in (State.USER_SPEAKING, State.DUCKED):
                    # The next utterance, or an assistant that speaks while the person does: softly, until it is clear
                    # who goes on.
                    self.state = State.DUCKED
                    return [Duck()]
            case AvatarEnded():
                if self.state in (State.THINKING, State.AVATAR_SPEAKING):
                    self.state = State.LISTENING
                elif self.state is State.DUCKED:
                    self.state = State.USER_SPEAKING
        return []

    def _speech_started(self) -> list[Action]:
        match self.state:
            case State.LISTENING:
                self.state = State.USER_SPEAKING
            case State.THINKING:
                # The person went on before anything was heard: the answer would be to half a sentence.
                self.state = State.USER_SPEAKING
                return [Stop()]
            case State.AVATAR_SPEAKING:
                self.state = State.DUCKED
                return [Duck()]
            case State.USER_SPEAKING | State.DUCKED:
                pass
        return []

    def _end_of_turn(self, text: str) -> list[Action]:
        if self.state is State.DUCKED:
            self.state = State.AVATAR_SPEAKING
            return [Restore()]
        if self.state is not State.USER_SPEAKING:
            return []
        whole = f"{self._unanswered} {text}".strip()
        if not whole:
            self.state = State.LISTENING
            return []
        self._unanswered = whole
        self.state = State.THINKING
        return [Answer(whole)]
