"""A recogniser over real gRPC on what a microphone brings besides clear speech: what it writes, and when it should not.

Silence, noise, music, a tone, coughs, the avatar's own voice, a fifth of a second of speech, clipped speech, a
telephone, two languages in one stream. The voice that runs speaks; recordings may be added.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
import numpy as np
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc

from tools.bench import sounds
from tools.bench.record import Record, Row
from tools.bench.sounds import Sound
from tools.bench.speech import SAMPLE_RATE_HZ, synthesise
from tools.bench.stt import error_rate
from tools.cli.services import channels
from tools.verify.hearing import Assistant, Heard, hear, plain
from tools.verify.sentences import SENTENCES
from tools.verify.transcripts import read_sound, recordings_in

_NO_SPEECH_S = 10.0
_SHORT = SAMPLE_RATE_HZ // 5
_LONGEST_NOTE = 60


@dataclass(frozen=True)
class Input:
    """A sound to be heard.

    Args: said: what somebody says to the avatar in it; None where nobody does, or not enough to be understood.
    """

    name: str
    sound: Sound
    said: str | None = None
    assistant: Assistant | None = None
    language: str = ""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reader", choices=("stt", "stt_second"), default="stt", help="which recogniser")
    parser.add_argument("--recordings", type=Path, help="folder of recordings, each with its text in a file beside it")
    parser.add_argument("--fast", action="store_true", help="as fast as the sound is taken; fewer interims than live")


async def measure(given: argparse.Namespace) -> Record:
    """Let each input be heard, one after the other, at the pace of speech."""
    rows: list[Row] = []
    raw: dict[str, object] = {}
    async with channels(["tts", given.reader]) as to:
        health = await stt_pb2_grpc.SpeechToTextServiceStub(to[given.reader]).GetHealth(stt_pb2.GetHealthRequest())
        for one in await _inputs(to["tts"], health.language_codes, given.recordings):
            heard = await hear(
                to[given.reader], one.sound, one.language, one.assistant, interim_results=True, real_time=not given.fast
            )
            rows.append(_row(one, heard))
            raw[one.name] = asdict(heard)
    settings = {"engine": health.engine.name, "reader": given.reader, "real_time": not given.fast}
    return Record("inputs", rows, settings, raw)


def _row(one: Input, heard: Heard) -> Row:
    """False words where nobody is to be understood, else the character error rate."""
    note = heard.text if len(heard.text) <= _LONGEST_NOTE else f"{heard.text[:_LONGEST_NOTE]}…"
    if one.said is None:
        words = float(len(plain(heard.text).split()))
        # What was shown and taken back has been read too.
        shown = float(max((len(plain(text).split()) for text in heard.interims), default=0))
        return Row(f"{one.name}: false words", "", 1, words, words, max(words, shown), "0", note=note)
    rate = 100 * error_rate(plain(one.said), plain(heard.text))
    return Row(f"{one.name}: character errors", "%", 1, rate, rate, rate, note=note)


async def _inputs(tts: grpc.aio.Channel, languages: Sequence[str], recordings: Path | None) -> list[Input]:
    said = SENTENCES["en"]
    speech = await synthesise(tts, said)
    inputs = [*_nobody(), *_own_voice(speech, said)]
    inputs += _hard(speech, said, "synthetic speech")
    german = await synthesise(tts, SENTENCES["de"], language="de")
    both = np.concatenate([speech, sounds.silence(0.8), german])
    # Where the recogniser knows one language only, the other is no more than a hard noise.
    expected = f"{said} {SENTENCES['de']}" if "de" in languages else said
    inputs.append(Input("English, then German", both, expected))
    if recordings is not None:
        for path, text in recordings_in(recordings):
            inputs += _hard(await asyncio.to_thread(read_sound, path, SAMPLE_RATE_HZ), text, path.stem)
    return inputs


def _nobody() -> Iterator[Input]:
    """Sounds without a person."""
    gap = sounds.silence(1.0)
    yield Input("silence", sounds.silence(_NO_SPEECH_S))
    yield Input("white noise, -30 dBFS", sounds.white_noise(_NO_SPEECH_S))
    yield Input("white noise, -12 dBFS", sounds.white_noise(_NO_SPEECH_S, -12.0))
    yield Input("0.2 s of white noise, -12 dBFS", sounds.white_noise(0.2, -12.0))
    yield Input("music, plucked chords", sounds.music(_NO_SPEECH_S))
    yield Input("a tone, 440 Hz", sounds.tone(_NO_SPEECH_S))
    yield Input("5 coughs", np.concatenate([part for seed in range(5) for part in (sounds.cough(seed), gap)]))
    yield Input("5 hums", np.concatenate([part for seed in range(5) for part in (sounds.hum(seed), gap)]))


def _own_voice(speech: Sound, said: str) -> Iterator[Input]:
    """The avatar's, by what the recogniser is told of it."""
    yield Input("own voice, nothing told", speech)
    yield Input("own voice, told that it speaks", speech, assistant=Assistant())
    yield Input("own voice, told what it says", speech, assistant=Assistant(said))


def _hard(speech: Sound, said: str, name: str) -> Iterator[Input]:
    yield Input(name, speech, said)
    yield Input(f"{name}, the first 0.2 s", speech[:_SHORT])
    yield Input(f"{name}, clipped", sounds.clipped(speech), said)
    yield Input(f"{name}, by a telephone of 8 kHz", sounds.by_telephone(speech), said)
