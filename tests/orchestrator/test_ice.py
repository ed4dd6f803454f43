"""Settings of ICE, credentials of TURN, and what a conversation is told of both."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from ipaddress import IPv4Address

import pytest
from pydantic import SecretStr, ValidationError

from orchestrator.ice import Ice, IceSettings, turn_credentials
from orchestrator.settings import OrchestratorSettings

TURN_URL = "turn:turn.example.org:3478?transport=tcp"


def test_by_default_nothing_outside_this_machine_is_asked_or_let_in() -> None:
    settings = OrchestratorSettings()
    assert settings.lan is False
    assert Ice(settings.ice, lan=settings.lan).servers("x") == []


def test_credentials_are_the_expiry_with_the_name_and_its_hmac_sha1() -> None:
    username, credential = turn_credentials("north", "talk", 1_700_000_000)
    assert username == "1700000000:talk"
    assert base64.b64decode(credential) == hmac.new(b"north", b"1700000000:talk", hashlib.sha1).digest()


def test_each_conversation_gets_credentials_of_its_own_that_expire() -> None:
    ice = Ice(
        IceSettings(
            turn_urls=(TURN_URL,), turn_secret=SecretStr("north"), turn_lifetime_s=600, stun_urls=("stun:s:3478",)
        )
    )
    stun, turn = ice.servers("conversation-1")
    assert stun == {"urls": ["stun:s:3478"]}
    assert turn["urls"] == [TURN_URL]
    expires_s, name = turn["username"].split(":")
    assert name == "conversation-1"
    assert int(expires_s) == pytest.approx(time.time() + 600, abs=5)
    assert turn["credential"] != ice.servers("conversation-2")[1]["credential"]


def test_the_secret_is_shown_nowhere() -> None:
    settings = IceSettings(turn_urls=(TURN_URL,), turn_secret=SecretStr("north-by-northwest"))
    assert "north-by" not in repr(settings)
    assert "north-by" not in repr(Ice(settings))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        pytest.param({"udp_port_min": 50_000}, "the first not above the second", id="half a range"),
        pytest.param(
            {"udp_port_min": 50_010, "udp_port_max": 50_000}, "50010 to 50000 is no range", id="a range upside down"
        ),
        pytest.param({"udp_port_min": 70_000, "udp_port_max": 70_001}, "65535", id="no such port"),
        pytest.param({"turn_urls": (TURN_URL,)}, "need turn_secret", id="TURN without a secret"),
        pytest.param({"turn_urls": ("turn.example.org",), "turn_secret": "s"}, "write it as turn:", id="no TURN URL"),
        pytest.param({"turn_urls": ("turns:a?transport=udp",), "turn_secret": "s"}, "write it", id="TURN over DTLS"),
        pytest.param({"stun_urls": ("stun:[::1]:3478",)}, "write it as stun:", id="no STUN URL"),
        pytest.param({"announced_addresses": ("avatar.example.org",)}, "IPv", id="a name instead of an address"),
        pytest.param({"turn_lifetime_s": 5}, "60", id="credentials that expire before they arrive"),
    ],
)
def test_what_cannot_work_is_refused_with_what_would(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        IceSettings.model_validate(given)


def test_announced_addresses_without_other_devices_are_refused() -> None:
    with pytest.raises(ValidationError, match="lan = true"):
        OrchestratorSettings(ice=IceSettings(announced_addresses=(IPv4Address("192.0.2.7"),)))


def test_environment_variables_set_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_LAN", "true")
    monkeypatch.setenv("ORCHESTRATOR_ICE__UDP_PORT_MIN", "50000")
    monkeypatch.setenv("ORCHESTRATOR_ICE__UDP_PORT_MAX", "50100")
    monkeypatch.setenv("ORCHESTRATOR_ICE__ANNOUNCED_ADDRESSES", '["192.0.2.7"]')
    settings = OrchestratorSettings()
    assert settings.lan
    assert (settings.ice.udp_port_min, settings.ice.udp_port_max) == (50_000, 50_100)
    assert [str(address) for address in settings.ice.announced_addresses] == ["192.0.2.7"]
