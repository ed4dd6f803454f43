"""The product over a network that may break: network namespaces stand for devices, the cable between them can be cut.

Each device has a loopback and ports of its own, so that `avatar up` runs here as people run it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Page, expect

from tests.e2e.avatar_up import NATIVE_PORTS, PUBLIC_PORTS, AvatarUp, avatar_up, chromium_on
from tests.e2e.namespaces import Device, missing_capabilities, two_devices
from tests.e2e.test_network_turn import PAIR, type_and_hear
from tests.e2e.turn import coturn
from tools.bench.browser import browsing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(missing_capabilities()), reason=f"network namespaces take {missing_capabilities()}"),
]

SENTENCE = "hello my friend, i am happy to see you"
# The microphone opens before the conversation is there; a person waits for the face as well.
LEAD_S, SILENCE_S = 4.0, 6.0


@pytest.fixture(scope="module")
def devices() -> Iterator[tuple[Device, Device]]:
    with two_devices() as (home, away):
        yield home, away


@pytest.fixture(scope="module")
def on_lan(devices: tuple[Device, Device], tmp_path_factory: pytest.TempPathFactory) -> Iterator[AvatarUp]:
    """A stack that other devices may use."""
    with avatar_up(devices[0], tmp_path_factory.mktemp("lan"), "--lan") as avatar:
        yield avatar


# A STUN binding request without credentials: an ICE agent that reads it answers with an error.
ASK = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
    asking.settimeout(1)
    asking.sendto(bytes.fromhex("000100002112a442" + 12 * "5a"), (sys.argv[1], int(sys.argv[2])))
    asking.recv(1500)
"""


def answers_stun(asking: Device, address: str, port: int) -> bool:
    return asking.run(sys.executable, "-c", ASK, address, str(port)).returncode == 0


def udp_ports(avatar: AvatarUp) -> list[int]:
    """Where its orchestrator takes media on the address that other devices know."""
    listed = avatar.device.run("ss", "-Hunap").stdout.splitlines()
    own = [line.split() for line in listed if f"pid={avatar.process('orchestrator')}," in line]
    places = [line[3].rpartition(":") for line in own]
    return [int(port) for address, _, port in places if address == avatar.device.address]


def page_of(avatar: AvatarUp) -> str:
    return f"https://{avatar.device.address}:8085"


def microphone(folder: Path, speech: Path | None = None) -> Path:
    """A WAV file for the fake device: a moment of silence, what is said, and silence."""
    device = folder / "microphone.wav"
    with wave.open(str(device), "wb") as write:
        said = b""
        write.setparams((1, 2, 48_000, 0, "NONE", ""))
        if speech is not None:
            with wave.open(str(speech)) as read:
                write.setparams(read.getparams())
                said = read.readframes(read.getnframes())
        write.writeframes(bytes(int(LEAD_S * write.getframerate()) * 2) + said)
        write.writeframes(bytes(int(SILENCE_S * write.getframerate()) * 2))
    return device


def speaking(avatar: AvatarUp, folder: Path) -> Path:
    """A microphone into which a sentence is said."""
    speech = folder / "speech.wav"
    avatar.say(SENTENCE, speech)
    return microphone(folder, speech)


async def test_a_conversation_from_another_device_with_the_token(
    on_lan: AvatarUp, devices: tuple[Device, Device], tmp_path: Path
) -> None:
    device = speaking(on_lan, tmp_path)
    async with browsing(device, program=chromium_on(devices[1], tmp_path)) as browser:
        await browser.start(page_of(on_lan), f"?token={on_lan.token}")
        assert await browser.page.evaluate("isSecureContext")
        assert on_lan.token not in browser.page.url
        await browser.event("utterance_started", timeout_s=40)
        await browser.event("utterance_ended", timeout_s=30)
        captions = [e["event"]["caption"] for e in await browser.events() if "caption" in e["event"]]
        finals = {c["speaker"]: c["text"] for c in captions if c.get("is_final")}
        assert finals["SPEAKER_AVATAR"] == finals["SPEAKER_USER"]
        assert "friend" in finals["SPEAKER_USER"]
        assert np.abs((await browser.sound()).samples).max() > 0.05
        (port,) = udp_ports(on_lan)
        assert answers_stun(devices[1], on_lan.device.address, port)
        _, theirs = await browser.page.evaluate(PAIR)
        assert (theirs["candidateType"], theirs["address"]) == ("host", on_lan.device.address)
        assert browser.errors == []


