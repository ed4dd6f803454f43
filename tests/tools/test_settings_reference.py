"""docs/settings.md says what the settings classes say, and its examples are files that work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.cli.settings import StackSettings, read_all
from tools.gen_settings_reference import OUT, reference


def stack_of(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> StackSettings:
    """What a stack makes of a settings file."""
    for name in ("AVATAR_DATA_DIR", *(f"{p}_METRICS_PORT" for p in ("RENDER", "TTS", "STT", "CANARY", "ORCHESTRATOR"))):
        monkeypatch.delenv(name, raising=False)
    file = folder / "avatar.toml"
    file.write_text(text)
    monkeypatch.setenv("AVATAR_CONFIG", str(file))
    return read_all()


def ports(settings: StackSettings) -> set[int]:
    own = {port for server in settings.servers.values() for port in (server.port, server.metrics_port)}
    return {*own, settings.orchestrator.http_port, *settings.public_ports.values()}


def test_the_page_is_what_the_classes_say() -> None:
    assert OUT.read_text() == reference()


def test_its_second_stack_has_nothing_in_common_with_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example, second = re.findall(r"```toml\n(.*?)```", OUT.read_text(), re.DOTALL)
    shown = stack_of(example, tmp_path, monkeypatch)
    assert (shown.network.lan, shown.orchestrator.reply, shown.stt.turn.max_silence_s) == (True, "assistant", 1.5)
    first = stack_of("[canary]\nenabled = true\n", tmp_path, monkeypatch)
    other = stack_of(second.replace("[canary]\n", "[canary]\nenabled = true\n"), tmp_path, monkeypatch)
    assert not ports(first) & ports(other)
    assert first.data_dir != other.data_dir
    assert other.orchestrator.render_address == f"127.0.0.1:{other.render.port}"
