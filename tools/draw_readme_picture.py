"""Takes the README's picture: the page in a browser while the face that ships with the product answers.

`python tools/draw_readme_picture.py` starts a stack, asks the demo what it can do, and writes docs/page.jpg.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from pathlib import Path

from playwright.async_api import ViewportSize, async_playwright

from services.common.audio import wav_of
from tools.cli.stack import running_stack

OUT = Path(__file__).resolve().parent.parent / "docs/page.jpg"
_QUESTION = "What can you do?"
# The answer is on its way and the face smiles; its mouth is open in this word.
_MOMENT = "I answer"
_SIZE: ViewportSize = {"width": 1120, "height": 700}
_CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)
_RATE_HZ = 48_000


async def draw(out: Path) -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        # The browser's fake microphone would beep.
        silence = Path(folder) / "silence.wav"
        silence.write_bytes(wav_of(bytes(2 * _RATE_HZ), _RATE_HZ))
        async with running_stack({"ORCHESTRATOR_REPLY": "demo"}) as settings:
            await _draw(out, f"https://localhost:{settings.network.page_port}", silence)


async def _draw(out: Path, address: str, microphone: Path) -> None:
    args = [*_CHROMIUM, f"--use-file-for-fake-audio-capture={microphone}"]
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=args)
        page = await chromium.new_page(
            ignore_https_errors=True, viewport=_SIZE, device_scale_factor=1.5, color_scheme="light"
        )
        await page.goto(address)
        await page.get_by_role("button", name="Start talking").click()
        await page.locator("#turn").filter(has_text="Speaking").wait_for()
        await page.locator("#turn").filter(has_text="Listening").wait_for()
        await page.get_by_role("textbox").fill(_QUESTION)
        await page.keyboard.press("Enter")
        await page.locator("#caption-avatar").filter(has_text=_MOMENT).wait_for()
        await page.screenshot(path=out, type="jpeg", quality=82)
        await chromium.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    out: Path = parser.parse_args().out
    asyncio.run(draw(out))
    print(f"{out}: {out.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
