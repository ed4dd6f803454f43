"""What a person sees when the way to the server breaks, and how the page finds it again, in real Chromium."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.page.browser import person_at
from tests.page.fake_orchestrator import FakeOrchestrator
from tests.stack import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]

# As long as the page gives media that stopped, and media that does not come, and a little.
GAP_MS, GIVEN_UP_MS = 4_500, 20_500
ANSWER = "Hello, and good to see you today."


async def test_sound_and_picture_that_stop_are_connected_anew_in_the_same_conversation(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        await person.page.clock.install()
        session = await person.talks()
        await session.received("offer")
        await session.user("Before")
        await session.lose_media()
        await expect(person.page.get_by_role("status")).to_contain_text("The connection is weak", timeout=20_000)
        await person.page.clock.fast_forward(GAP_MS)
        await session.received("config")
        await session.received("offer")
        await session.connected.wait()
        await expect(person.page.get_by_role("status")).to_be_empty()
        await session.hears(lambda: session.loud_frames > 0)
        await person.page.wait_for_function("() => avatar.stats().then((stats) => stats.fps > 10)")
        await session.says(ANSWER)
        await session.ends(ANSWER)
        await expect(person.page.locator("#log .line.user .text")).to_have_text("Before")
        await expect(person.page.locator("#log .note")).to_have_count(0)


async def test_a_server_that_lost_the_browser_is_asked_for_a_new_conversation(browser: Browser) -> None:
    fake = FakeOrchestrator()
    async with person_at(browser, fake) as person:
        first = await person.types()
        await first.event(ended={"reason": "The connection to the browser was lost.", "connection_lost": True})
        await fake.session()
        await expect(person.page.locator("#log .note")).to_contain_text("a new conversation began here")
        await first.ended.wait()


async def test_a_server_that_is_full_on_the_way_back_is_waited_for(browser: Browser) -> None:
    fake = FakeOrchestrator()
    async with person_at(browser, fake) as person:
        first = await person.types()
        fake.is_full = True
        await first.lose()
        await expect(person.page.locator("#veil")).to_contain_text("The server is full")
        await expect(person.page.locator("#veil")).to_contain_text("Trying again in")
        fake.is_full = False
        await person.page.get_by_role("button", name="Try now").click()
        await fake.session()
        await expect(person.page.locator("#veil")).to_be_hidden()


@pytest.mark.parametrize(
    ("has_turn", "words"),
    [
        pytest.param(False, "or set a TURN server (turn_urls)", id="no TURN server"),
        pytest.param(True, "does not answer this browser: is it running", id="a TURN server that is not there"),
    ],
)
async def test_media_that_does_not_get_through_is_said_with_what_to_do(
    browser: Browser, has_turn: bool, words: str
) -> None:
    fake = FakeOrchestrator()
    fake.is_unreachable = True
    if has_turn:
        url = f"turn:127.0.0.1:{free_ports(1)[0]}?transport=udp"
        fake.ice_servers = [{"urls": [url], "username": "1:a", "credential": "b"}]
    async with person_at(browser, fake) as person:
        await person.page.clock.install()
        await person.page.get_by_role("button", name="Continue without microphone").click()
        await person.page.wait_for_function("() => avatar.pc?.remoteDescription")
        await person.page.clock.fast_forward(GIVEN_UP_MS)
        status = person.page.get_by_role("status")
        await expect(status).to_contain_text("sound and picture do not get through")
        await expect(status).to_contain_text(words)
        await expect(person.page.get_by_role("button", name="Start talking")).to_be_focused()
