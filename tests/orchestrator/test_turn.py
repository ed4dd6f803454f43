"""Who may speak, as tables of events and actions."""

from __future__ import annotations

import pytest

from orchestrator.turn import (
    Action,
    Answer,
    AvatarEnded,
    AvatarStarted,
    Backchannel,
    BargeIn,
    Duck,
    EndOfTurn,
    Event,
    Restore,
    SpeechStarted,
    State,
    Stop,
    StopAsked,
    TurnMachine,
    Typed,
)

ANSWERING: list[Event] = [SpeechStarted(), EndOfTurn("hello"), AvatarStarted()]


@pytest.mark.parametrize(
    ("events", "actions", "state"),
    [
        pytest.param([SpeechStarted()], [], State.USER_SPEAKING, id="speech takes the floor"),
        pytest.param([SpeechStarted(), EndOfTurn("hi")], [Answer("hi")], State.THINKING, id="a turn is answered"),
        pytest.param([SpeechStarted(), EndOfTurn("")], [], State.LISTENING, id="a noise is not answered"),
        pytest.param(ANSWERING, [Answer("hello")], State.AVATAR_SPEAKING, id="the answer is heard"),
        pytest.param([*ANSWERING, AvatarEnded()], [Answer("hello")], State.LISTENING, id="the answer ends"),
        pytest.param(
            [*ANSWERING, SpeechStarted()], [Answer("hello"), Duck()], State.DUCKED, id="first sign of speech ducks"
        ),
        pytest.param(
            [*ANSWERING, SpeechStarted(), Backchannel()],
            [Answer("hello"), Duck(), Restore()],
            State.AVATAR_SPEAKING,
            id="a cough restores the voice",
        ),
        pytest.param(
            [*ANSWERING, SpeechStarted(), Backchannel(), EndOfTurn("mhm")],
            [Answer("hello"), Duck(), Restore()],
            State.AVATAR_SPEAKING,
            id="an mhm is no turn",
        ),
        pytest.param(
            [*ANSWERING, SpeechStarted(), BargeIn()],
            [Answer("hello"), Duck(), Stop()],
            State.USER_SPEAKING,
            id="barge-in cuts",
        ),
        pytest.param(
            [*ANSWERING, SpeechStarted(), BargeIn(), AvatarEnded(), EndOfTurn("no wait")],
            [Answer("hello"), Duck(), Stop(), Answer("no wait")],
            State.THINKING,
            id="what was said over the answer is answered, and alone",
        ),
        pytest.param(
            [*ANSWERING, SpeechStarted(), AvatarEnded(), EndOfTurn("and you")],
            [Answer("hello"), Duck(), Answer("and you")],
            State.THINKING,
            id="speech that outlasts the answer is a turn",
        ),
        pytest.param(
            [SpeechStarted(), EndOfTurn("ask not"), SpeechStarted(), EndOfTurn("what your country")],
            [Answer("ask not"), Stop(), Answer("ask not what your country")],
            State.THINKING,
            id="a sentence that goes on is answered as a whole",
        ),
        pytest.param(
            [SpeechStarted(), EndOfTurn("ask not"), SpeechStarted(), EndOfTurn("")],
            [Answer("ask not"), Stop(), Answer("ask not")],
            State.THINKING,
            id="a cough before the answer does not lose it",
        ),
        pytest.param([*ANSWERING, StopAsked()], [Answer("hello"), Stop()], State.LISTENING, id="stop stops"),
        pytest.param([StopAsked()], [Stop()], State.LISTENING, id="stop drops what is on its way"),
        pytest.param([Typed("hi")], [Stop(), Answer("hi")], State.THINKING, id="typed words are a turn"),
        pytest.param(
            [*ANSWERING, Typed("next")],
            [Answer("hello"), Stop(), Answer("next")],
            State.THINKING,
            id="typed words interrupt",
        ),
        pytest.param(
            [SpeechStarted(), AvatarStarted()], [Duck()], State.DUCKED, id="an assistant that talks over is ducked"
        ),
        pytest.param(
            [SpeechStarted(), AvatarStarted(), AvatarStarted()],
            [Duck(), Duck()],
            State.DUCKED,
            id="the next utterance of a ducked voice is ducked as well",
        ),
        pytest.param([BargeIn()], [], State.LISTENING, id="nothing to barge into"),
        pytest.param([AvatarStarted()], [], State.AVATAR_SPEAKING, id="the greeting needs no turn"),
    ],
)
def test_events_give_actions(events: list[Event], actions: list[Action], state: State) -> None:
    machine = TurnMachine()
    done = [action for event in events for action in machine.on(event)]
    assert (done, machine.state) == (actions, state)
