"""A person's browser in front of the fake orchestrator."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from playwright.async_api import Browser, Page, async_playwright, expect

from tests.page.fake_orchestrator import FakeOrchestrator, Session

expect.set_options(timeout=15_000)

ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
)
ALLOWED = (*ARGS, "--use-fake-ui-for-media-stream")


@dataclass
class Person:
    """Someone at the page.

    Attributes:
        complaints: every violation of the content security policy and every exception, as the browser words it.
    """

    page: Page
    fake: FakeOrchestrator
    complaints: list[str] = field(default_factory=list)

    async def talks(self) -> Session:
        await self.page.get_by_role("button", name="Start talking").click()
        return await self._conversation()

    async def types(self) -> Session:
        await self.page.get_by_role("button", name="Continue without microphone").click()
        return await self._conversation()

    async def _conversation(self) -> Session:
        session = await self.fake.session()
        await expect(self.page.locator("#face")).to_have_class(re.compile(r"\blive\b"))
        return session


@asynccontextmanager
async def chromium(args: Sequence[str] = ALLOWED) -> AsyncIterator[Browser]:
    """A running browser without a page."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(args))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def person_at(
    browser: Browser,
    fake: FakeOrchestrator,
    *,
    url: str = "",
    width: int = 1280,
    height: int = 800,
    colours: Literal["light", "dark"] = "light",
) -> AsyncIterator[Person]:
    """Opens the page in a fresh profile; fails at the end if the browser complained about it."""
    async with fake.serving():
        page = await browser.new_page(viewport={"width": width, "height": height}, color_scheme=colours)
        try:
            person = Person(page, fake)
            page.on("pageerror", lambda error: person.complaints.append(str(error)))
            page.on("console", lambda message: _note(person, message))
            await page.goto(url.format(port=fake.port) or fake.url)
            await expect(page.get_by_role("radio", name="Ada").first).to_be_checked()
            yield person
        finally:
            await page.close()
    assert not person.complaints, person.complaints


def _note(person: Person, message: Any) -> None:
    # What the network refuses is logged as an error too, and is what some tests are about.
    if (
        message.type == "error"
        and "Failed to load resource" not in message.text
        and "WebSocket connection" not in message.text
    ):
        person.complaints.append(message.text)
