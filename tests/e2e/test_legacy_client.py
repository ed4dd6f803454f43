"""A browser client as the older stack had it, on the library that it used (simple-peer), against the whole product."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import async_playwright

from services.common.settings import ServerSettings
from tests.e2e.conftest import product
from tests.page.browser import ALLOWED
from tests.stack import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
LIBRARY = ROOT / "tools" / "node" / "node_modules" / "simple-peer" / "simplepeer.min.js"
# It offers at open, before `config`, with its microphone and a data channel, wraps every signal as an offer, acts on
# `answer` only and never sends `pong`.
CLIENT = """async (address) => {
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
  const socket = new WebSocket(address);
  const face = document.querySelector("video");
  window.errors = [];
  socket.onopen = () => {
    const peer = new SimplePeer({ initiator: true, trickle: false, stream: microphone });
    peer.on("signal", (signal) => socket.send(JSON.stringify({ type: "offer", data: signal })));
    peer.on("error", (error) => window.errors.push(String(error)));
    peer.on("track", (track) => {
      face.srcObject ??= new MediaStream();
      face.srcObject.addTrack(track);
    });
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.type === "answer") peer.signal(message.data);
    };
  };
}"""
SEES = "() => document.querySelector('video').videoWidth"
HEARS = """() => {
  const stream = document.querySelector("video").srcObject;
  if (!stream?.getAudioTracks().length) return 0;
  if (!window.meter) {
    const context = new AudioContext();
    window.meter = context.createAnalyser();
    context.createMediaStreamSource(stream).connect(window.meter);
  }
  const samples = new Float32Array(window.meter.fftSize);
  window.meter.getFloatTimeDomainData(samples);
  return Math.max(...samples.map(Math.abs));
}"""


@contextlib.asynccontextmanager
async def client_page() -> AsyncIterator[str]:
    """A page of this machine, as the older clients were: a microphone is given to it. Yields: its address."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><video autoplay playsinline muted></video>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://localhost:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def test_an_older_client_sees_the_face_and_hears_the_voice_without_a_change(tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(ServerSettings().data_dir / "models")
    async with product(tmp_path, reply="demo") as running, client_page() as address, async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=[*ALLOWED, "--autoplay-policy=no-user-gesture-required"]
        )
        try:
            page = await chromium.new_page()
            await page.goto(address)
            await page.add_script_tag(path=LIBRARY)
            await page.evaluate(CLIENT, f"ws://localhost:{running.stack.ports.legacy}/")
            await page.wait_for_function(f"({SEES})() === 512", timeout=60_000)
            # The greeting.
            await page.wait_for_function(f"({HEARS})() > 0.05", timeout=60_000)
            assert await page.evaluate("window.errors") == []
        finally:
            await chromium.close()
