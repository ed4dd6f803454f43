"""Who answers: an echo, a short scripted host, or a program that calls Say."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol, assert_never

from orchestrator.settings import ReplyName


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an answer's text; `expression` ("happy", for one) changes the face from here on."""

    text: str
    expression: str = ""


class Replier(Protocol):
    """Answers turns; knows nothing of sound or pictures."""

    def greeting(self) -> AsyncIterator[Piece] | None:
        """What is said when the conversation begins; None for nothing."""

    def answer(self, text: str) -> AsyncIterator[Piece] | None:
        """The answer to a turn, in pieces as they are known; None when somebody else answers by Say."""


async def _pieces(*pieces: Piece) -> AsyncIterator[Piece]:
    for piece in pieces:
        yield piece


class Echo:
    """Says what it heard."""

    def greeting(self) -> None:
        return None

    def answer(self, text: str) -> AsyncIterator[Piece]:
        return _pieces(Piece(text))


class Assistant:
    """Says nothing of its own: a program watches the conversation and calls Say."""

    def greeting(self) -> None:
        return None

    def answer(self, text: str) -> None:  # noqa: ARG002
        return None


@dataclass(frozen=True, slots=True)
class _Line:
    """An answer to any of some words."""

    words: str
    pieces: tuple[Piece, ...]


_GREETING = {
    "en": (
        Piece("Hello, I am your avatar. ", "happy"),
        Piece(
            "Say hello, ask what I can do, or tell me to look surprised. You may interrupt me at any time.", "neutral"
        ),
    ),
    "de": (
        Piece("Hallo, ich bin dein Avatar. ", "happy"),
        Piece("Frag mich, was ich kann, oder sag mir, ich soll überrascht schauen.", "neutral"),
    ),
}
_LINES = {
    "en": (
        _Line("hello hi hey morning evening", (Piece("Hello! It is good to see you.", "happy"),)),
        _Line("bye goodbye", (Piece("Goodbye. It was nice talking to you.", "happy"),)),
        _Line("happy smile laugh", (Piece("This is my happy face.", "happy"),)),
        _Line("sad cry", (Piece("This is how I look when I am sad.", "sad"),)),
        _Line("surprised surprise wow", (Piece("Oh! I did not see that coming.", "surprised"),)),
        _Line("angry mad", (Piece("I would not want to meet this face in the dark.", "angry"),)),
        _Line("disgusted disgust", (Piece("Ugh. That is disgusting.", "disgusted"),)),
        _Line("afraid scared fear fearful", (Piece("Did you hear that noise?", "fearful"),)),
        _Line("neutral relax", (Piece("All calm again.", "neutral"),)),
        _Line("thanks thank", (Piece("You are very welcome.", "happy"),)),
        _Line(
            "name who",
            (
                Piece(
                    "I am a face made from one picture. You can give me another one: press change face, then your own."
                ),
            ),
        ),
        _Line(
            "assistant connect program",
            (
                Piece("To connect your own assistant, start a conversation whose reply is assistant. "),
                Piece("Your program follows it with Watch Conversation and answers with Say. The read me shows how."),
            ),
        ),
        _Line(
            "help can do what",
            (
                Piece("I hear you, I answer, and I stop when you speak. ", "happy"),
                Piece("Ask me to look happy, sad, surprised, angry, disgusted or afraid. ", "neutral"),
                Piece("I only know a few words myself. Ask me how to connect an assistant, and I can say anything."),
            ),
        ),
    ),
    "de": (
        _Line("hallo hi guten", (Piece("Hallo! Schön, dich zu sehen.", "happy"),)),
        _Line("tschüss wiedersehen", (Piece("Auf Wiedersehen. Es war schön mit dir.", "happy"),)),
        _Line("fröhlich glücklich lächeln lache", (Piece("So sehe ich fröhlich aus.", "happy"),)),
        _Line("traurig", (Piece("So sehe ich traurig aus.", "sad"),)),
        _Line("überrascht überraschung", (Piece("Oh! Damit habe ich nicht gerechnet.", "surprised"),)),
        _Line("wütend böse", (Piece("Dieses Gesicht möchte ich nicht im Dunkeln treffen.", "angry"),)),
        _Line("danke", (Piece("Sehr gern.", "happy"),)),
        _Line("name wer", (Piece("Ich bin ein Gesicht, das aus einem einzigen Bild gemacht ist."),)),
        _Line(
            "assistent verbinden programm",
            (
                Piece("Um deinen Assistenten zu verbinden, beginne ein Gespräch mit der Antwort assistant. "),
                Piece("Dein Programm folgt ihm mit Watch Conversation und antwortet mit Say."),
            ),
        ),
        _Line(
            "hilfe kannst was",
            (
                Piece("Ich höre dich, ich antworte, und ich höre auf, wenn du sprichst. ", "happy"),
                Piece("Frag mich, wie man einen Assistenten verbindet, dann kann ich alles sagen.", "neutral"),
            ),
        ),
    ),
}
_UNKNOWN = {
    "en": (
        Piece("I heard: {text}. ", "neutral"),
        Piece("I am only a short script. Say help to hear what I can do."),
    ),
    "de": (
        Piece("Ich habe gehört: {text}. ", "neutral"),
        Piece("Ich bin nur ein kurzes Skript. Sag Hilfe, um zu hören, was ich kann."),
    ),
}


class Demo:
    """A short scripted host. It looks for words that it knows, so it survives a recogniser that mishears the rest."""

    def __init__(self, language_code: str) -> None:
        """Args: language_code: German has lines of its own, every other language gets the English ones."""
        self._language = "de" if language_code.lower().split("-")[0] == "de" else "en"

    def greeting(self) -> AsyncIterator[Piece]:
        return _pieces(*_GREETING[self._language])

    def answer(self, text: str) -> AsyncIterator[Piece]:
        heard = set(re.findall(r"\w+", text.lower()))
        for line in _LINES[self._language]:
            if heard & set(line.words.split()):
                return _pieces(*line.pieces)
        unknown = _UNKNOWN[self._language]
        return _pieces(*(Piece(piece.text.replace("{text}", text.rstrip(".")), piece.expression) for piece in unknown))


def replier_named(name: ReplyName, language_code: str) -> Replier:
    """The replier of a conversation."""
    match name:
        case "echo":
            return Echo()
        case "demo":
            return Demo(language_code)
        case "assistant":
            return Assistant()
    assert_never(name)
