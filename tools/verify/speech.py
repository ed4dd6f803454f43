"""`avatar verify speech`: a voice read back by ears, ears held against sounds that are no speech, and recordings."""

from __future__ import annotations

import argparse
import asyncio
import importlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from avatar.media.v1 import media_pb2
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc
from numpy.typing import NDArray

from services.common.audio import samples_of_pcm16
from services.common.errors import NotReadyError
from tools.bench import sounds
from tools.bench.speech import SAMPLE_RATE_HZ
from tools.cli.services import channels
from tools.verify.check import Check, judged, not_measured
from tools.verify.hearing import Assistant, Heard, has_blanks, hear, plain
from tools.verify.report import Table, write_report
from tools.verify.sentences import SENTENCES
from tools.verify.transcripts import recordings_in

# Character and word error rates that a recogniser and a voice that are worth having stay below.
_MAX_CER, _MAX_WER = 0.15, 0.2
_NO_SPEECH_S = 10.0
# An engine that hears words where its own family's faults sound would hide them.
_HALLUCINATES_ON = {"whisper": "xtts"}
_TEXT = SENTENCES["en"]


@dataclass(frozen=True, slots=True)
class _Ends:
    """Both services, what runs in them, and what they can."""

    tts: grpc.aio.Channel
    stt: grpc.aio.Channel
    voice: str
    ears: str
    spoken: Sequence[str]
    heard: Sequence[str]


def _jiwer() -> Any:
    try:
        return importlib.import_module("jiwer")
    except ImportError as missing:
        raise NotReadyError("error rates are counted by jiwer: `pip install 'avatar[verify]'`") from missing


async def _ends(tts: grpc.aio.Channel, stt: grpc.aio.Channel) -> _Ends:
    voice = await tts_pb2_grpc.TextToSpeechServiceStub(tts).GetHealth(tts_pb2.GetHealthRequest())
    ears = await stt_pb2_grpc.SpeechToTextServiceStub(stt).GetHealth(stt_pb2.GetHealthRequest())
    names = voice.engine.name, ears.engine.name
    return _Ends(tts, stt, *names, spoken=list(voice.language_codes), heard=list(ears.language_codes))


async def _say(ends: _Ends, text: str, language: str) -> NDArray[np.float32]:
    """Shape (n,), in [-1, 1], 48 kHz."""
    audio_format = media_pb2.AudioFormat(
        encoding=media_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=SAMPLE_RATE_HZ, channel_count=1
    )
    config = tts_pb2.SynthesisConfig(language_code=language, audio_format=audio_format)
    request = tts_pb2.SynthesizeRequest(text=text, config=config)
    spoken = await tts_pb2_grpc.TextToSpeechServiceStub(ends.tts).Synthesize(request)
    return samples_of_pcm16(spoken.audio[44:])


def _can(tags: Sequence[str], language: str) -> bool:
    return language.split("-")[0] in {tag.lower().split("-")[0] for tag in tags}


async def _read_back(
    ends: _Ends, languages: Sequence[str]
) -> AsyncIterator[tuple[Check, tuple[str, float, str, str] | None]]:
    """Each language spoken and read back: its check, and a row of language, error rate, and both texts."""
    cer = _jiwer().cer
    for language in languages:
        name, said = f"{language} is understood as it was said", SENTENCES[language]
        if not _can(ends.spoken, language):
            yield not_measured(name, f"the voice {ends.voice} does not speak it"), None
        elif not _can(ends.heard, language):
            yield not_measured(name, f"the recogniser {ends.ears} does not hear it"), None
        elif _HALLUCINATES_ON.get(ends.ears) == ends.voice:
            why = f"{ends.ears} hears words in what {ends.voice} says that nobody else does; read by canary or parakeet"
            yield not_measured(name, why), None
        else:
            code = language.split("-")[0]
            heard = await hear(ends.stt, await _say(ends, said, language), code)
            wanted, got = plain(said), plain(heard.text)
            if not has_blanks(language):
                wanted, got = wanted.replace(" ", ""), got.replace(" ", "")
            rate = float(cer(wanted, got))
            found = f"character error rate {rate:.2f}; at most {_MAX_CER:g}"
            yield judged(name, passed=rate <= _MAX_CER, found=found), (language, rate, said, heard.text)


