"""`avatar verify speech`: what is understood passes, what is misheard, imagined or echoed does not."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import numpy as np
import pytest

from services.common.audio import pcm16_of, wav_of
from services.common.errors import InvalidRequestError
from services.common.settings import ServerSettings
from tests.fakes.parroting import RATE_HZ, parroting
from tools.bench import sounds
from tools.cli.__main__ import main
from tools.verify import speech
from tools.verify.check import Check, Verdict
from tools.verify.hearing import plain
from tools.verify.sentences import SENTENCES
from tools.verify.transcripts import recordings_in


async def verified(
    monkeypatch: pytest.MonkeyPatch, folder: Path, recordings: Path | None = None, **told: object
) -> tuple[dict[str, Check], str]:
    """The checks by name, and the report. Args: told: what the parrot is told."""
    async with parroting(**told) as channel:

        @contextlib.asynccontextmanager
        async def channels(names: Sequence[str]) -> AsyncIterator[dict[str, grpc.aio.Channel]]:
            yield dict.fromkeys(names, channel)

        monkeypatch.setattr(speech, "channels", channels)
        out = folder / "report.html"
        options = {"languages": ["en", "de", "zh-cn"], "reader": "stt", "language": "", "out": out}
        checks = await speech.verify(argparse.Namespace(**options, recordings=recordings))
    return {check.name: check for check in checks}, out.read_text()


def ended(checks: dict[str, Check], verdict: Verdict) -> set[str]:
    return {name for name, check in checks.items() if check.verdict is verdict}


async def test_a_voice_that_is_understood_passes_and_what_nobody_hears_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checks, report = await verified(monkeypatch, tmp_path)
    assert ended(checks, Verdict.FAILED) == set()
    assert ended(checks, Verdict.NOT_MEASURED) == {"de is understood as it was said", "recordings are understood"}
    assert "the recogniser parrot does not hear it" in checks["de is understood as it was said"].found
    assert SENTENCES["zh-cn"] in report
    assert SENTENCES["de"] not in report


async def test_a_voice_that_is_misheard_fails_by_its_error_rate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def mishears(text: str) -> str:
        return text.replace("train", "rain").replace("sister", "blister in the sun")

    checks, _ = await verified(monkeypatch, tmp_path, mishears=mishears)
    check = checks["en is understood as it was said"]
    assert check.verdict is Verdict.FAILED
    # Of 83 letters one is left out and one exchanged, and twelve are put in.
    assert "0.17" in check.found
    assert checks["zh-cn is understood as it was said"].verdict is Verdict.PASSED


async def test_words_where_nobody_speaks_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checks, report = await verified(monkeypatch, tmp_path, imagines="Thank you.")
    imagined = {f"no words in {sound}" for sound in ("silence", "white noise", "music", "a tone", "coughs")}
    assert ended(checks, Verdict.FAILED) == imagined
    assert checks["no words in silence"].found == '"Thank you."'
    assert report.count("Thank you. [en]") >= len(imagined)


async def test_ears_that_hear_the_avatar_itself_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checks, _ = await verified(monkeypatch, tmp_path, heeds_assistant=False)
    assert ended(checks, Verdict.FAILED) == {"no words in the avatar's own voice"}


async def test_a_family_does_not_judge_a_voice_on_which_it_hallucinates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checks, _ = await verified(monkeypatch, tmp_path, voice="xtts", ears="whisper")
    check = checks["en is understood as it was said"]
    assert check.verdict is Verdict.NOT_MEASURED
    assert "canary or parakeet" in check.found


async def test_recordings_are_held_against_what_is_said_in_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name, said in (("one", "Hello, World!"), ("two", "what is that")):
        (folder / f"{name}.wav").write_bytes(wav_of(bytes(RATE_HZ), RATE_HZ))
        (folder / f"{name}.txt").write_text(said)
    checks, report = await verified(monkeypatch, tmp_path, folder, imagines="hello world")
    check = checks["recordings are understood"]
    assert check.verdict is Verdict.FAILED
    # Three of five words are wrong.
    assert "word error rate 0.60 over 2 recordings" in check.found
    assert "one.wav" in report
    (folder / "two.txt").unlink()
    with pytest.raises(InvalidRequestError, match=r"no text beside two\.wav"):
        recordings_in(folder)
    with pytest.raises(InvalidRequestError, match="has no recording"):
        recordings_in(tmp_path)


def test_texts_are_compared_without_case_and_punctuation() -> None:
    assert plain("  Hello, World - it's “ME”!") == "hello world it s me"
    assert plain("\uff26\uff35\uff2c\uff2c  width\u3002") == "full width"
    assert plain("पानी") == "पानी"


def test_there_is_a_sentence_in_each_language_of_the_older_stack() -> None:
    from services.tts.legacy_servicer import LANGUAGES

    assert SENTENCES.keys() == LANGUAGES.keys()


def test_sounds_are_what_their_names_say() -> None:
    tone = sounds.tone(1.0, 440.0)
    assert int(np.abs(np.fft.rfft(tone)).argmax()) == 440
    noise = sounds.white_noise(1.0, -30.0)
    assert 20 * math.log10(float(np.sqrt((noise**2).mean()))) == pytest.approx(-30, abs=0.2)
    assert not sounds.silence(1.0).any()
    assert np.abs(sounds.music(2.0)).max() < 1.0
    assert np.abs(sounds.clipped(tone)).max() == 1.0
    assert (np.abs(sounds.clipped(tone)) == 1.0).mean() > 0.8
    both = tone + sounds.tone(1.0, 6000.0)
    spectrum = np.abs(np.fft.rfft(sounds.by_telephone(both)))
    assert spectrum[6000] < 0.01 * spectrum[440]
    assert pcm16_of(sounds.by_telephone(tone)) != pcm16_of(tone)


def test_a_language_without_a_sentence_is_named() -> None:
    with pytest.raises(SystemExit, match="there is no sentence in xx; there are en, de"):
        main(["verify", "speech", "--languages", "xx"])


@pytest.mark.slow
def test_the_embedded_engines_are_measured_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "models").symlink_to(ServerSettings().data_dir / "models")
    monkeypatch.setenv("AVATAR_DATA_DIR", str(data_dir))
    out = tmp_path / "report.html"
    with pytest.raises(SystemExit) as result:
        main(["verify", "speech", "--languages", "en", "de", "--out", str(out)])
    # The embedded recogniser is no match for a sentence; silence and noise it withstands.
    assert result.value.code == 1
    told = capsys.readouterr().out
    assert "failed        en is understood as it was said" in told
    assert "not measured  de is understood as it was said: the recogniser pocketsphinx does not hear it" in told
    for sound in ("silence", "white noise", "a tone"):
        assert f"passed        no words in {sound}" in told
    assert "What espeak says and pocketsphinx hears here" in out.read_text()
