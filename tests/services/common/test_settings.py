"""One file, environment variables over it, and a sentence for whoever wrote something that nobody reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.settings import OrchestratorSettings
from services.common.network_settings import NetworkSettings
from services.common.settings import Settings, origin, read
from services.common.settings_file import SettingsError
from services.common.settings_words import leaves, takes
from services.common.start import NEEDS_REPAIR
from services.render.settings import RenderSettings
from services.stt.settings import CanarySettings, SttSettings
from tools.cli.settings import KINDS, read_all


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file of this test, empty."""
    path = tmp_path / "avatar.toml"
    path.touch()
    monkeypatch.setenv("AVATAR_CONFIG", str(path))
    monkeypatch.delenv("AVATAR_DATA_DIR", raising=False)
    return path


def test_the_file_is_over_the_defaults_and_the_environment_over_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('data_dir = "/srv/avatar"\n[stt]\nport = 6000\nmax_streams = 5\n[stt.turn]\nmax_silence_s = 2\n')
    monkeypatch.setenv("STT_MAX_STREAMS", "7")
    monkeypatch.setenv("STT_TURN__MIN_SILENCE_S", "0.3")
    settings = read(SttSettings)
    assert (settings.port, settings.max_streams, settings.engine) == (6000, 7, "auto")
    assert (settings.turn.max_silence_s, settings.turn.min_silence_s) == (2.0, 0.3)
    assert settings.data_dir == Path("/srv/avatar")
    assert [origin(SttSettings, keys) for keys in (("port",), ("max_streams",), ("engine",), ("data_dir",))] == [
        str(file),
        "STT_MAX_STREAMS",
        "default",
        str(file),
    ]
    monkeypatch.setenv("AVATAR_DATA_DIR", "/srv/other")
    assert read(RenderSettings).data_dir == Path("/srv/other")


def test_a_section_is_for_its_process_alone(file: Path) -> None:
    file.write_text("[stt]\nmax_streams = 5\n[canary]\nenabled = true\nmax_streams = 2\n")
    assert (read(SttSettings).max_streams, read(CanarySettings).max_streams, read(RenderSettings).max_streams) == (
        5,
        2,
        8,
    )


