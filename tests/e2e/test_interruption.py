"""Speaking over the answer stops it, down to the last sample and pixel, and the transcript ends where the sound did."""

from __future__ import annotations

import base64

import grpc
import numpy as np
import pytest
from avatar.conversation.v1 import conversation_pb2, conversation_pb2_grpc
from numpy.typing import NDArray

from services.render.landmarks import FaceLandmarker
from tests.e2e.conftest import SAMPLE_RATE_HZ, Product
from tools.bench.browser import browsing
from tools.bench.lips import apertures, find_in

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(180)]

ANSWER = "one and two and three and four and five and six and seven and eight and nine and ten and eleven and twelve"
OVER = "no please stop that now and listen to me"
SILENCE_DB = -50.0
STOP_MS, SHUT_MS = 200.0, 150.0


def last_sound_ms(samples: np.ndarray, start_ms: float) -> float:
    """Performance time of the last 5 ms louder than -50 dBFS."""
    size = SAMPLE_RATE_HZ // 200
    levels = np.sqrt((samples[: len(samples) // size * size].reshape(-1, size) ** 2).mean(1))
    loud = np.flatnonzero(20 * np.log10(levels + 1e-9) > SILENCE_DB)
    return start_ms + float(loud[-1] + 1) * 5.0


async def test_speech_over_the_answer_stops_sound_and_lips_at_once(running: Product) -> None:
    await speak_over(running, await running.synthesise(OVER), ANSWER)


async def speak_over(running: Product, speech: NDArray[np.int16], text: str) -> None:
    """Speak over an answer of a few seconds. Args: speech: at 48 kHz; text: of the answer.

    Raises: AssertionError if sound, lips or transcript do not stop as they should.
    """
    async with browsing(scripted_microphone=True) as browser:
        await browser.start(running.address, "?reply=assistant")
        over = speech.astype(np.float32) / 32768
        name = await browser.page.evaluate("capture.conversation")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{running.stack.ports.legacy}") as channel:
            stub = conversation_pb2_grpc.ConversationServiceStub(channel)
            await browser.keep_pictures()
            await stub.Say(conversation_pb2.SayRequest(name=name, text=text, utterance_id="answer"))
            started = await browser.event("utterance_started")
            await browser.wait_until(started["at"] + 1500)
            spoken_at = await browser.page.evaluate(
                "speech => capture.speak(speech)", base64.b64encode(over.tobytes()).decode()
            )
            ended = await browser.event("utterance_ended")
            drawn = len(running.frames)
            await browser.wait_until(ended["at"] + 1500)
            kept = await stub.GetConversation(conversation_pb2.GetConversationRequest(name=name))
        sound = await browser.sound()
        frames = await browser.frames()
        events = await browser.events()

    # The decision is told at once, and silence is heard soon after it.
    decided = next(
        e["at"]
        for e in events
        if e["at"] > spoken_at and e["event"].get("turn_changed", {}).get("state") == "TURN_STATE_USER_SPEAKING"
    )
    silent_ms = last_sound_ms(sound.samples, sound.start_ms)
    assert ended["interrupted"]
    assert silent_ms > spoken_at, "the answer was over before anybody spoke"
    assert silent_ms - decided <= STOP_MS

    # After the acknowledgement nothing of the answer is sent, seen or told.
    acknowledged = ended["at"]
    later = [e["event"] for e in events if e["at"] > acknowledged]
    assert not any("answer" in str(event.get("caption", "")) for event in later)
    assert silent_ms <= acknowledged + STOP_MS
    sent = [frame.utterance_id for frame in running.frames]
    assert "answer" in sent[:drawn]
    assert "answer" not in sent[drawn:]

    # The mouth is shut within 150 ms more, and stays shut.
    aperture = apertures(frames, FaceLandmarker(running.data_dir))
    shown = np.array([frame.shown_ms for frame in frames])
    open_at = np.nanmax(aperture[(shown > started["at"]) & (shown < silent_ms)])
    rest = np.nanmedian(aperture[shown > silent_ms + 600])
    after = aperture[shown > max(silent_ms, decided) + SHUT_MS]
    assert open_at > rest + 0.02
    assert np.nanmax(after) < rest + 0.25 * (open_at - rest)

    # The transcript keeps the words that were heard, and ends where the sound did.
    (item,) = [i for i in kept.transcript if i.utterance_id == "answer"]
    assert item.interrupted
    assert item.text == ended["heard_text"]
    assert text.startswith(item.text)
    assert 0 < len(item.text) < len(text)
    # Where the last sound that was heard stands in what the voice made; the browser may stretch what came before it.
    end = int((silent_ms - sound.start_ms) * SAMPLE_RATE_HZ / 1000)
    tail = sound.samples[end - SAMPLE_RATE_HZ // 2 : end]
    (answer,) = [spoken for spoken in running.spoken if spoken.text == text]
    heard_s = (find_in(answer.sound, tail) + len(tail)) / SAMPLE_RATE_HZ
    assert item.heard_duration.ToMilliseconds() / 1000 == pytest.approx(heard_s, abs=0.15)
