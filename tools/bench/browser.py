"""A real Chromium in front of the page, with what it hears and paints recorded on its own clock."""

from __future__ import annotations

import base64
import contextlib
import io
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from playwright.async_api import Page, async_playwright

CAPTURE = (Path(__file__).parent / "capture.js").read_text()
SAMPLE_RATE_HZ = 48_000
_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    # A window in the background would be painted seldom.
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
)


@dataclass(frozen=True, slots=True)
class Sound:
    """What was heard. Args: samples: shape (n,), 48 kHz; start_ms: performance time of the first."""

    samples: NDArray[np.float32]
    start_ms: float

    def at(self, index: int) -> float:
        """Performance time of a sample, in ms."""
        return self.start_ms + index * 1000 / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Frame:
    """A painted frame. Args: shown_ms: performance time; picture: shape (edge, edge, 3), RGB."""

    shown_ms: float
    picture: NDArray[np.uint8]


@dataclass(slots=True)
class Browser:
    """A page with the capture in it."""

    page: Page
    errors: list[str] = field(default_factory=list)

    async def start(self, address: str, query: str = "") -> None:
        """Open the page and press its button; returns once the face is painted."""
        await self.page.goto(f"{address}/{query}")
        await self.page.get_by_role("button", name="Start talking").click()
        await self.page.wait_for_function("capture.conversation !== undefined")
        await self.page.evaluate("capture.watch(document.querySelector('video'))")
        await self.page.wait_for_function("capture.frames.length > 5 && capture.audio.length > 0", timeout=20_000)

    async def event(self, kind: str, count: int = 1, timeout_s: float = 30.0) -> dict[str, Any]:
        """The n-th event of a kind ("utterance_ended", say), with `at`, the performance time of its arrival."""
        found = await self.page.wait_for_function(
            """([kind, count]) => {
                const events = capture.events.filter(({event}) => kind in event);
                return events.length >= count && {at: events[count - 1].at, ...events[count - 1].event[kind]};
            }""",
            arg=[kind, count],
            timeout=timeout_s * 1000,
        )
        event: dict[str, Any] = await found.json_value()
        return event

    async def events(self) -> list[dict[str, Any]]:
        """Every event so far: {"at": performance time, "event": ...}."""
        found: list[dict[str, Any]] = await self.page.evaluate("capture.events")
        return found

    async def now_ms(self) -> float:
        """The page's performance time."""
        now: float = await self.page.evaluate("performance.now()")
        return now

    async def wait_until(self, at_ms: float) -> None:
        """Return at a performance time."""
        await self.page.wait_for_function("at => performance.now() >= at", arg=at_ms, timeout=60_000)

    async def sound(self) -> Sound:
        """Everything that was heard so far; blocks that the browser left out are silence."""
        raw = await self.page.evaluate("capture.sound()")
        blocks = np.frombuffer(base64.b64decode(raw["samples"]), np.float32).reshape(-1, 128)
        times = np.asarray(raw["times"])
        places = np.rint((times - times[0]) * SAMPLE_RATE_HZ).astype(int)
        samples = np.zeros(places[-1] + 128, np.float32)
        for place, block in zip(places, blocks, strict=True):
            samples[place : place + 128] = block
        return Sound(samples, float(times[0] * 1000 + raw["offset"]))

    async def keep_pictures(self) -> None:
        """Keep every painted frame from now on."""
        await self.page.evaluate("capture.keepPictures = true")

    async def frames(self) -> list[Frame]:
        """The painted frames that were kept, in order."""
        await self.page.evaluate("capture.keepPictures = false")
        count = await self.page.evaluate("capture.pictures.length")
        shown = await self.shown_ms()
        kept: list[Frame] = []
        for start in range(0, count, 25):
            items = await self.page.evaluate("([from, to]) => capture.jpegs(from, to)", [start, start + 25])
            kept += [Frame(shown[item["index"]], _decoded(base64.b64decode(item["jpeg"]))) for item in items]
        return kept

    async def shown_ms(self) -> list[float]:
        """When each frame was painted."""
        shown: list[float] = await self.page.evaluate("capture.frames")
        return shown


def _decoded(jpeg: bytes) -> NDArray[np.uint8]:
    with av.open(io.BytesIO(jpeg), "r", format="jpeg_pipe") as container:
        frame = next(container.decode(video=0))
        return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


@contextlib.asynccontextmanager
async def browsing(
    microphone: Path | None = None, *, scripted_microphone: bool = False, program: Path | None = None
) -> AsyncIterator[Browser]:
    """A fresh Chromium.

    Args:
        microphone: a WAV file that the fake device plays once.
        scripted_microphone: speech comes by `capture.speak` instead.
        program: starts Chromium; None takes the one on the path.
    """
    args = list(_ARGS)
    if microphone is not None:
        args.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=program or shutil.which("chromium"), headless=True, args=args
        )
        try:
            context = await chromium.new_context(
                ignore_https_errors=True, bypass_csp=True, viewport={"width": 1000, "height": 800}
            )
            page = await context.new_page()
            browser = Browser(page)
            page.on("pageerror", lambda error: browser.errors.append(str(error)))
            if scripted_microphone:
                await page.add_init_script("window.useScriptedMicrophone = true")
            await page.add_init_script(CAPTURE)
            yield browser
        finally:
            await chromium.close()
