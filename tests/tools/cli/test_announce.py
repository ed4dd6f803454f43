"""What a person reads after `avatar up`: on a terminal how to come in, in a log nothing that lets anybody in."""

from __future__ import annotations

import pytest
from rich.console import Console

from tools.cli import announce, lan
from tools.cli.settings import StackSettings


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "_console", lambda: Console(highlight=False, soft_wrap=True, force_terminal=True))


@pytest.fixture
def with_two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lan, "addresses", lambda: ["192.168.1.5", "fd00::5"])


@pytest.mark.usefixtures("on_a_terminal", "with_two_addresses")
def test_a_terminal_shows_address_token_and_code(settings: StackSettings, capsys: pytest.CaptureFixture[str]) -> None:
    announce.announce_address(lan.opened(settings), 3.21, "Ctrl-C ends it.")
    shown = capsys.readouterr().out
    address = f"https://192.168.1.5:{settings.network.page_port}/?token={lan.read_token(settings)}"
    assert address in shown
    assert lan.code(address).splitlines()[3] in shown
    assert f"https://[fd00::5]:{settings.network.page_port}/" in shown
    assert f"http://192.168.1.5:{settings.network.tts_port}/v1/voices" in shown
    assert "clear text" in shown
    assert "Ready in 3.2 s" in shown


@pytest.mark.usefixtures("with_two_addresses")
def test_a_log_gets_the_address_without_the_token(settings: StackSettings, capsys: pytest.CaptureFixture[str]) -> None:
    token = lan.new_token(settings)
    announce.announce_address(lan.opened(settings), 3.2, "Ctrl-C ends it.")
    said = capsys.readouterr().out
    assert f"https://192.168.1.5:{settings.network.page_port}/ (`avatar token` prints" in said
    assert token not in said
    assert "\x1b" not in said


def test_alone_there_is_one_address_and_no_token(settings: StackSettings, capsys: pytest.CaptureFixture[str]) -> None:
    announcer = announce.Announcer(settings)
    announcer.serves("tts", "espeak", 0.94)
    announcer.ready(1.0)
    said = capsys.readouterr().out
    assert said.splitlines()[0].split() == ["✓", "tts", "espeak", "0.9", "s"]
    assert f"Open  https://localhost:{settings.network.page_port}\n" in said
    assert "oken" not in said
    assert not lan.token_file(settings).exists()
