"""A person speaks in a browser and a face answers, with its lips on the sound: measured on what was heard and painted.

The same measurements must fail when the sound of another sentence is swapped in, when the picture is frozen and when
it is late; those runs stand here too. They are typed, because what is spoilt comes after the hearing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from services.common.audio import wav_of
from services.render.landmarks import FaceLandmarker
from tests.e2e.conftest import SAMPLE_RATE_HZ, Product
from tests.e2e.taps import Spoilt, Spoken
from tools.bench.browser import Browser, browsing
from tools.bench.lips import Step, apertures, in_step, place_in

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(180)]

SENTENCE = "hello my friend, i am happy to see you, and i want to talk about my father and my mother"
OTHER = "please bring six big boxes of fresh fruit over here"
# The microphone opens before the conversation is there; a person waits for the face as well.
LEAD_S, SILENCE_S = 4.0, 6.0
MIN_SOUND, MIN_LIPS, MAX_LAG_MS, MIN_FPS = 0.95, 0.8, 80.0, 24.0
# Of the height of the face. A mouth at rest moves less than this; an open one is a tenth and more.
REST_APERTURE_SPREAD = 0.012


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def avatar(running: Product) -> str:
    """A real portrait where there are any; the product's own face on a bare clone."""
    portraits = os.environ.get("AVATAR_TEST_DATA")
    if portraits is None:
        return "avatars/default"
    return await running.create_avatar((Path(portraits) / "portraits/mona-lisa.jpg").read_bytes(), "portrait")


@pytest.fixture(scope="module")
def landmarker(running: Product) -> FaceLandmarker:
    return FaceLandmarker(running.data_dir)


@pytest.fixture
def spoilt(running: Product) -> Iterator[Spoilt]:
    """What a test spoils; whole again after it."""
    yield running.spoilt
    running.spoilt.set_back()


@dataclass(frozen=True)
class Asked:
    """What a conversation has to reach. Args: sound: correlation from which what was heard is the answer."""

    sound: float = MIN_SOUND
    fps: float = MIN_FPS


@dataclass(frozen=True)
class Run:
    """What one conversation gave. Args: silent: apertures after the answer was heard."""

    heard_text: str
    final_text: str
    spoken_text: str
    sound: float
    lips: Step
    fps: float
    silent: NDArray[np.float64]
    asked: Asked

    def faults(self) -> dict[str, str]:
        """What is wrong with it, in words; empty when nothing is."""
        found = {}
        if self.sound < self.asked.sound:
            found["sound"] = f"what was heard is not what the voice said (correlation {self.sound:.2f})"
        if self.lips.correlation < MIN_LIPS:
            found["lips"] = f"they do not follow the sound (correlation {self.lips.correlation:.2f})"
        if abs(self.lips.lag_ms) > MAX_LAG_MS:
            found["lag"] = f"the lips are {self.lips.lag_ms:.0f} ms late"
        if self.fps < self.asked.fps:
            found["fps"] = f"only {self.fps:.1f} frames per second"
        if np.nanstd(self.silent) > REST_APERTURE_SPREAD:
            found["rest"] = f"the mouth moves in silence ({np.nanstd(self.silent):.3f})"
        return found


def device_saying(folder: Path, speech: NDArray[np.int16]) -> Path:
    """A WAV file for the fake device: a moment of silence, the speech, and silence."""
    silence = [np.zeros(int(s * SAMPLE_RATE_HZ), np.int16) for s in (LEAD_S, SILENCE_S)]
    path = folder / "microphone.wav"
    path.write_bytes(wav_of(np.concatenate([silence[0], speech, silence[1]]).tobytes(), SAMPLE_RATE_HZ))
    return path


