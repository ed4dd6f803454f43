"""`avatar bench inputs`: words that nobody said are counted, and speech is held against what was said."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import numpy as np
import pytest

from services.common.audio import pcm16_of, wav_of
from tests.fakes.parroting import RATE_HZ, parroting
from tools.bench import inputs
from tools.bench.record import Record
from tools.verify.transcripts import read_sound

SILENT = {"silence", "white noise, -30 dBFS", "music, plucked chords", "a tone, 440 Hz", "5 coughs", "5 hums"}


async def measured(monkeypatch: pytest.MonkeyPatch, recordings: Path | None = None, **told: object) -> Record:
    """Args: told: what the parrot is told."""
    async with parroting(**told) as channel:

        @contextlib.asynccontextmanager
        async def channels(names: Sequence[str]) -> AsyncIterator[dict[str, grpc.aio.Channel]]:
            yield dict.fromkeys(names, channel)

        monkeypatch.setattr(inputs, "channels", channels)
        return await inputs.measure(argparse.Namespace(reader="stt", recordings=recordings, fast=True))


def worst(record: Record) -> dict[str, float]:
    return {row.measure: row.worst for row in record.rows}


async def test_ears_that_hear_well_have_no_false_words_and_no_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    record = await measured(monkeypatch)
    found = worst(record)
    assert {found[f"{name}: false words"] for name in SILENT} == {0}
    assert found["synthetic speech: character errors"] == 0
    # It was not told that this is its own voice, or not what it says.
    assert found["own voice, nothing told: false words"] == found["own voice, told that it speaks: false words"] > 0
    assert found["own voice, told what it says: false words"] == 0
    assert record.settings["engine"] == "parrot"


async def test_false_words_and_misheard_letters_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = worst(
        await measured(monkeypatch, imagines="Thank you.", mishears=lambda text: text.replace("train", "rain"))
    )
    assert {found[f"{name}: false words"] for name in SILENT} == {2}
    # Of 83 letters and blanks one is left out.
    assert found["synthetic speech: character errors"] == pytest.approx(100 / 83)


async def test_recordings_are_heard_in_each_way_that_is_hard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "hello.wav").write_bytes(wav_of(pcm16_of(np.full(RATE_HZ, 0.1, np.float32)), RATE_HZ))
    (tmp_path / "hello.txt").write_text("Thank you!")
    found = worst(await measured(monkeypatch, tmp_path, imagines="thank you"))
    assert found["hello: character errors"] == found["hello, by a telephone of 8 kHz: character errors"] == 0
    assert found["hello, the first 0.2 s: false words"] == 2


def test_a_recording_is_read_at_the_rate_that_is_asked_for(tmp_path: Path) -> None:
    t = np.arange(16_000) / 16_000
    tone = np.asarray(0.5 * np.sin(2 * np.pi * 440 * t), np.float32)
    path = tmp_path / "tone.wav"
    path.write_bytes(wav_of(pcm16_of(tone), 16_000))
    sound = read_sound(path, 48_000)
    assert len(sound) == pytest.approx(48_000, abs=100)
    assert int(np.abs(np.fft.rfft(sound[:48_000], 48_000)).argmax()) == 440
