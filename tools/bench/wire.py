"""The way between browser and services: a frame made to painted, a microphone sample to the recogniser, a command to
the painted face. Taps stand before the services and stamp what passes; page and taps share one machine's clock.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
from avatar.render.v1 import render_pb2
from avatar.stt.v1 import stt_pb2

from services.common.audio import samples_of_pcm16
from tools.bench.browser import browsing
from tools.bench.record import Record, row
from tools.bench.speech import SAMPLE_RATE_HZ, to_page
from tools.bench.taps import passing
from tools.cli.settings import StackSettings
from tools.cli.stack import running_stack

RENDER_TAP, STT_TAP = 50181, 50183
_BITS = 32
_CLICK_LEVEL = 0.2
_MIC_RATE_HZ = 16_000


@dataclass
class _Seen:
    """Times are in seconds since the epoch."""

    clicks_s: list[float] = field(default_factory=list)
    expressions_s: list[float] = field(default_factory=list)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=30.0, help="how long frames are watched")
    parser.add_argument("--clicks", type=int, default=30)
    parser.add_argument("--commands", type=int, default=20)


async def measure(given: argparse.Namespace) -> Record:
    """Watch, click and command."""
    env = {
        "ORCHESTRATOR_REPLY": "assistant",
        "ORCHESTRATOR_RENDER_ADDRESS": f"127.0.0.1:{RENDER_TAP}",
        "ORCHESTRATOR_STT_ADDRESS": f"127.0.0.1:{STT_TAP}",
    }
    async with running_stack(env) as settings, _taps(settings) as seen, browsing(scripted_microphone=True) as browser:
        page = browser.page
        await browser.start(f"https://localhost:{settings.network.page_port}")
        await page.evaluate("capture.readStamps = true")
        await browser.wait_until(await browser.now_ms() + given.seconds * 1000)
        origin_s = await page.evaluate("performance.timeOrigin") / 1000
        click = to_page(np.where(np.arange(SAMPLE_RATE_HZ // 100) % 24 < 12, 0.6, -0.6).astype(np.float32))
        clicked_s = []
        for _ in range(given.clicks):
            clicked_s.append(origin_s + await page.evaluate("sound => capture.speak(sound)", click) / 1000)
            await browser.wait_until(await browser.now_ms() + 600)
        commanded_s = []
        for index in range(given.commands):
            data = {"kind": ("happy", "sad")[index % 2], "intensity": 1.0}
            sent = await page.evaluate(
                "data => { capture.socket.send(JSON.stringify({type: 'expression', data}));"
                " return performance.timeOrigin + performance.now(); }",
                data,
            )
            commanded_s.append(sent / 1000)
            await browser.wait_until(await browser.now_ms() + 500)
        stamps = [(made, shown / 1000) for made, shown in await page.evaluate("capture.stamps")]
    painted = [(_unwrapped(made, shown_s), shown_s) for made, shown_s in stamps]
    first = [min(s for made, s in painted if made >= at) for at in seen.expressions_s if painted[-1][0] >= at]
    heard = [min((at for at in seen.clicks_s if at > click - 0.01), default=None) for click in clicked_s]
    rows = [
        row("video, made to painted", "ms", [1000 * (s - made) for made, s in painted], "150", "80/120"),
        row(
            "microphone sample to recogniser",
            "ms",
            [1000 * (at - click) for at, click in zip(heard, clicked_s, strict=True) if at and at - click < 0.5],
            "40",
            "25",
        ),
        row(
            "expression command to painted face",
            "ms",
            [1000 * (s - at) for s, at in zip(first, commanded_s, strict=False)],
            "200",
            "120",
        ),
    ]
    return Record("wire", rows, vars(given))


@contextlib.asynccontextmanager
async def _taps(settings: StackSettings) -> AsyncIterator[_Seen]:
    seen = _Seen()

    def asked_render(method: str, raw: bytes) -> None:
        if method.endswith("StreamingRender"):
            request = render_pb2.StreamingRenderRequest.FromString(raw)
            if request.HasField("expression"):
                seen.expressions_s.append(time.time())

    def stamped(method: str, raw: bytes) -> bytes:
        if not method.endswith("StreamingRender"):
            return raw
        answer = render_pb2.StreamingRenderResponse.FromString(raw)
        if answer.HasField("frame"):
            answer.frame.data = _stamp(answer.frame.data, round(time.time() * 1000) % (1 << _BITS))
            return answer.SerializeToString()
        return raw

    def asked_stt(method: str, raw: bytes) -> None:
        if method.endswith("StreamingRecognize"):
            request = stt_pb2.StreamingRecognizeRequest.FromString(raw)
            loud = np.flatnonzero(np.abs(samples_of_pcm16(request.audio)) > _CLICK_LEVEL)
            # The sample itself, not its chunk's last, is what came this late.
            if len(loud) and (not seen.clicks_s or time.time() - seen.clicks_s[-1] > 0.1):
                seen.clicks_s.append(time.time())

    async with (
        passing(RENDER_TAP, settings.render.port, asked_render, stamped),
        passing(STT_TAP, settings.stt.port, asked_stt, lambda _, raw: raw),
    ):
        yield seen


def _stamp(i420: bytes, stamp: int) -> bytes:
    size = round((len(i420) * 2 / 3) ** 0.5)
    planes = np.frombuffer(i420, np.uint8).copy()
    luma = planes[: size * size].reshape(size, size)
    bits = [(stamp >> (_BITS - 1 - bit)) & 1 for bit in range(_BITS)]
    luma[:16] = np.repeat(np.where(bits, 235, 16).astype(np.uint8), size // _BITS)
    return planes.tobytes()


def _unwrapped(stamp: int, near_s: float) -> float:
    """The time in seconds whose milliseconds end in the stamp, nearest before `near_s`."""
    near = round(near_s * 1000)
    return (near - ((near - stamp) % (1 << _BITS))) / 1000