@pytest.mark.parametrize("port", PUBLIC_PORTS)
def test_another_device_is_refused_without_the_token(
    on_lan: AvatarUp, devices: tuple[Device, Device], port: int
) -> None:
    scheme = "https" if port == 8085 else "http"
    url = f"{scheme}://{on_lan.device.address}:{port}"
    away = devices[1]

    def status(path: str, *headers: str) -> str:
        curl = ("curl", "-sk", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", url + path)
        return away.run(*curl, *(part for header in headers for part in ("-H", header))).stdout

    for path in ("/", "/health", "/v1/avatars", "/avatar.tts.v1.TextToSpeechService/ListVoices", "/metrics"):
        assert status(path) == "401", path
    assert status("/health", "Authorization: Bearer nonsense") == "401"
    # Where there are no sockets Envoy refuses the upgrade before anything else.
    assert status("/session", "Connection: Upgrade", "Upgrade: websocket") in ("401", "403")
    assert status("/health", f"Authorization: Bearer {on_lan.token}") == "200"


@pytest.mark.parametrize("port", NATIVE_PORTS)
def test_ports_that_are_not_public_do_not_answer_another_device(
    on_lan: AvatarUp, devices: tuple[Device, Device], port: int
) -> None:
    dialled = devices[1].run("curl", "-s", "-m", "5", f"http://{on_lan.device.address}:{port}/")
    assert dialled.returncode == 7, "curl's 7 is: nobody listens"


async def test_a_cut_is_said_and_heals_within_the_same_conversation_and_who_comes_meanwhile_is_told_what_to_do(
    on_lan: AvatarUp, devices: tuple[Device, Device], tmp_path: Path
) -> None:
    silence, chromium = microphone(tmp_path), chromium_on(devices[1], tmp_path)
    async with browsing(silence, program=chromium) as browser, browsing(silence, program=chromium) as late:
        page = browser.page
        await browser.start(page_of(on_lan), f"?token={on_lan.token}")
        await type_and_hear(page, "before")
        await page.evaluate("window.before = {pc: avatar.pc, socket: avatar.socket}")
        status = page.get_by_role("status")
        with devices[0].udp_cut():
            # Browsers take a quarter of a minute until they give a way up; both take it at once.
            await asyncio.gather(told_of_a_cut(page), told_that_nothing_gets_through(late.page, on_lan))
            await page.screenshot(path=tmp_path / "cut.png")
            await late.page.screenshot(path=tmp_path / "no-udp.png")
        await expect(status).to_be_empty(timeout=40_000)
        await type_and_hear(page, "after")
        assert await page.evaluate("avatar.socket === before.socket && avatar.pc !== before.pc")
        await expect(page.locator("#log .note")).to_have_count(0)
        assert await page.evaluate("document.querySelector('video').srcObject.active")
        assert browser.errors == []


async def told_of_a_cut(page: Page) -> None:
    """Return once a conversation in which sound and picture stopped says so, and what else it takes."""
    status = page.get_by_role("status")
    await expect(status).to_contain_text("Sound and picture stopped", timeout=30_000)
    await expect(status).to_contain_text("(udp_port_min to udp_port_max)", timeout=40_000)


async def told_that_nothing_gets_through(page: Page, avatar: AvatarUp) -> None:
    """Start a conversation that gets no sound and no picture; return once the page says what to do."""
    await page.goto(f"{page_of(avatar)}/?token={avatar.token}")
    await page.get_by_role("button", name="Continue without microphone").click()
    status = page.get_by_role("status")
    await expect(status).to_contain_text("sound and picture do not get through", timeout=40_000)
    await expect(status).to_contain_text("or set a TURN server (turn_urls)")


async def test_without_udp_a_conversation_goes_through_turn_over_tcp(tmp_path: Path) -> None:
    with two_devices() as (home, away):
        async with coturn(tmp_path, home.address, home.prefix, port=3478, udp=False) as turn:
            env = {
                "ORCHESTRATOR_ICE__TURN_URLS": json.dumps([turn.url("tcp")]),
                "ORCHESTRATOR_ICE__TURN_SECRET": turn.secret,
            }
            with avatar_up(home, tmp_path, "--lan", env=env) as avatar, home.udp_cut():
                device = speaking(avatar, tmp_path)
                async with browsing(device, program=chromium_on(away, tmp_path)) as browser:
                    await browser.start(page_of(avatar), f"?token={avatar.token}")
                    await browser.event("utterance_ended", timeout_s=40)
                    ours, _ = await browser.page.evaluate(PAIR)
                    assert (ours["candidateType"], ours["relayProtocol"]) == ("relay", "tcp")
                    captions = [e["event"]["caption"] for e in await browser.events() if "caption" in e["event"]]
                    said = {c["speaker"]: c["text"] for c in captions if c.get("is_final")}
                    assert said["SPEAKER_AVATAR"] == said["SPEAKER_USER"]
                    assert browser.errors == []


async def test_behind_a_nat_the_announced_address_and_the_opened_ports_are_enough(tmp_path: Path) -> None:
    announced, first, last = "10.78.0.1", 50_000, 50_003
    env = {
        "ORCHESTRATOR_ICE__ANNOUNCED_ADDRESSES": json.dumps([announced]),
        "ORCHESTRATOR_ICE__UDP_PORT_MIN": str(first),
        "ORCHESTRATOR_ICE__UDP_PORT_MAX": str(last),
    }
    with two_devices() as (home, away), avatar_up(home, tmp_path, "--lan", env=env) as avatar:
        away.run("ip", "route", "add", announced, "via", home.address)
        home.forward_udp(announced, first, last)
        async with browsing(microphone(tmp_path), program=chromium_on(away, tmp_path)) as browser:
            await browser.start(page_of(avatar), f"?token={avatar.token}")
            await type_and_hear(browser.page, "through the door")
            _, theirs = await browser.page.evaluate(PAIR)
            assert (theirs["candidateType"], theirs["address"]) == ("host", announced)
            assert first <= theirs["port"] <= last


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AvatarUp, Device]]:
    """A stack that serves its own machine alone, and another device that finds it."""
    with two_devices() as (home, away), avatar_up(home, tmp_path_factory.mktemp("alone")) as avatar:
        yield avatar, away


