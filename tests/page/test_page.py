"""What a person sees and does, in real Chromium."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Browser, expect

from tests.page.browser import ARGS, chromium, person_at
from tests.page.fake_orchestrator import FakeOrchestrator

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]

ANSWER = "Hello, and good to see you today."
# As long as the page waits for an assistant, and a little.
PATIENCE_MS = 8_500


async def test_start_asks_for_the_microphone_and_captions_of_both_sides_appear_as_they_are_heard(
    browser: Browser,
) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        page = person.page
        await expect(page.locator("#still")).to_be_visible()
        session = await person.talks()
        assert session.query == {"avatar": "avatars/default", "language": "en"}
        assert "sendrecv" in (await session.received("offer"))["sdp"].split("m=video")[0]

        await session.user("who are", final=False)
        await expect(page.locator("#caption-user")).to_have_class(re.compile("interim"))
        await expect(page.locator("#live .line.user")).to_have_text("Youwho are")
        await session.user("Who are you?")
        await expect(page.get_by_role("log").locator(".line.user .text")).to_have_text("Who are you?")

        await session.says(ANSWER)
        await expect(page.locator("#turn-words")).to_have_text("Speaking")
        await expect(page.locator("#caption-avatar")).to_have_text("Hello, and good to")
        await expect(page.get_by_role("log").locator(".line.avatar")).to_have_count(0)
        await session.ends(ANSWER)
        await expect(page.get_by_role("log").locator(".line.avatar .text")).to_have_text(ANSWER)
        await expect(page.locator(".cut")).to_have_count(0)


async def test_typed_words_are_sent_by_enter_and_stand_once(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        session = await person.types()
        assert "recvonly" in (await session.received("offer"))["sdp"].split("m=video")[0]
        box = person.page.get_by_label("Your message")
        await expect(box).to_be_focused()
        await box.press_sequentially("How are you")
        await box.press("Shift+Enter")
        await box.press_sequentially("today?")
        await box.press("Enter")
        assert await session.received("text") == {"text": "How are you\ntoday?"}
        await expect(box).to_have_value("")
        await expect(person.page.locator("#live .line.user.interim")).to_have_count(1)
        await session.user("How are you today?")
        await expect(person.page.locator("#log .line.user")).to_have_count(1)
        await expect(person.page.locator("#live .line")).to_have_count(0)


@pytest.mark.parametrize("by_key", [True, False])
async def test_stop_interrupts_and_the_answer_keeps_what_was_heard(browser: Browser, by_key: bool) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        session = await person.talks()
        stop = person.page.get_by_role("button", name="Stop")
        await expect(stop).to_be_disabled()
        await session.says(ANSWER)
        await expect(stop).to_be_enabled()
        await (person.page.keyboard.press("Escape") if by_key else stop.click())
        await session.received("interrupt")
        await session.ends("Hello, and good", interrupted=True)
        line = person.page.locator("#log .line.avatar")
        await expect(line.locator(".text")).to_have_text("Hello, and good")
        await expect(line.locator(".cut")).to_have_text("stopped here")
        await expect(stop).to_be_disabled()


async def test_an_answer_that_was_stopped_before_its_first_word_leaves_no_line(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        session = await person.types()
        await session.event(utterance_started={"utterance_id": "a1", "text": ANSWER})
        await session.event(utterance_ended={"utterance_id": "a1", "interrupted": True})
        await session.says("Another one.", "a2")
        await session.ends("Another one.", "a2")
        await expect(person.page.locator(".line.avatar")).to_have_count(1)
        await expect(person.page.locator(".line.avatar .text")).to_have_text("Another one.")


async def test_an_answer_that_was_spoken_over_stands_above_the_words_that_ended_it(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        session = await person.types()
        await session.says(ANSWER)
        await session.user("Wait a moment.")
        await session.ends("Hello, and good", interrupted=True)
        texts = person.page.locator("#log .line .text")
        await expect(texts).to_have_text(["Hello, and good", "Wait a moment."])


async def test_space_mutes_so_that_the_server_hears_silence(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        session = await person.talks()
        # Chromium's fake microphone beeps once a second.
        await session.hears(lambda: session.loud_frames > 0)
        await person.page.locator("body").press("Space")
        await expect(person.page.get_by_role("button", name="Unmute the microphone")).to_be_visible()
        await expect(person.page.locator("#turn-words")).to_have_text("Microphone muted")
        await session.hears(lambda: session.silent_frames > 75)
        loud = session.loud_frames
        await person.page.locator("body").press("Space")
        await session.hears(lambda: session.loud_frames > loud)
        await person.page.get_by_label("Your message").press_sequentially("a b")
        await expect(person.page.get_by_role("button", name="Mute the microphone")).to_be_visible()


async def test_a_refused_microphone_is_explained_and_typing_works() -> None:
    async with chromium(ARGS) as browser, person_at(browser, FakeOrchestrator()) as person:
        await person.page.get_by_role("button", name="Start talking").click()
        await expect(person.page.get_by_role("status")).to_contain_text("The microphone was not allowed")
        session = await person.types()
        await person.page.get_by_label("Your message").fill("Hello")
        await person.page.get_by_role("button", name="Send").click()
        assert await session.received("text") == {"text": "Hello"}


async def test_an_insecure_page_says_why_there_is_no_microphone() -> None:
    args = [*ARGS, "--host-resolver-rules=MAP avatar.test 127.0.0.1"]
    url = "http://avatar.test:{port}/"
    async with chromium(args) as browser, person_at(browser, FakeOrchestrator(), url=url) as person:
        await expect(person.page.get_by_role("status")).to_contain_text("http://avatar.test")
        await expect(person.page.get_by_role("status")).to_contain_text("https://")
        session = await person.types()
        await session.says(ANSWER)
        await expect(person.page.locator("#caption-avatar")).to_be_visible()


async def test_a_microphone_that_comes_later_begins_a_session_that_hears_it(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        await person.types()
        await person.page.get_by_role("button", name="Use the microphone").click()
        second = await person.fake.session()
        await second.hears(lambda: second.loud_frames > 0)
        await expect(person.page.locator("#log .note")).to_have_text("Restarting with your microphone.")


SLOW_PERMISSION = """() => {
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  window.opened = [];
  const allowed = new Promise((resolve) => { window.allow = resolve; });
  navigator.mediaDevices.getUserMedia = async (given) => {
    await allowed;
    const stream = await open(given);
    window.opened.push(stream.getAudioTracks()[0]);
    return stream;
  };
}"""


async def test_a_microphone_that_is_allowed_after_the_end_is_closed_at_once(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        await person.types()
        await person.page.evaluate(SLOW_PERMISSION)
        await person.page.get_by_role("button", name="Use the microphone").click()
        await person.page.get_by_role("button", name="End", exact=True).click()
        await person.page.evaluate("allow()")
        await person.page.wait_for_function("() => opened.length === 1 && opened[0].readyState === 'ended'")


async def test_asking_twice_for_the_microphone_opens_one(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        await person.types()
        await person.page.evaluate(SLOW_PERMISSION)
        button = person.page.get_by_role("button", name="Use the microphone")
        await button.click()
        await button.click()
        await person.page.evaluate("allow()")
        await person.fake.session()
        await person.page.wait_for_function(
            "() => opened.map((track) => track.readyState).sort().join() === 'ended,live'"
        )


async def test_a_lost_connection_is_said_and_made_again_with_the_same_face(browser: Browser) -> None:
    fake = FakeOrchestrator()
    fake.avatars["avatars/mona"] = {"name": "avatars/mona", "display_name": "Mona"}
    async with person_at(browser, fake) as person:
        await person.page.get_by_role("radio", name="Mona").check()
        first = await person.talks()
        await first.says(ANSWER)
        await first.lose()
        await expect(person.page.locator("#veil")).to_contain_text("Connection lost")
        await expect(person.page.locator("#announce")).to_contain_text("Trying again in a second.")
        second = await fake.session()
        assert second.query["avatar"] == "avatars/mona"
        await expect(person.page.locator("#veil")).to_be_hidden()
        await expect(person.page.locator("#log .note")).to_contain_text("a new conversation began here")
        await expect(person.page.locator("#log .line.avatar .text")).to_have_text("Hello, and good to")
        await second.user("Still here?")
        await expect(person.page.locator("#log .line.user .text")).to_have_text("Still here?")


async def test_a_full_server_is_said_and_the_button_works_again(browser: Browser) -> None:
    fake = FakeOrchestrator()
    fake.is_full = True
    async with person_at(browser, fake) as person:
        await person.page.get_by_role("button", name="Start talking").click()
        await expect(person.page.get_by_role("status")).to_contain_text("The server is full")
        fake.is_full = False
        await person.talks()
        await expect(person.page.get_by_role("status")).to_be_empty()


async def test_a_refused_session_shows_the_servers_sentence(browser: Browser) -> None:
    fake = FakeOrchestrator()
    fake.refuse_session = "there is no face avatars/x"
    async with person_at(browser, fake) as person:
        await person.page.get_by_role("button", name="Start talking").click()
        await expect(person.page.get_by_role("status")).to_contain_text("there is no face avatars/x")


async def test_a_missing_service_is_said_until_it_is_back(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        session = await person.talks()
        await session.event(service_changed={"service": "render", "message": "The face stands still: render is away."})
        await session.event(service_changed={"service": "stt"})
        status = person.page.get_by_role("status")
        await expect(status).to_contain_text("The face stands still: render is away.")
        await expect(status).to_contain_text("You can type instead.")
        await session.event(service_changed={"service": "stt", "available": True})
        await expect(status).to_contain_text("Speech recognition is back.")
        await expect(status).not_to_contain_text("You can type instead.")


async def test_the_servers_end_is_said_and_the_transcript_can_be_saved(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        session = await person.types()
        await session.user("Bye")
        await session.says(ANSWER)
        await session.ends("Hello,", interrupted=True)
        await session.event(ended={"reason": "The server is going down for maintenance."})
        await expect(person.page.get_by_role("status")).to_contain_text("maintenance")
        await expect(person.page.get_by_role("button", name="Start talking")).to_be_focused()
        async with person.page.expect_download() as saved:
            await person.page.get_by_role("button", name="Save the last transcript").click()
        transcript = await (await saved.value).path()
        assert transcript.read_text() == "You: Bye\nAda: Hello, [stopped]\n"


async def test_leaving_the_page_ends_the_session_at_once(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        session = await person.talks()
        await person.page.goto("about:blank")
        async with asyncio.timeout(10):
            await session.ended.wait()


async def test_pings_are_answered(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        session = await person.types()
        await session.send("ping")
        await session.received("pong")


async def test_the_face_is_changed_in_a_running_conversation(browser: Browser) -> None:
    fake = FakeOrchestrator()
    fake.avatars["avatars/mona"] = {"name": "avatars/mona", "display_name": "Mona"}
    async with person_at(browser, fake) as person:
        session = await person.talks()
        await person.page.get_by_role("button", name="Change face").click()
        dialog = person.page.get_by_role("dialog", name="Choose a face")
        await dialog.get_by_role("radio", name="Mona").check()
        assert await session.received("avatar") == {"avatar": "avatars/mona"}
        await session.send("avatar", {"avatar": "avatars/mona"})
        await expect(person.page.locator("#announce")).to_have_text("The face has changed.")
        await person.page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        await session.says(ANSWER)
        await expect(person.page.locator("#live .who")).to_have_text("Mona")


async def test_the_voices_of_a_language_are_offered_and_asked_for(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        await person.page.get_by_label("Language").select_option(label="German")
        assert await person.page.get_by_label("Voice").locator("option").all_inner_texts() == ["Default", "Deutsch"]
        await person.page.get_by_label("Voice").select_option(label="Deutsch")
        session = await person.types()
        assert session.query == {"avatar": "avatars/default", "voice": "voices/de", "language": "de"}


async def test_what_the_operator_chose_is_shown_until_the_person_chooses(browser: Browser) -> None:
    fake = FakeOrchestrator()
    fake.avatars["avatars/bo"] = {"name": "avatars/bo", "display_name": "Bo"}
    fake.chosen = {"avatar": "avatars/bo", "language": "de", "voice": "voices/de"}
    async with person_at(browser, fake, url="http://localhost:{port}/?avatar=avatars/default") as person:
        page = person.page
        await page.goto(fake.url)
        await expect(page.get_by_role("radio", name="Bo").first).to_be_checked()
        session = await person.types()
        assert session.query == {"avatar": "avatars/bo", "voice": "voices/de", "language": "de"}
        await page.get_by_role("button", name="End", exact=True).click()
        await page.get_by_label("Language").select_option(label="English")
        await page.reload()
        session = await person.types()
        assert session.query == {"avatar": "avatars/bo", "language": "en"}


async def test_languages_are_named_apart_and_those_without_a_name_come_last(browser: Browser) -> None:
    fake = FakeOrchestrator()
    fake.voices = [{"name": "voices/x", "language_codes": ["cmn", "de", "bpy", "zh", "en"]}]
    async with person_at(browser, fake) as person:
        offered = await person.page.get_by_label("Language").locator("option").all_inner_texts()
    assert offered == ["Chinese (cmn)", "Chinese (zh)", "English", "German", "bpy"]


async def test_languages_that_are_only_spoken_are_said_where_one_is_chosen(browser: Browser) -> None:
    fake = FakeOrchestrator()
    fake.recogniser, fake.heard = "pocketsphinx", ["en"]
    async with person_at(browser, fake) as person:
        note = person.page.locator("#hearing")
        await expect(note).to_have_text(
            "Speech recognition by PocketSphinx, in English only. In others, type and listen."
        )
        await person.page.get_by_label("Language").select_option(label="German")
        await expect(note).to_have_text(
            "Speech recognition by PocketSphinx, in English only, and not in German. Type what you want to say, and "
            "listen to the answers."
        )


async def test_many_languages_are_counted(browser: Browser) -> None:
    fake = FakeOrchestrator()
    fake.recogniser, fake.heard = "parakeet", ["bg", "de", "en", "fr", "it", "uk"]
    fake.voices = [{"name": "voices/x", "language_codes": ["de", "en", "hi"]}]
    async with person_at(browser, fake) as person:
        note = person.page.locator("#hearing")
        await expect(note).to_have_text("Speech recognition by Parakeet, in 6 languages. In others, type and listen.")
        await person.page.get_by_label("Language").select_option(label="Hindi")
        await expect(note).to_contain_text("by Parakeet, in 6 languages, and not in Hindi. Type what you want to say")


async def test_a_recogniser_that_comes_back_as_another_is_named(browser: Browser) -> None:
    fake = FakeOrchestrator()
    async with person_at(browser, fake) as person:
        note = person.page.locator("#hearing")
        await expect(note).to_have_text("Speech recognition by Whisper.")
        session = await person.types()
        await session.event(service_changed={"service": "stt", "available": False})
        fake.recogniser = "of-my-own"
        await session.event(service_changed={"service": "stt", "available": True})
        await person.page.get_by_role("button", name="End", exact=True).click()
        await expect(note).to_have_text("Speech recognition by of-my-own.")


async def test_languages_are_not_named_where_every_one_is_understood(browser: Browser) -> None:
    fake = FakeOrchestrator()
    fake.voices = [{"name": "voices/x", "language_codes": ["de-AT", "en"]}]
    async with person_at(browser, fake) as person:
        await expect(person.page.get_by_label("Language").locator("option")).to_have_count(2)
        await expect(person.page.locator("#hearing")).to_have_text("Speech recognition by Whisper.")


async def test_an_assistant_that_is_not_there_is_named_and_the_conversation_goes_on(browser: Browser) -> None:
    fake = FakeOrchestrator()
    fake.chosen = {"reply": "assistant"}
    async with person_at(browser, fake) as person:
        page = person.page
        await page.clock.install()
        session = await person.types()
        assert session.query["reply"] == "assistant"
        await session.event(turn_changed={"state": "TURN_STATE_THINKING"})
        await expect(page.locator("#turn-words")).to_have_text("Thinking")
        await page.clock.fast_forward(PATIENCE_MS)
        missing = page.locator('[data-key="assistant"]')
        await expect(missing).to_contain_text("docs/connect-your-assistant.md")
        await expect(missing).to_contain_text("?reply=demo")
        await expect(page.locator("#turn-words")).to_have_text("Waiting for your words")
        await session.says(ANSWER)
        await expect(missing).to_have_count(0)
        await session.ends(ANSWER)
        await session.event(turn_changed={"state": "TURN_STATE_THINKING"})
        await expect(page.locator("#turn-words")).to_have_text("Thinking")
        await page.clock.fast_forward(PATIENCE_MS)
        await expect(missing).to_contain_text("has not answered this")


async def test_an_answer_of_the_demo_may_take_its_time(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator(), url="http://localhost:{port}/?reply=demo") as person:
        await person.page.clock.install()
        session = await person.types()
        await session.event(turn_changed={"state": "TURN_STATE_THINKING"})
        await expect(person.page.locator("#turn-words")).to_have_text("Thinking")
        await person.page.clock.fast_forward(60_000)
        await expect(person.page.locator('[data-key="assistant"]')).to_have_count(0)


async def test_a_long_caption_shows_whole_lines(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        session = await person.types()
        await session.event(utterance_started={"utterance_id": "a1", "text": ""})
        await session.event(
            caption={"speaker": "SPEAKER_AVATAR", "utterance_id": "a1", "text": "One more line of words. " * 20}
        )
        caption = person.page.locator("#caption-avatar")
        await expect(caption).to_contain_text("One more line")
        # What a browser draws of an element that hides its overflow is the inside of its border.
        lines = await caption.evaluate("""(box) => {
            const top = box.getBoundingClientRect().top + box.clientTop;
            const words = document.createRange();
            words.selectNodeContents(box.firstElementChild);
            return [...words.getClientRects()].map((line) => [line.top - top, line.bottom - top]);
        }""")
    assert len(lines) > 3
    assert sum(top >= 0 for top, _ in lines) == 3
    assert sum(bottom <= 0 for _, bottom in lines) == len(lines) - 3


async def test_without_the_list_of_voices_one_can_still_talk(browser: Browser) -> None:
    fake = FakeOrchestrator()
    fake.voices_missing = True
    async with person_at(browser, fake, url="http://localhost:{port}/?reply=echo") as person:
        session = await person.talks()
        assert session.query == {"avatar": "avatars/default", "language": "en", "reply": "echo"}


async def test_the_drawer_shows_where_the_time_of_a_turn_went_and_what_the_wire_does(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        session = await person.types()
        page = person.page
        toggle = page.get_by_role("button", name="Details")
        await toggle.click()
        await expect(toggle).to_have_attribute("aria-expanded", "true")
        await expect(page.locator("#turns")).to_contain_text("The timing of your turns")
        await page.get_by_role("button", name="Close").click()
        await page.get_by_label("Your message").fill("Hi")
        await page.get_by_label("Your message").press("Enter")
        await session.received("text")
        await session.says(ANSWER)
        await session.event(
            turn_report={
                "utterance_id": "a1",
                "transcript_duration": "0s",
                "reply_duration": "0.001s",
                "synthesis_duration": "0.004s",
                "audio_sent_duration": "0.005s",
                "video_sent_duration": "0.006s",
            }
        )
        await toggle.click()
        rows = page.locator(".stages tr")
        await expect(rows).to_have_count(6)
        await expect(rows.nth(5)).to_contain_text("Heard in this browser")
        await expect(rows.nth(3)).to_contain_text("Audio sent")
        await expect(rows.nth(3)).to_contain_text("5 ms")
        await expect(page.locator(".total")).to_contain_text("until you heard it")
        tiles = page.locator(".tile")
        await expect(tiles.filter(has_text="Frames per second").locator("dd")).to_have_text(re.compile(r"^[12]\d\.\d$"))
        await expect(tiles.filter(has_text="Codecs").locator("dd")).to_have_text(re.compile("VP8 512.512, opus"))
        await expect(tiles.filter(has_text="Audio and video sync").locator("dd")).to_have_text(re.compile(r"\d ms"))
        await page.get_by_role("button", name="Happy").click()
        assert await session.received("expression") == {"kind": "happy", "intensity": 0.7}
        await session.ends(ANSWER)
        await expect(page.get_by_role("button", name="Stop")).to_be_disabled()
        await page.keyboard.press("Escape")
        await expect(toggle).to_be_focused()


async def test_tests_can_look_at_the_connection(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        await person.talks()
        await person.page.wait_for_function("() => avatar.stats().then((stats) => stats.fps > 10)")
        assert await person.page.evaluate("[avatar.pc.connectionState, avatar.socket.readyState]") == ["connected", 1]
        assert await person.page.evaluate("avatar.events[0].turn_changed") == {"state": "TURN_STATE_LISTENING"}


@pytest.mark.parametrize(("width", "height"), [(320, 568), (390, 844), (844, 390), (820, 1180), (3840, 2160)])
async def test_nothing_sticks_out_at_any_size(browser: Browser, width: int, height: int) -> None:
    async with person_at(browser, FakeOrchestrator(), width=width, height=height, colours="dark") as person:
        page = person.page
        outside = """() => [...document.querySelectorAll("button, input, select, textarea, .face, .caption")]
            .filter((e) => e.checkVisibility() && e.type !== "radio")
            .map((e) => [e.id || e.className, e.getBoundingClientRect()])
            .filter(([, box]) => box.left < -1 || box.right > innerWidth + 1).map(([name]) => name)"""
        assert await page.evaluate(outside) == []
        session = await person.talks()
        await session.says(ANSWER)
        await expect(page.locator("#caption-avatar")).to_be_visible()
        assert await page.evaluate(outside) == []
        for name in ("Mute the microphone", "Stop", "End"):
            await expect(page.get_by_role("button", name=name, exact=True)).to_be_in_viewport(ratio=1)
        await expect(page.get_by_label("Your message")).to_be_in_viewport(ratio=1)


async def test_words_that_took_no_turn_are_taken_back(browser: Browser) -> None:
    async with person_at(browser, FakeOrchestrator()) as person:
        session = await person.talks()
        await session.user("mm", "u1", final=False)
        await expect(person.page.locator("#live .line.user")).to_have_count(1)
        await session.event(turn_changed={"state": "TURN_STATE_LISTENING"})
        await expect(person.page.locator(".line.user")).to_have_count(0)
        await session.user("Well", "u2", final=False)
        await session.user("Well then", "u3", final=False)
        await expect(person.page.locator(".line.user .text")).to_have_text(["Well then"])


async def test_a_face_that_is_refused_leaves_the_old_one_chosen(browser: Browser) -> None:
    fake = FakeOrchestrator()
    fake.avatars["avatars/mona"] = {"name": "avatars/mona", "display_name": "Mona"}
    async with person_at(browser, fake) as person:
        session = await person.types()
        await person.page.get_by_role("button", name="Change face").click()
        dialog = person.page.get_by_role("dialog", name="Choose a face")
        await dialog.get_by_role("radio", name="Mona").check()
        await session.received("avatar")
        await session.send("error", error="there is no face avatars/mona any more")
        await expect(dialog.get_by_role("radio", name="Ada")).to_be_checked()
        await expect(person.page.locator("#notices")).to_contain_text("no face avatars/mona any more")
