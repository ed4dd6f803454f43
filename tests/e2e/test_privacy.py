"""What people say, and whom they show, is in no log and in no metric of a stack that runs at its usual level."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from avatar.render.v1 import render_pb2, render_pb2_grpc
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc

from services.common.audio import wav_of
from services.common.settings import Settings
from tests.e2e.conftest import Product, product
from tests.fakes.browser import Socket, browser
from tests.stack import ROOT, free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PROCESSES = ("render", "tts", "stt", "orchestrator")
TYPED, SAID, HEARD = "xylophone", "marmalade", "hello my friend i am happy"
PORTRAIT = "gwendolyn"
PICTURE = ROOT / "services/render/portraits/default.jpg"
WORDS = (TYPED, SAID, PORTRAIT, "happy", "friend")


@pytest.fixture
def metrics_ports(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    ports = dict(zip(PROCESSES, free_ports(len(PROCESSES)), strict=True))
    for name, port in ports.items():
        monkeypatch.setenv(f"{name.upper()}_METRICS_PORT", str(port))
    return ports


async def converse(whole: Product) -> str:
    """Everything in which words and names occur. Returns: what was recognised."""
    edge = whole.stack.edge
    avatar = render_pb2.Avatar(
        display_name=PORTRAIT.title(), portrait=PICTURE.read_bytes(), consent=f"{PORTRAIT} agreed"
    )
    async with grpc.aio.insecure_channel(f"127.0.0.1:{edge.ports.render}") as channel:
        request = render_pb2.CreateAvatarRequest(avatar=avatar, avatar_id=PORTRAIT)
        await render_pb2_grpc.AvatarServiceStub(channel).CreateAvatar(request)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{edge.ports.stt}") as channel:
        heard = await stt_pb2_grpc.SpeechToTextServiceStub(channel).Recognize(
            stt_pb2.RecognizeRequest(audio=wav_of((await whole.synthesise(HEARD)).tobytes(), 48_000))
        )
    trusting = aiohttp.TCPConnector(ssl=edge.trust())
    async with aiohttp.ClientSession(connector=trusting) as http, browser(microphone=True, face=True) as person:
        for path in (f"/v1/avatars/{PORTRAIT}", f"/v1/avatars/{PORTRAIT}-who-is-not", f"/{PORTRAIT}?q={SAID}"):
            async with http.get(f"{edge.page_url}{path}") as answer:
                assert answer.status in (200, 404)
        address = f"{edge.page_url}/session?avatar=avatars/{PORTRAIT}"
        async with http.ws_connect(address) as connection:
            page = Socket(connection)
            name = (await page.next("config"))["data"]["conversation"]
            await page.answer_to(person.peer)
            await person.connected.wait()
            await person.sees()
            await page.send("text", text=f"my secret is {TYPED}")
            await page.event("utterance_ended")
            async with http.post(f"{edge.page_url}/v1/{name}:say", json={"text": SAID}) as answer:
                assert answer.status == 200
            await page.event("utterance_ended")
            # Refusals repeat what was asked for.
            await page.send("avatar", avatar=f"avatars/{PORTRAIT}-who-is-not")
            assert PORTRAIT in (await page.next("error"))["error"]
            async with http.post(f"{edge.page_url}/v1/{name}:say", json={"text": SAID, "expression": SAID}) as answer:
                assert answer.status == 400
        async with http.ws_connect(f"{address}-who-is-not") as connection, browser(face=True) as another:
            page = Socket(connection)
            await page.answer_to(another.peer)
            assert PORTRAIT in (await page.event("service_changed"))["message"]
    assert len(heard.transcript.split()) > 2
    return heard.transcript


async def read_metrics(ports: Mapping[str, int]) -> dict[str, str]:
    found: dict[str, Any] = {}
    async with aiohttp.ClientSession() as http:
        for name, port in ports.items():
            async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
                found[f"metrics of {name}"] = await answer.text()
    return found


async def test_words_and_names_are_in_no_log_and_in_no_metric(tmp_path: Path, metrics_ports: dict[str, int]) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "models").symlink_to(Settings().data_dir / "models")
    async with product(data_dir) as whole:
        transcript = await converse(whole)
        texts = await read_metrics(metrics_ports)
        programs = {**whole.stack.programs, "envoy": whole.stack.edge.envoy}
        whole.stack.edge.envoy.process.terminate()
        await asyncio.wait((whole.stack.edge.envoy.ended,), timeout=20)
        texts |= {f"log of {name}": program.log.read_text() for name, program in programs.items()}
    assert len(texts) == 9
    assert "session_started" in texts["log of conversation"]
    assert "avatar.render.v1.AvatarService/GetAvatar" in texts["log of envoy"]
    assert 'avatar_turn_seconds_count{stage="audio_sent"} 1.0' in texts["metrics of orchestrator"]
    for where, text in texts.items():
        for words in (*WORDS, transcript.lower()):
            assert words not in text.lower(), f"{words!r} is in the {where}"