def test_a_missing_file_is_no_mistake_unless_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("AVATAR_CONFIG", "")
    assert read(RenderSettings).port == 50081
    (tmp_path / "avatar").mkdir()
    (tmp_path / "avatar" / "avatar.toml").write_text("[render]\nport = 6001\n")
    assert read(RenderSettings).port == 6001
    monkeypatch.setenv("AVATAR_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(SettingsError, match=r"there is no settings file .*/none.toml"):
        read(RenderSettings)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[render]\nmax_streams = 0", "avatar.toml, [render]: max_streams is 0; give a whole number from 1 to 1000"),
        ('[render]\nengine = "mush"', '[render]: engine is "mush"; give one of "auto", "mesh"'),
        ("[render.drain]\ngrace_s = -1", "[render.drain]: grace_s is -1; give a number from 0 to 3600"),
        ("[render]\ndrain = 5", "[render]: drain is 5; it is a table of settings"),
        (
            "[render]\nmax_streems = 3",
            "[render]: there is no setting max_streems (did you mean max_streams?); there are",
        ),
        (
            "[render.drain]\ngrace = 3",
            "[render.drain]: there is no setting grace (did you mean grace_s?); there are announce_s",
        ),
        ("[rendr]\nport = 3", "there is no section [rendr] (did you mean render?); there are [network]"),
        ("render = 3", "render is a section; write [render] on a line of its own"),
        ("max_streams = 3", "no setting max_streams stands above the sections; there are data_dir"),
        ('[render]\ndata_dir = "/x"', "[render]: data_dir is the same for all; write it above the first section"),
        ('data_dir = "here"', 'avatar.toml: data_dir is "here"; give an absolute path, or one that begins with "~/"'),
        ("[render\nport = 3", "is not TOML: Expected ']'"),
        ("[render]\nport = 3\nport = 4", "is not TOML: Cannot overwrite a value"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_would_be_right(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError) as refused:
        read(RenderSettings)
    assert says in str(refused.value)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (
            "RENDER_MAX_STREAMS",
            "many",
            'the environment: RENDER_MAX_STREAMS is "many"; give a whole number from 1 to 1000',
        ),
        ("RENDER_DRAIN__GRACE_S", "-1", 'the environment: RENDER_DRAIN__GRACE_S is "-1"; give a number from 0 to 3600'),
        ("RENDER_DRAIN", '{"grace": 1}', "there is no setting grace (did you mean grace_s?)"),
        ("RENDER_DRAIN", "{", "the environment: "),
        ("AVATAR_DATA_DIR", "here", 'the environment: AVATAR_DATA_DIR is "here"; give an absolute path'),
    ],
)
def test_a_mistake_in_the_environment_names_its_variable(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        read(RenderSettings)
    assert says in str(refused.value)


def test_an_empty_variable_is_none(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("[render]\nport = 6001\n")
    monkeypatch.setenv("RENDER_PORT", "")
    assert read(RenderSettings).port == 6001


def test_the_orchestrator_follows_the_sections_of_the_services(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('[render]\nport = 6001\nmax_avatars = 3\n[tts]\nhost = "0.0.0.0"\n[network]\nlan = true\n')
    monkeypatch.setenv("STT_PORT", "6003")
    settings = read(OrchestratorSettings)
    assert (settings.render_address, settings.tts_address, settings.stt_address) == (
        "127.0.0.1:6001",
        "127.0.0.1:50082",
        "127.0.0.1:6003",
    )
    assert settings.lan
    monkeypatch.setenv("ORCHESTRATOR_RENDER_ADDRESS", "faces.example:443")
    assert read(OrchestratorSettings).render_address == "faces.example:443"


def test_lists_are_lists_in_the_file_and_commas_in_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('[network]\nnames = ["Avatar.home", "192.168.1.5"]\n')
    assert read(NetworkSettings).names == ("avatar.home", "192.168.1.5")
    monkeypatch.setenv("NETWORK_NAMES", "one.home, two.home")
    assert read(NetworkSettings).names == ("one.home", "two.home")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('names = ["https://avatar.home"]', "https://avatar.home is no host name; write it as avatar.home"),
        ('origins = ["app.example"]', "app.example is no origin; write it as https://app.example"),
        ('bind = "everywhere"', 'bind is "everywhere"; give an IP address'),
        ('bind = "0.0.0.0"', "bind = 0.0.0.0 lets other devices connect; set lan = true as well"),
        ("render_port = 0", "render_port is 0; give a whole number from 1 to 65535"),
    ],
)
def test_what_is_said_of_the_network_is_checked(file: Path, text: str, says: str) -> None:
    file.write_text(f"[network]\n{text}\n")
    with pytest.raises(SettingsError) as refused:
        read(NetworkSettings)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tts]\nport = 8082", "[network] tts_port and [tts] port are both 8082; give each a port of its own"),
        ("[orchestrator]\nhttp_port = 50086", "[orchestrator] port and [orchestrator] http_port are both 50086"),
        ("[tts]\nport = 0", "[tts] port is 0; the processes of a stack must know it"),
        ("[canary]\nmax_streams = 0", "[canary]: max_streams is 0"),
    ],
)
def test_a_stack_is_checked_as_a_whole(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError) as refused:
        read_all()
    assert says in str(refused.value)


def test_a_second_recogniser_that_does_not_run_takes_no_port(file: Path) -> None:
    file.write_text("[canary]\nport = 50083\n")
    assert "canary" not in read_all().servers
    file.write_text("[canary]\nport = 50083\nenabled = true\n")
    with pytest.raises(SettingsError, match=r"\[stt\] port and \[canary\] port are both 50083"):
        read_all()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.section())
def test_every_setting_says_what_it_is_for_and_what_it_takes(kind: type[Settings]) -> None:
    for keys, field in leaves(kind):
        assert field.description, f"{'.'.join(keys)} has no description"
        assert field.description.endswith(".")
        assert takes(field)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["services.render", "services.tts", "services.stt", "orchestrator"])
def test_a_process_that_cannot_read_its_settings_ends_with_the_sentence_alone(file: Path, module: str) -> None:
    file.write_text("[nothing]\nport = 1\n")
    ended = subprocess.run([sys.executable, "-m", module], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == NEEDS_REPAIR
    assert ended.stderr.count("\n") == 1
    assert "there is no section [nothing]" in ended.stderr
