"""The older stack's clients against the whole product: the black-box check of its contract, and calls of our own."""

from __future__ import annotations

import asyncio
import io
import sys
import wave
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import av
import cv2
import numpy as np
import pytest
import pytest_asyncio

from services.render.avatars import _DEFAULT_PORTRAIT
from tests.e2e.conftest import Product
from tests.fakes.browser import browser, connections_settled, socket_at

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300)]
PORTS = {8081: "render", 8082: "tts", 8083: "stt", 8084: "stt_second", 8085: "page", 8086: "legacy"}
SENTENCE = "I would like to order a cup of coffee"


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def address(running: Product, port: int, path: str) -> str:
    return f"http://127.0.0.1:{getattr(running.stack.ports, PORTS[port])}{path}"


async def black_box_check(running: Product, test_data: Path, engines: str) -> None:
    """Run it with everything it can ask. Raises: AssertionError with what failed or was skipped."""
    check = test_data.parent / "checks" / "legacy_contract.py"
    portraits = test_data / "portraits"
    arguments = ["--engines", engines, "--strict", "--slow"]
    arguments += ["--ports", ",".join(f"{port}={getattr(running.stack.ports, name)}" for port, name in PORTS.items())]
    arguments += ["--image", str(portraits / "mona-lisa.jpg"), "--image2", str(portraits / "donna-velata.jpg")]
    arguments += ["--wav", str(test_data / "speech" / "sample.en.wav")]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(check), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    lines = out.decode().splitlines()
    assert process.returncode == 0, "\n".join(line for line in lines if not line.startswith("PASS"))
    assert lines[-1].endswith("0 failed, 0 skipped")


@pytest.mark.data
async def test_the_black_box_check_passes_with_nothing_skipped(running: Product, test_data: Path) -> None:
    await black_box_check(running, test_data, "embedded")


async def test_every_port_tells_its_health_in_the_words_of_both_stacks(
    running: Product, http: aiohttp.ClientSession
) -> None:
    for port in (8081, 8082, 8083, 8084):
        async with http.get(address(running, port, "/health")) as response:
            health = await response.json()
        assert (response.status, response.content_type) == (200, "application/json")
        assert (health["status"], health["model_loaded"], health["device"]) == ("healthy", True, "cpu")
        assert health["engine"]["name"]


async def test_a_portrait_smiles(running: Product, http: aiohttp.ClientSession) -> None:
    pictures = []
    for expression in ("neutral", "happy"):
        form = aiohttp.FormData({"expression": expression, "intensity": "1.0"})
        form.add_field("source_image", _DEFAULT_PORTRAIT.read_bytes(), filename="../../x.jpg")
        async with http.post(address(running, 8081, "/api/render"), data=form) as response:
            assert (response.status, response.content_type) == (200, "image/jpeg")
            picture = cv2.imdecode(np.frombuffer(await response.read(), np.uint8), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        assert picture.shape == (512, 512)
        pictures.append(picture.astype(int))
    changed = np.abs(pictures[0] - pictures[1])
    assert changed.max() > 30
    # The face moves and the background stays.
    assert changed[:64, :64].mean() < changed[200:420, 160:350].mean() / 2


async def spoken(running: Product, http: aiohttp.ClientSession, **members: Any) -> bytes:
    async with http.post(address(running, 8082, "/synthesize"), json=members) as response:
        assert (response.status, response.content_type) == (200, "audio/wav")
        sound = await response.read()
    with wave.open(io.BytesIO(sound)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
    return sound


def as_opus(sound: bytes, container: str) -> bytes:
    """A WAV file in the way a browser records."""
    out = io.BytesIO()
    with av.open(io.BytesIO(sound), "r") as source, av.open(out, "w", format=container) as made:
        stream = made.add_stream("libopus", rate=48_000)
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000, frame_size=960)
        for frame in [*source.decode(audio=0), None]:
            for resampled in resampler.resample(frame):
                made.mux(stream.encode(resampled))
        made.mux(stream.encode(None))
    return out.getvalue()


async def heard(
    running: Product,
    http: aiohttp.ClientSession,
    port: int,
    recording: bytes,
    texts: Mapping[str, str],
    query: str = "",
) -> tuple[int, Any]:
    form = aiohttp.FormData(texts)
    form.add_field("file", recording, filename="recording.webm", content_type="audio/webm")
    async with http.post(address(running, port, f"/transcribe{query}"), data=form) as response:
        assert response.content_type == "application/json"
        return response.status, await response.json()


@pytest.mark.parametrize("container", ["wav", "webm", "ogg"])
async def test_what_one_port_says_two_others_hear(
    running: Product, http: aiohttp.ClientSession, container: str
) -> None:
    sound = await spoken(
        running, http, text=SENTENCE, language="en", speaker="Martin (espeak-ng, male)", voice_id="ignored"
    )
    recording = sound if container == "wav" else as_opus(sound, container)
    whisper = await heard(running, http, 8083, recording, {"language": "en", "return_timestamps": "true"})
    canary = await heard(running, http, 8084, recording, {}, "?language=en&task=transcribe")
    assert (whisper[0], canary[0]) == (200, 200)
    assert "would like to order" in whisper[1]["text"]
    assert whisper[1]["chunks"]
    assert canary[1] == {"text": whisper[1]["text"], "language": "en"}


async def test_what_the_engines_cannot_do_is_refused_with_what_they_can(
    running: Product, http: aiohttp.ClientSession
) -> None:
    sound = await spoken(running, http, text="hello")
    for port in (8083, 8084):
        status, error = await heard(running, http, port, sound, {"language": "de"})
        assert status == 400
        assert "en (english)" in error["detail"]
        status, error = await heard(running, http, port, sound, {"task": "translate"})
        assert status == 501
        assert "transcribe" in error["detail"]
    form = aiohttp.FormData({"text": "hello"})
    form.add_field("speaker_audio", sound, filename="me.wav")
    async with http.post(address(running, 8082, "/synthesize-with-voice-clone"), data=form) as response:
        assert response.status == 501
        assert "Anna" in (await response.json())["detail"]


async def test_an_old_browser_client_offers_before_its_config_and_hears_the_greeting(running: Product) -> None:
    url = address(running, 8086, "/signaling/some-id").replace("http", "ws", 1)
    try:
        async with socket_at(url) as socket, browser(microphone=True, data=True) as person:
            answer = await socket.answer_to(person.peer)
            assert "m=audio" in answer
            await person.connected.wait()
    finally:
        await connections_settled()
