"""Media through a real coturn on loopback: relayed, refused, and what is said about it."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from aioice import stun, turn
from playwright.async_api import Page, expect

from orchestrator.ice import turn_credentials
from tests.e2e.conftest import new_data_dir, product
from tests.e2e.turn import Turn, coturn
from tests.fakes.browser import socket_at
from tools.bench.browser import browsing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

# As a browser whose UDP goes nowhere but to its TURN server.
RELAY_ONLY = """
    const Direct = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Direct {
        constructor(config) { super({...config, iceTransportPolicy: "relay"}); }
    };
"""
# The two ends of the pair of candidates in use.
PAIR = """async () => {
    const reports = new Map(await avatar.pc.getStats());
    const transport = [...reports.values()].find(({type}) => type === "transport");
    const pair = reports.get(transport.selectedCandidatePairId);
    return [pair.localCandidateId, pair.remoteCandidateId].map((id) => reports.get(id));
}"""
# The types of the candidates that the orchestrator named.
OFFERED = r"""() => [...avatar.pc.remoteDescription.sdp.matchAll(/^a=candidate:.* typ (\w+)/gm)]
    .map(([, type]) => type)"""
# The page's CONNECT_MS, and a little.
GIVEN_UP_MS = 20_500
# What a browser gets of a TURN server: the types of its candidates, and the codes of its errors.
GATHERED = """async (server) => {
    const pc = new RTCPeerConnection({iceServers: [server], iceTransportPolicy: "relay"});
    const types = [], codes = [];
    pc.addEventListener("icecandidate", ({candidate}) => candidate?.type && types.push(candidate.type));
    pc.addEventListener("icecandidateerror", ({errorCode}) => codes.push(errorCode));
    pc.createDataChannel("any");
    await pc.setLocalDescription();
    await new Promise((done) => pc.addEventListener("icegatheringstatechange", () =>
        pc.iceGatheringState === "complete" && done()));
    pc.close();
    return {types: [...new Set(types)], codes: [...new Set(codes)]};
}"""


def settings(turn: Turn, secret: str = "") -> dict[str, str]:
    """The orchestrator's, for a TURN server. Args: secret: another one than the server's."""
    return {
        "ORCHESTRATOR_ICE__TURN_URLS": json.dumps([turn.url()]),
        "ORCHESTRATOR_ICE__TURN_SECRET": secret or turn.secret,
    }


async def type_and_hear(page: Page, text: str) -> None:
    """Type a turn, and wait until its echo was heard."""
    await page.get_by_label("Your message").fill(text)
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator("#log .line.avatar .text").last).to_have_text(text, timeout=20_000)


async def test_a_browser_that_may_only_relay_hears_and_sees_the_answer(tmp_path: Path) -> None:
    async with (
        coturn(tmp_path) as server,
        product(new_data_dir(tmp_path), services=("render", "tts"), settings=settings(server)) as running,
        browsing() as browser,
    ):
        await browser.page.add_init_script(RELAY_ONLY)
        await browser.start(running.address)
        ours, theirs = await browser.page.evaluate(PAIR)
        assert ours["candidateType"] == "relay"
        assert theirs["candidateType"] in ("host", "relay", "prflx")
        # The orchestrator asks the server for a way of its own as well.
        assert "relay" in await browser.page.evaluate(OFFERED)
        started_ms = await browser.now_ms()
        await type_and_hear(browser.page, "good morning")
        sound = await browser.sound()
        assert abs(sound.samples[int((started_ms - sound.start_ms) * 48) :]).max() > 0.05
        stats: dict[str, Any] = await browser.page.evaluate("avatar.stats()")
        assert stats["width"] == 512
        assert browser.errors == []
        # Legacy clients are told of the server too.
        async with socket_at(f"http://127.0.0.1:{running.stack.ports.legacy}/") as socket:
            (told,) = (await socket.next("config"))["data"]["iceServers"]
        assert told["urls"] == [server.url()]
        expires_s, name = told["username"].split(":")
        assert (told["username"], told["credential"]) == turn_credentials(server.secret, name, int(expires_s))


async def test_another_secret_is_said_in_the_log_and_on_the_page(tmp_path: Path) -> None:
    async with (
        coturn(tmp_path) as server,
        product(new_data_dir(tmp_path), services=("render", "tts"), settings=settings(server, "wrong")) as running,
        browsing() as browser,
    ):
        await browser.page.add_init_script(RELAY_ONLY)
        await browser.page.clock.install()
        await browser.page.goto(running.address)
        await browser.page.get_by_role("button", name="Continue without microphone").click()
        # Without a way the page gives the conversation up after a time, which need not pass here.
        await browser.page.wait_for_function("avatar.pc?.iceGatheringState === 'complete'")
        await browser.page.clock.fast_forward(GIVEN_UP_MS)
        status = browser.page.get_by_role("status")
        await expect(status).to_contain_text(f"The TURN server {server.url()} refused this conversation")
        await expect(status).to_contain_text("turn_secret must be its static-auth-secret")
        log = [json.loads(line) for line in running.stack.programs["conversation"].log.read_text().splitlines()]
        (refused, *_) = [line for line in log if line["event"] == "turn_refused"]
        assert refused["code"] == 401
        assert "static-auth-secret" in refused["hint"]


async def test_expired_credentials_are_refused_to_a_browser_and_fresh_ones_taken(tmp_path: Path) -> None:
    async with coturn(tmp_path) as server, browsing() as browser:
        gathered = {}
        for name, expires_s in (("fresh", time.time() + 60), ("expired", time.time() - 5)):
            username, credential = turn_credentials(server.secret, name, int(expires_s))
            entry = {"urls": [server.url()], "username": username, "credential": credential}
            gathered[name] = await browser.page.evaluate(GATHERED, entry)
        assert gathered["fresh"] == {"types": ["relay"], "codes": []}
        assert gathered["expired"]["types"] == []
        assert 401 in gathered["expired"]["codes"]


async def test_what_is_connected_outlives_its_credentials(tmp_path: Path) -> None:
    async with coturn(tmp_path) as server:
        expires_s = int(time.time()) + 2
        username, credential = turn_credentials(server.secret, "talk", expires_s)
        client = turn.TurnClientUdpProtocol((server.address, server.port), username, credential, 600, 500)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: client, remote_addr=client.server
        )
        try:
            await client.connect()
            # coturn reads the clock on the wall.
            await asyncio.sleep(expires_s + 1 - time.time())
            refresh = stun.Message(message_method=stun.Method.REFRESH, message_class=stun.Class.REQUEST)
            refresh.attributes["LIFETIME"] = 600
            answer, _ = await client.request_with_retry(refresh)
            assert answer.message_class == stun.Class.RESPONSE
        finally:
            await client.delete()
            transport.close()
