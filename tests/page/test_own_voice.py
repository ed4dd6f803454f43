"""Making a voice of a recording, in real Chromium."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.fakes.recordings import speech_like, wav
from tests.page.browser import Person, person_at
from tests.page.fake_orchestrator import FakeOrchestrator

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "speech.wav"
    path.write_bytes(wav(speech_like(4)))
    return path


def cloning() -> FakeOrchestrator:
    """A server whose engine makes voices of recordings."""
    fake = FakeOrchestrator()
    fake.can_clone = True
    return fake


async def opened(person: Person) -> Page:
    """The page with the dialog open."""
    await person.page.get_by_role("button", name="Your own voice").click()
    await expect(person.page.get_by_role("dialog", name="Your own voice")).to_be_visible()
    return person.page


async def agreed(page: Page) -> None:
    await page.get_by_role("button", name="It is my own voice").click()
    await page.get_by_label("The person who speaks has agreed").check()


async def test_where_the_engine_cannot_nothing_is_offered(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        await expect(person.page.get_by_label("Voice").locator("option")).to_have_count(3)
        await expect(person.page.get_by_role("button", name="Your own voice")).to_have_count(0)


async def test_a_file_becomes_a_voice_that_is_chosen_and_used(browser: Browser, recording: Path) -> None:
    async with person_at(browser, cloning()) as person:
        page = await opened(person)
        await page.locator("#voice-file").set_input_files(recording)
        await expect(page.locator("#playback")).to_be_visible()
        await page.locator("#voice-name").fill("Ada")
        await agreed(page)
        await page.get_by_role("button", name="Make this voice").click()
        await expect(page.locator("#voice-verdict")).to_have_text("A voice was made of 8 seconds of speech.")
        await expect(page.locator("#voice-warnings")).to_contain_text("The speech is quiet")
        (sent,) = person.fake.created_voices
        assert base64.b64decode(sent.pop("recording")) == recording.read_bytes()
        statement = "This is my own voice, and I agree to its use here."
        assert sent == {"consent": {"given": True, "statement": statement}, "display_name": "Ada"}
        await page.get_by_role("button", name="Use this voice").click()
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(page.locator("#voice")).to_have_value("voices/made-1")
        session = await person.types()
        assert session.query["voice"] == "voices/made-1"


async def test_what_is_recorded_is_heard_again_and_sent(browser: Browser) -> None:
    async with person_at(browser, cloning()) as person:
        page = await opened(person)
        await page.get_by_role("button", name="Record").click()
        await expect(page.get_by_role("button", name="Stop (1 s)")).to_be_visible()
        await expect(page.locator("#loudness")).to_be_visible()
        await page.get_by_role("button", name="Stop (1 s)").click()
        await expect(page.get_by_role("button", name="Record again")).to_be_visible()
        await expect(page.locator("#playback")).to_be_visible()
        await agreed(page)
        await page.get_by_label("Keep the recording too").check()
        await page.get_by_role("button", name="Make this voice").click()
        await expect(page.locator("#voice-verdict")).to_be_visible()
        (sent,) = person.fake.created_voices
        assert sent["keep_recording"] is True
        # The first bytes of a WebM file.
        assert base64.b64decode(sent["recording"])[:4] == b"\x1aE\xdf\xa3"


async def test_nothing_is_sent_without_a_recording_and_the_consent_of_its_owner(
    browser: Browser, recording: Path
) -> None:
    async with person_at(browser, cloning()) as person:
        page = await opened(person)
        make, alert = page.get_by_role("button", name="Make this voice"), page.get_by_role("alert")
        await make.click()
        await expect(alert).to_contain_text("Record something")
        await page.locator("#voice-file").set_input_files(recording)
        await make.click()
        await expect(alert).to_contain_text("who agreed")
        await page.get_by_role("button", name="It is my own voice").click()
        await make.click()
        await expect(alert).to_contain_text("only if the person who speaks has agreed")
        await expect(page.locator("#voice-given")).to_be_focused()
        assert person.fake.created_voices == []


async def test_the_servers_refusal_is_shown_and_the_words_are_kept(browser: Browser, recording: Path) -> None:
    fake = cloning()
    fake.refuse_voice = "the recording is too quiet"
    async with person_at(browser, fake) as person:
        page = await opened(person)
        await page.locator("#voice-file").set_input_files(recording)
        await agreed(page)
        await page.get_by_role("button", name="Make this voice").click()
        await expect(page.get_by_role("alert")).to_have_text("The recording is too quiet.")
        fake.refuse_voice = ""
        await page.get_by_role("button", name="Make this voice").click()
        await expect(page.locator("#voice-verdict")).to_be_visible()


async def test_a_voice_is_deleted_from_the_dialog_and_from_the_choice(browser: Browser, recording: Path) -> None:
    async with person_at(browser, cloning()) as person:
        for last in ("Delete it", "Use this voice"):
            page = await opened(person)
            await page.locator("#voice-file").set_input_files(recording)
            await page.locator("#voice-name").fill("Ada")
            await agreed(page)
            await page.get_by_role("button", name="Make this voice").click()
            await page.get_by_role("button", name=last).click()
            await expect(page.get_by_role("dialog")).to_have_count(0)
        assert [voice["name"] for voice in person.fake.voices][3:] == ["voices/made-2"]
        await page.get_by_role("button", name="Delete “Ada”").click()
        await page.get_by_role("button", name="Delete for good").click()
        await expect(page.locator("#voice")).to_have_value("")
        assert len(person.fake.voices) == 3


async def test_a_voice_of_another_engine_is_not_offered(browser: Browser) -> None:
    fake = cloning()
    fake.voices.append({"name": "voices/old", "kind": "KIND_CLONED", "unusable_reason": "made for another engine"})
    async with person_at(browser, fake) as person:
        await expect(person.page.get_by_label("Voice").locator("option")).to_have_count(3)
        await expect(person.page.locator("#voice option[value='voices/old']")).to_have_count(0)