async def converse(
    running: Product,
    avatar: str,
    landmarker: FaceLandmarker,
    microphone: Path | None = None,
    asked: Asked = Asked(),
) -> Run:
    """One sentence, its echo out of the face.

    Args: microphone: has the sentence; without one it is typed.
    """
    before = len(running.spoken)
    async with browsing(microphone, scripted_microphone=microphone is None) as browser:
        await browser.start(running.address, f"?avatar={avatar}")
        if microphone is None:
            # Sound and picture have settled after two seconds; the browser notes them four times in each.
            await browser.page.wait_for_function("capture.skew.length > 8")
            message = {"type": "text", "data": {"text": SENTENCE}}
            await browser.page.evaluate("message => capture.socket.send(message)", json.dumps(message))
        else:
            # The person begins, then it is the avatar's turn.
            await browser.event("turn_changed", 2, timeout_s=40)
        await browser.keep_pictures()
        started = await browser.event("utterance_started", timeout_s=40)
        ended = await browser.event("utterance_ended", timeout_s=30)
        await browser.wait_until(ended["at"] + 1500)
        assert browser.errors == []
        (spoken,) = running.spoken[before:]
        return await _measured(browser, spoken, started["at"], landmarker, asked)


async def _measured(
    browser: Browser, spoken: Spoken, started_ms: float, landmarker: FaceLandmarker, asked: Asked
) -> Run:
    captions = [e["event"]["caption"] for e in await browser.events() if "caption" in e["event"]]
    finals = [c["text"] for c in captions if c["speaker"] == "SPEAKER_USER" and c.get("is_final")]
    # What the page shows stands in its transcript once it is final.
    shown = (await browser.page.locator("#log li.user .text").first.inner_text()).strip()
    correlation, speech_ms = place_in(await browser.sound(), spoken.sound)
    if correlation < asked.sound:
        # Another sentence was heard: lips are then judged from when the answer was announced.
        speech_ms = started_ms
    frames = await browser.frames()
    shown_s = np.array([frame.shown_ms - speech_ms for frame in frames]) / 1000
    aperture = apertures(frames, landmarker)
    speech_s = len(spoken.sound) / SAMPLE_RATE_HZ
    speaking = (shown_s > 0) & (shown_s < speech_s)
    seconds = shown_s[speaking][-1] - shown_s[speaking][0]
    return Run(
        heard_text=shown,
        final_text=finals[0],
        spoken_text=spoken.text,
        sound=correlation,
        lips=in_step(shown_s, aperture, spoken.visemes),
        fps=float((np.count_nonzero(speaking) - 1) / seconds),
        silent=aperture[shown_s > speech_s + 0.4],
        asked=asked,
    )


async def test_a_sentence_is_heard_understood_and_said_by_a_face_in_step(
    running: Product, avatar: str, landmarker: FaceLandmarker, tmp_path: Path
) -> None:
    device = device_saying(tmp_path, await running.synthesise(SENTENCE, rate=0.9))
    run = await converse(running, avatar, landmarker, device)
    assert run.faults() == {}, run
    assert run.final_text == run.spoken_text
    assert run.heard_text == run.final_text


async def test_the_sound_of_another_sentence_is_noticed(
    running: Product, avatar: str, landmarker: FaceLandmarker, spoilt: Spoilt
) -> None:
    spoilt.swap_in = await running.synthesise(OTHER)
    assert "sound" in (await converse(running, avatar, landmarker)).faults()


async def test_a_frozen_face_is_noticed(
    running: Product, avatar: str, landmarker: FaceLandmarker, spoilt: Spoilt
) -> None:
    spoilt.is_frozen = True
    faults = (await converse(running, avatar, landmarker)).faults()
    assert "lips" in faults
    assert "sound" not in faults


async def test_a_face_that_is_200_ms_late_is_noticed(
    running: Product, avatar: str, landmarker: FaceLandmarker, spoilt: Spoilt
) -> None:
    spoilt.late_ms = 200
    run = await converse(running, avatar, landmarker)
    assert "lag" in run.faults()
    # They follow, as the sound does what it should.
    assert not run.faults().keys() & {"sound", "lips"}, run
    assert run.lips.lag_ms == pytest.approx(200, abs=MAX_LAG_MS)