async def test_without_a_network_one_talks_on_the_machine_itself_and_others_reach_nothing(
    alone: tuple[AvatarUp, Device], tmp_path: Path
) -> None:
    avatar, away = alone
    home = avatar.device
    async with browsing(microphone(tmp_path), program=chromium_on(home, tmp_path)) as browser:
        await browser.start("https://localhost:8085")
        (port,) = udp_ports(avatar)
        assert answers_stun(home, home.address, port)
        assert not answers_stun(away, home.address, port)
        for public in PUBLIC_PORTS:
            dialled = away.run("curl", "-sk", "-m", "5", f"http://{home.address}:{public}/")
            assert dialled.returncode == 7, "curl's 7 is: nobody listens"
        assert home.run("ip", "link", "set", home.cable, "down").returncode == 0
        try:
            await type_and_hear(browser.page, "still here")
        finally:
            assert home.run("ip", "link", "set", home.cable, "up").returncode == 0


async def test_an_orchestrator_that_dies_is_started_again_and_the_page_finds_it(
    alone: tuple[AvatarUp, Device], tmp_path: Path
) -> None:
    avatar, _ = alone
    async with browsing(microphone(tmp_path), program=chromium_on(avatar.device, tmp_path)) as browser:
        page = browser.page
        await browser.start("https://localhost:8085")
        await type_and_hear(page, "before")
        os.kill(avatar.process("orchestrator"), signal.SIGKILL)
        await expect(page.locator("#veil")).to_contain_text("Connection lost", timeout=10_000)
        await page.screenshot(path=tmp_path / "lost.png")
        await expect(page.locator("#veil")).to_be_hidden(timeout=60_000)
        await expect(page.locator("#log .note")).to_contain_text("a new conversation began here")
        await type_and_hear(page, "after")
        assert browser.errors == []
