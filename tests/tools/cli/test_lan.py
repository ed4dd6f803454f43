"""The token, the code for a camera, and what this machine is called."""

from __future__ import annotations

import ipaddress
import re
import stat

import cv2
import numpy as np
import pytest

from services.common.errors import NotFoundError
from tools.cli import lan
from tools.cli.settings import StackSettings, read_all


def test_a_token_is_made_once_kept_for_its_owner_and_replaced_on_demand(settings: StackSettings) -> None:
    with pytest.raises(NotFoundError, match="`avatar up --lan` or `avatar token --new` makes one"):
        lan.read_token(settings)
    token = lan.ensure_token(settings)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert lan.ensure_token(settings) == lan.read_token(settings) == token
    assert stat.S_IMODE(lan.token_file(settings).stat().st_mode) == 0o600
    assert lan.new_token(settings) == lan.read_token(settings) != token
    assert stat.S_IMODE(lan.token_file(settings).stat().st_mode) == 0o600


@pytest.mark.parametrize("width", [20, 70, 110])
def test_a_camera_reads_the_code(width: int) -> None:
    """Drawn as a terminal draws it: two modules to a character, in colours of its own."""
    text = "https://192.168.1.5:8085/?token=".ljust(width, "x")
    lines = lan.code(text).splitlines()
    assert all(line.startswith("\x1b[38;5;16;48;5;231m") and line.endswith("\x1b[0m") for line in lines)
    characters = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    assert len({len(line) for line in characters}) == 1
    assert max(map(len, characters)) < 60
    halves = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}
    modules = np.array([[halves[c][half] for c in line] for line in characters for half in (0, 1)], np.uint8)
    picture = np.kron(255 * (1 - modules), np.ones((8, 8), np.uint8))
    read, _, _ = cv2.QRCodeDetector().detectAndDecode(np.pad(picture, 32, constant_values=255))
    assert read == text


def test_own_addresses_are_no_loopback_and_the_way_out_comes_first() -> None:
    found = lan.addresses()
    assert len(found) == len(set(found))
    for address in map(ipaddress.ip_address, found):
        assert not address.is_loopback
        assert not address.is_link_local
    versions = [ipaddress.ip_address(address).version for address in found]
    assert versions == sorted(versions)


def test_nothing_is_open_to_others_unless_it_is_asked_for(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lan.bind_address(settings) == "127.0.0.1"
    assert lan.extra_names(settings) == []
    assert lan.token_of_running(settings) is None
    monkeypatch.setenv("NETWORK_LAN", "true")
    monkeypatch.setenv("NETWORK_NAMES", "avatar.home")
    opened = read_all()
    assert ipaddress.ip_address(lan.bind_address(opened)).is_unspecified
    assert set(lan.addresses()) | {"avatar.home"} < set(lan.extra_names(opened))
    assert f"https://avatar.home:{opened.network.page_port}/" in lan.page_urls(opened)
    monkeypatch.setenv("NETWORK_BIND", "fd00::5")
    one = read_all()
    assert lan.page_urls(one) == [f"https://[fd00::5]:{one.network.page_port}/"]
    assert (lan.bind_address(one), one.reach) == ("fd00::5", "fd00::5")
