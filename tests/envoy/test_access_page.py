"""The token in a real browser: typed, or in the link by which somebody came."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.fakes.edge_services import serving_page
from tests.stack import Edge, running_envoy

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
TOKEN = "Zk-3_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    file: Path = tmp_path_factory.mktemp("token") / "token"
    file.write_text(TOKEN)
    async with serving_page() as page, running_envoy({"page": [page]}, arguments=["--token-file", str(file)]) as edge:
        yield edge


async def test_the_token_can_be_typed(browser: Browser, edge: Edge) -> None:
    context = await browser.new_context(ignore_https_errors=True)
    page = await context.new_page()
    await page.goto(edge.page_url)
    for typed, title in (("wrong", "Avatar: token needed"), (TOKEN, "page")):
        await page.get_by_label("Token").fill(typed)
        await page.get_by_role("button").click()
        await expect(page).to_have_title(title)
    assert page.url == f"{edge.page_url}/"
    await page.goto(edge.page_url)
    await expect(page).to_have_title("page")
    (cookie,) = await context.cookies()
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    await context.close()


async def test_who_comes_by_a_link_from_elsewhere_is_one_step_away(browser: Browser, edge: Edge) -> None:
    """A strict cookie is not sent where another site has led the browser here, not even after a redirect of ours."""
    context = await browser.new_context(ignore_https_errors=True)
    page = await context.new_page()
    await page.set_content(f"<a href='{edge.page_url}/?token={TOKEN}'>come</a>")
    await page.get_by_text("come").click()
    await expect(page).to_have_title("Avatar: token needed")
    assert page.url == f"{edge.page_url}/"
    await page.get_by_text("go on to the page").click()
    await expect(page).to_have_title("page")
    await context.close()
