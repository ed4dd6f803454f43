"""gRPC-Web from a page in a real browser, on the page's own origin."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright

from tests.clients.conftest import GOOGLE_PROTOS, NODE, Voice, protoc_arguments, run
from tests.stack import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]
BROWSER = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
BROWSER += ["--disable-component-update", "--disable-sync"]


async def bundle(folder: Path) -> str:
    """The client of `web_client.js` as one script, with the code that it is generated from the contract."""
    ours = sorted((ROOT / "proto").rglob("avatar/*/v1/*.proto"))
    theirs = [*sorted((GOOGLE_PROTOS / "google/api").glob("*.proto")), GOOGLE_PROTOS / "google/rpc/status.proto"]
    plugin = f"--plugin=protoc-gen-es={NODE / '.bin/protoc-gen-es'}"
    options = ("--es_opt=target=js", "--es_opt=import_extension=js", f"--es_out={folder}")
    status, _, err = await run(
        sys.executable, "-m", "grpc_tools.protoc", *protoc_arguments(), plugin, *options, *ours, *theirs
    )
    assert status == 0, err
    out = folder / "bundle.js"
    client = ROOT / "tests/clients/web_client.js"
    arguments = ("--bundle", "--format=iife", f"--alias:avatar={folder / 'avatar'}", f"--outfile={out}")
    status, _, err = await run(NODE / ".bin/esbuild", client, *arguments, "--log-level=error")
    assert status == 0, err
    return out.read_text()


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def page(voice: Voice, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Page]:
    """A page of the page's origin in Chromium, with the client in it."""
    script = await bundle(tmp_path_factory.mktemp("bundle"))
    chromium = shutil.which("chromium")
    assert chromium is not None, "Chromium is missing; run tools/setup.sh --test"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=BROWSER)
        context = await browser.new_context(ignore_https_errors=True)
        opened = await context.new_page()
        await opened.goto(f"{voice.edge.page_url}/")
        await opened.evaluate(script)
        yield opened
        await browser.close()


async def test_a_page_makes_a_unary_call(page: Page) -> None:
    voices = await page.evaluate("foreignClient.listVoices()")
    assert voices
    assert all(name.startswith("voices/") for name in voices)


async def test_a_page_follows_a_server_stream_to_its_end(page: Page) -> None:
    replies = await page.evaluate("foreignClient.synthesizeStream('Hello world.')")
    kinds = [reply["reply"] for reply in replies]
    assert (kinds[0], kinds[-1]) == ("started", "utteranceEnd")
    assert sum(reply["bytes"] for reply in replies) > 5_000


async def test_a_page_sees_an_error_with_its_details(page: Page) -> None:
    error = await page.evaluate("foreignClient.errorOf('')")
    assert error["code"] == 3
    assert "google.rpc.ErrorInfo" in error["details"]
    assert error["message"]
