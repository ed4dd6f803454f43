"""`avatar voice` at a terminal, with a service whose engine takes on voices behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import structlog.testing

from tests.fakes.recordings import speech_like, wav
from tests.fakes.speaking_engine import SpeakingEngine
from tests.services.tts.serving import served
from tools.cli.__main__ import main
from tools.cli.settings import StackSettings


@pytest_asyncio.fixture(params=["fake-1"])
async def data_dir(
    request: pytest.FixtureRequest, tmp_path: Path, settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Path]:
    """Of the service, which stands at the public port. Parameter: the model of its voices."""
    engine, folder = SpeakingEngine(clones_as=request.param), tmp_path / "service"
    # The service's log would stand between the lines of the command.
    with structlog.testing.capture_logs():
        async with served(engine, data_dir=folder) as port:
            monkeypatch.setenv("NETWORK_TTS_PORT", str(port))
            yield folder


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "Aunt Ada.wav"
    path.write_bytes(wav(speech_like(5)))
    return path


async def avatar(*arguments: str) -> str:
    """What makes the command give up; empty where it does not."""
    try:
        await asyncio.to_thread(main, ["voice", *arguments])
    except SystemExit as exited:
        return str(exited.code)
    return ""


async def test_a_voice_is_made_listed_and_deleted(
    data_dir: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await avatar("create", str(recording), "--consent", "Ada, by letter", "--id", "ada") == ""
    assert capsys.readouterr().out.splitlines() == [
        "voices/ada",
        "note: 4 s of speech make a voice; 6 s or more make a better one.",
    ]
    assert await avatar("list") == ""
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines] == ["voices/beep", "voices/another", "voices/ada"]
    assert lines[2].endswith("made      Aunt Ada")
    assert not (data_dir / "voices/ada/recording").exists()
    assert await avatar("delete", "voices/ada") == ""
    assert "there is no voice voices/ada" in await avatar("delete", "voices/ada")


async def test_a_recording_is_kept_and_remade_of_where_that_is_asked_for(
    data_dir: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await avatar("create", str(recording), "--consent", "Ada", "--id", "ada", "--name", "Ada", "--keep-recording")
    assert (data_dir / "voices/ada/recording").read_bytes() == recording.read_bytes()
    capsys.readouterr()
    assert await avatar("remake", "voices/ada") == ""
    assert capsys.readouterr().out == "voices/ada\n"


async def test_a_check_says_how_good_a_recording_is_and_makes_nothing(
    data_dir: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await avatar("create", str(recording), "--consent", "Ada", "--check") == ""
    assert capsys.readouterr().out.startswith("3.8 s of speech at -14 dB, 48 dB over the background\nnote: ")
    assert not list((data_dir / "voices").glob("*"))


@pytest.mark.usefixtures("data_dir")
async def test_what_cannot_be_a_voice_is_refused_in_words(recording: Path, tmp_path: Path) -> None:
    consent = ("--consent", "Ada")
    assert "nobody.wav cannot be read" in await avatar("create", "nobody.wav", *consent)
    large = tmp_path / "large.wav"
    large.write_bytes(bytes(20 * 1024 * 1024 + 1))
    assert "more than 20 MiB; send 30 s of it" in await avatar("create", str(large), *consent)
    recording.write_bytes(wav(speech_like(2)))
    assert "3 to 30 s of speech, not of 2.0 s" in await avatar("create", str(recording), *consent)


@pytest.mark.parametrize("data_dir", [""], indirect=True)
@pytest.mark.usefixtures("data_dir")
async def test_an_engine_that_cannot_says_with_whom_it_speaks(recording: Path) -> None:
    assert "its own: voices/beep, voices/another" in await avatar("create", str(recording), "--consent", "Ada")
