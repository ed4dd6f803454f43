"""Making a face from a picture, in real Chromium."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import pytest
from playwright.async_api import Browser, expect

from tests.page.browser import Person, person_at
from tests.page.fake_orchestrator import FakeOrchestrator, drawn_face

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]

# Gives the page a file by the clipboard or by a drop, as a browser does.
HAND_OVER = """([kind, name, type, bytes]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name, { type }));
    const event = kind === "drop" ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
        : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true });
    document.body.dispatchEvent(event);
}"""


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "portrait.png"
    cv2.imwrite(str(path), drawn_face()[:, 56:456])
    return path


@pytest.fixture
def content(picture: Path) -> bytes:
    return picture.read_bytes()


async def chosen(person: Person, picture: Path) -> None:
    await person.page.get_by_role("button", name="Your own").click()
    await chosen_here(person, picture)


async def chosen_here(person: Person, picture: Path) -> None:
    """With the dialog open already."""
    await person.page.locator("#file").set_input_files(picture)
    await expect(person.page.get_by_alt_text("The chosen portrait")).to_be_visible()


async def test_the_picture_is_shown_with_its_landmarks_and_used_in_the_running_conversation(
    browser: Browser, picture: Path, content: bytes
) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        session = await person.talks()
        await person.page.get_by_role("button", name="Change face").click()
        await chosen(person, picture)
        await person.page.get_by_label("Name").fill("Drawn")
        await person.page.get_by_label("Who agreed").fill("  nobody: it is a drawing ")
        await person.page.get_by_role("button", name="Make this face").click()
        overlay = person.page.locator("#overlay")
        await expect(overlay).to_have_attribute("viewBox", "0 0 400 512")
        await expect(overlay.locator("circle")).to_have_count(468)
        first = await overlay.locator("circle").first.get_attribute("cx")
        assert float(first or "nan") == person.fake.landmarks(400, 512)[0]["x"]
        await expect(person.page.locator("#verdict")).to_have_text("A face was found.")
        await expect(person.page.locator("#warnings")).to_contain_text("turned by about 20 degrees")
        sent = person.fake.created[0]
        assert base64.b64decode(sent.pop("portrait")) == content
        assert sent == {"consent": "nobody: it is a drawing", "display_name": "Drawn"}
        await person.page.get_by_role("button", name="Use this face").click()
        assert await session.received("avatar") == {"avatar": "avatars/made-1"}
        await expect(person.page.get_by_role("dialog")).to_have_count(0)


async def test_nothing_is_sent_without_consent_and_one_press_says_it_is_mine(browser: Browser, picture: Path) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        await chosen(person, picture)
        await person.page.get_by_role("button", name="Make this face").click()
        await expect(person.page.get_by_role("alert")).to_contain_text("who agreed")
        await expect(person.page.get_by_label("Who agreed")).to_be_focused()
        assert person.fake.created == []
        await person.page.get_by_role("button", name="It is my own face").click()
        await person.page.get_by_role("button", name="Make this face").click()
        await expect(person.page.locator("#verdict")).to_be_visible()
        assert "my own face" in person.fake.created[0]["consent"]


async def test_the_servers_refusal_is_shown_and_the_words_are_kept(browser: Browser, picture: Path) -> None:
    fake = FakeOrchestrator()
    fake.refuse_avatar = "no face was found; send a portrait with one face to the front"
    async with person_at(browser, fake) as person:
        await chosen(person, picture)
        await person.page.get_by_label("Who agreed").fill("me")
        await person.page.get_by_role("button", name="Make this face").click()
        await expect(person.page.get_by_role("alert")).to_have_text(
            "No face was found; send a portrait with one face to the front."
        )
        await expect(person.page.get_by_label("Who agreed")).to_have_value("me")
        fake.refuse_avatar = ""
        await person.page.get_by_role("button", name="Make this face").click()
        await expect(person.page.locator("#verdict")).to_be_visible()


async def test_a_face_that_may_not_be_a_persons_is_shown_and_made_only_when_its_marks_were_looked_at(
    browser: Browser,
    picture: Path,
) -> None:
    fake = FakeOrchestrator()
    fake.doubts = ["It looks like an animal's."]
    async with person_at(browser, fake) as person:
        page = person.page
        await chosen(person, picture)
        await page.get_by_role("button", name="It is my own face").click()
        await page.get_by_role("button", name="Make this face").click()
        await expect(page.locator("#doubt-title")).to_be_focused()
        await expect(page.locator("#doubts")).to_have_text("It looks like an animal's.")
        await expect(page.locator("#overlay circle")).to_have_count(468)
        assert fake.created == []
        await page.get_by_role("button", name="Another picture").click()
        await expect(page.locator("#drop-words")).to_be_visible()
        await expect(page.locator("#doubt-title")).to_be_hidden()
        await chosen_here(person, picture)
        await page.get_by_role("button", name="It is my own face").click()
        await page.get_by_role("button", name="Make this face").click()
        await page.get_by_role("button", name="The marks fit").click()
        await expect(page.locator("#verdict")).to_be_visible()
        await expect(page.locator("#doubt-title")).to_be_hidden()
        assert len(fake.created) == 1


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("film.gif", b"GIF89a", "Choose a JPEG, PNG or WebP file."),
        ("empty.png", b"", "is empty"),
        ("broken.jpg", b"not a picture", "could not be read as a picture"),
        ("large.png", bytes(20 * 2**20 + 1), "at most 20 MiB"),
    ],
)
async def test_a_file_that_cannot_be_used_is_refused_before_sending(
    browser: Browser, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    async with person_at(browser, FakeOrchestrator()) as person:
        await person.page.get_by_role("button", name="Your own").click()
        await person.page.locator("#file").set_input_files(file)
        await expect(person.page.get_by_role("alert")).to_contain_text(words)
        await expect(person.page.get_by_role("alert")).to_contain_text(name)
        await expect(person.page.get_by_alt_text("The chosen portrait")).to_be_hidden()


@pytest.mark.parametrize("kind", ["drop", "paste"])
async def test_a_picture_may_be_dropped_or_pasted_anywhere(browser: Browser, content: bytes, kind: str) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        bytes_base64 = base64.b64encode(content).decode()
        await person.page.evaluate(HAND_OVER, [kind, "dropped.png", "image/png", bytes_base64])
        await expect(person.page.get_by_role("dialog", name="Your own face")).to_be_visible()
        await expect(person.page.get_by_alt_text("The chosen portrait")).to_be_visible()


async def test_a_face_is_deleted_from_the_dialog_and_from_the_choice(browser: Browser, picture: Path) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        page = person.page
        for name in ("First", "Second"):
            await chosen(person, picture)
            await page.get_by_label("Name").fill(name)
            await page.get_by_role("button", name="It is my own face").click()
            await page.get_by_role("button", name="Make this face").click()
            if name == "First":
                await page.get_by_role("button", name="Delete it").click()
                await expect(page.locator("#drop-words")).to_be_visible()
                await page.get_by_role("button", name="Close").click()
        await page.get_by_role("button", name="Use this face").click()
        assert list(person.fake.avatars) == ["avatars/default", "avatars/made-2"]
        await page.get_by_role("button", name="Delete “Second”").click()
        await page.get_by_role("button", name="Delete", exact=True).click()
        await expect(page.get_by_role("radio", name="Second")).to_have_count(0)
        await expect(page.get_by_role("radio", name="Ada")).to_be_checked()
        assert list(person.fake.avatars) == ["avatars/default"]


async def test_a_small_face_is_brought_near(browser: Browser, picture: Path) -> None:
    fake = FakeOrchestrator()
    fake.landmarks = lambda width, height: [{"x": x, "y": y} for x in (300.0, 320.0) for y in (100.0, 120.0)]
    async with person_at(browser, fake) as person:
        await chosen(person, picture)
        await person.page.get_by_role("button", name="It is my own face").click()
        await person.page.get_by_role("button", name="Make this face").click()
        # The computed value is the last one only when the movement is over.
        await expect(person.page.locator("#zoom")).to_have_css("transform", "matrix(3, 0, 0, 3, 0, 0)")
        frame = await person.page.locator("#frame").bounding_box()
        assert frame is not None
        marks = await person.page.locator("#overlay circle").first.bounding_box()
        assert marks is not None
        assert frame["x"] < marks["x"] < frame["x"] + frame["width"]
        assert frame["y"] < marks["y"] < frame["y"] + frame["height"]