async def _no_words(ends: _Ends) -> AsyncIterator[tuple[Check, tuple[str, str, str]]]:
    """Sounds in which nobody speaks to the avatar: a check and a row each."""
    own = await _say(ends, _TEXT, "en")
    pauses = sounds.silence(1.0)
    coughs = np.concatenate([part for seed in range(3) for part in (sounds.cough(seed), pauses)])
    for name, sound, says in (
        ("silence", sounds.silence(_NO_SPEECH_S), ""),
        ("white noise", sounds.white_noise(_NO_SPEECH_S), ""),
        ("music", sounds.music(_NO_SPEECH_S), ""),
        ("a tone", sounds.tone(_NO_SPEECH_S), ""),
        ("coughs", coughs, ""),
        ("the avatar's own voice", own, _TEXT),
    ):
        heard = await hear(ends.stt, sound, assistant=Assistant(says) if says else None)
        found = f'"{heard.text}"' if heard.finals else "no words"
        yield judged(f"no words in {name}", passed=not heard.finals, found=found), _row(name, heard)


async def _hard_speech(ends: _Ends) -> AsyncIterator[tuple[str, str, str]]:
    """Speech that is hard to hear: a row each, to be read by a person."""
    speech = await _say(ends, _TEXT, "en")
    gap = sounds.silence(0.8)
    inputs = {
        "speech as it is": speech,
        "0.2 s of speech": speech[: SAMPLE_RATE_HZ // 5],
        "clipped speech": sounds.clipped(speech),
        "a telephone, 8 kHz": sounds.by_telephone(speech),
    }
    if _can(ends.spoken, "de"):
        inputs["English, then German"] = np.concatenate([speech, gap, await _say(ends, SENTENCES["de"], "de")])
    for name, sound in inputs.items():
        yield _row(name, await hear(ends.stt, sound))


def _row(name: str, heard: Heard) -> tuple[str, str, str]:
    texts = " / ".join(f"{text} [{language}]" for text, language in heard.finals) or "no words"
    return name, texts, ", ".join(heard.turn_events) or "nothing"


async def _transcripts(ends: _Ends, folder: Path, language: str) -> tuple[Check, list[tuple[str, float, str, str]]]:
    """How well recordings are understood, by file and over all."""
    wer = _jiwer().wer
    rows, wanted, got = [], [], []
    for path, said in recordings_in(folder):
        request = stt_pb2.RecognizeRequest(
            config=stt_pb2.RecognitionConfig(language_code=language), audio=await asyncio.to_thread(path.read_bytes)
        )
        heard = await stt_pb2_grpc.SpeechToTextServiceStub(ends.stt).Recognize(request)
        wanted.append(plain(said))
        got.append(plain(heard.transcript))
        rows.append((path.name, float(wer(wanted[-1], got[-1])), said, heard.transcript))
    rate = float(wer(wanted, got))
    found = f"word error rate {rate:.2f} over {len(rows)} recordings; at most {_MAX_WER:g}"
    return judged("recordings are understood", passed=rate <= _MAX_WER, found=found), rows


async def verify(given: argparse.Namespace) -> list[Check]:
    """Verify and write the report.

    Raises: NotReadyError without jiwer or services; InvalidRequestError for a folder without texts; OSError.
    """
    _jiwer()
    if given.recordings is not None:
        recordings_in(given.recordings)
    checks: list[Check] = []
    tables: list[Table] = []
    async with channels(["tts", given.reader]) as to:
        ends = await _ends(to["tts"], to[given.reader])
        read_back = [each async for each in _read_back(ends, given.languages or list(SENTENCES))]
        checks += [check for check, _ in read_back]
        rows = [row for _, row in read_back if row]
        tables.append(Table("Spoken and read back", ("language", "character error rate", "said", "heard"), rows))
        no_words = [each async for each in _no_words(ends)]
        checks += [check for check, _ in no_words]
        heads = ("sound", "text", "turn events")
        tables.append(Table("Sounds in which nobody speaks to the avatar", heads, [row for _, row in no_words]))
        tables.append(Table("Speech that is hard to hear", heads, [row async for row in _hard_speech(ends)]))
        if given.recordings is None:
            checks.append(not_measured("recordings are understood", "no folder was given; --recordings takes one"))
        else:
            check, rows = await _transcripts(ends, given.recordings, given.language)
            checks.append(check)
            tables.append(Table("Recordings", ("file", "word error rate", "said", "heard"), rows))
    facts = [
        ("voice", ends.voice),
        ("ears", ends.ears),
        ("when", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]
    write_report(given.out, f"What {ends.voice} says and {ends.ears} hears here", facts, checks, tables)
    return checks
