"""What the command line refuses before it starts anything, and the sentence that a person gets."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.cli import processes, state
from tools.cli.__main__ import main
from tools.cli.settings import StackSettings
from tools.cli.state import State


def refusal(*arguments: str) -> str:
    """What `avatar` prints when it gives up."""
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert isinstance(exited.value.code, str)
    return exited.value.code


@pytest.mark.parametrize(("command", "suffix"), [("say", ".wav"), ("talk", ".mp4")])
@pytest.mark.usefixtures("settings")
def test_a_file_is_named_after_what_is_in_it(command: str, suffix: str, tmp_path: Path) -> None:
    text = ["--text", "hello"] if command == "talk" else ["hello"]
    right = tmp_path / f"hello{suffix}"
    assert f"write {right}" in refusal(command, *text, "-o", str(tmp_path / "hello.mov"))
    assert f"there is no folder {tmp_path / 'none'}" in refusal(
        command, *text, "-o", str(tmp_path / "none" / right.name)
    )
    assert not [file for file in tmp_path.iterdir() if "hello" in file.name]


@pytest.mark.usefixtures("settings")
def test_nothing_is_said_in_a_stack_that_does_not_run() -> None:
    assert "no avatar runs; start one with `avatar up`" in refusal("say", "hello")


def test_a_second_start_says_whose_data_it_would_share(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "running", lambda _: State(4711, is_ready=True, lan=False, stop_s=1.0))
    said = refusal("up")
    assert f"the data directory {settings.data_dir} runs already (process 4711)" in said
    # Without the file's name the command would end another stack.
    assert f"`avatar --config {os.environ['AVATAR_CONFIG']} down` ends it" in said


@pytest.mark.usefixtures("settings")
def test_settings_say_whether_there_is_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["settings"])
    assert capsys.readouterr().out.startswith(f"# file: {os.environ['AVATAR_CONFIG']}\n")
    monkeypatch.delenv("AVATAR_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    main(["settings"])
    assert capsys.readouterr().out.startswith(f"# there is no file {tmp_path / 'none'}")


def test_data_that_cannot_be_written_is_said_in_words(settings: StackSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVATAR_DATA_DIR", "/dev/null/data")
    assert "the data directory /dev/null/data cannot be written" in refusal("up")


def test_a_bench_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("tools.bench.", "playwright"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "playwright", None)
    assert "`tools/setup.sh --test` installs it" in refusal("bench", "conversation")


@pytest.mark.slow
@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["settings", "status", "--help"])
def test_a_reader_who_has_read_enough_ends_the_command_quietly(command: str, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "tools.cli", command],
        cwd=processes.ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert done.stderr == b""
    # argparse itself takes no notice.
    assert done.returncode == (0 if command == "--help" and unbuffered else 141)


@pytest.mark.slow
def test_a_stack_whose_words_nobody_reads_ends_in_order(settings: StackSettings) -> None:
    reader, writer = os.pipe()
    shown = os.fdopen(reader)
    with subprocess.Popen(
        [sys.executable, "-m", "tools.cli", "up"], cwd=processes.ROOT, stdout=writer, stderr=subprocess.PIPE
    ) as stack:
        os.close(writer)
        assert shown.readline() == "Starting the avatar.\n"
        shown.close()
        _, said = stack.communicate(timeout=60)
    assert (stack.returncode, said) == (141, b"")
    assert state.running(settings) is None


@pytest.fixture
def damaged(settings: StackSettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model file of the test's own that is cut off, where no package index can be reached."""
    models = settings.data_dir / "models"
    installed = models.resolve()
    models.unlink()
    shutil.copytree(installed, models)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    file = models / "silero_vad.onnx"
    os.truncate(file, 1000)
    return file


@pytest.mark.slow
def test_a_damaged_model_is_fetched_again_or_named(damaged: Path) -> None:
    said = refusal("up")
    assert f"in {damaged.parent} are missing or damaged" in said
    assert f"could not fetch them: {damaged.name}. Run `make setup`" in said


@pytest.mark.slow
def test_a_command_with_a_service_of_its_own_says_why_that_does_not_start(damaged: Path, tmp_path: Path) -> None:
    (tmp_path / "speech.wav").write_bytes(b"RIFF")
    assert f"stt cannot start: the model file {damaged} is damaged" in refusal(
        "transcribe", str(tmp_path / "speech.wav")
    )
