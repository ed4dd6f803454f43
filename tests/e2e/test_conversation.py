"""A person speaks in a browser and a face answers, with its lips on the sound: measured on what was heard and painted.

The same measurements must fail when the sound of another sentence is swapped in, when the picture is frozen and when
it is late; those runs stand here too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.audio import wav_of
from services.common.settings import ServerSettings
from services.render.landmarks import FaceLandmarker
from tests.e2e.conftest import SAMPLE_RATE_HZ, product
from tools.bench.browser import Browser, browsing
from tools.bench.lips import Step, apertures, in_step, place_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SENTENCE = "hello my friend, i am happy to see you, and i want to talk about my father and my mother"
OTHER = "please bring six big boxes of fresh fruit over here"
# The microphone opens before the conversation is there; a person waits for the face as well.
LEAD_S, SILENCE_S = 4.0, 6.0
MIN_SOUND, MIN_LIPS, MAX_LAG_MS, MIN_FPS = 0.95, 0.8, 80.0, 24.0
# Of the height of the face. A mouth at rest moves less than this; an open one is a tenth and more.
REST_APERTURE_SPREAD = 0.012


@dataclass(frozen=True)
class Run:
    """What one conversation gave. Args: speaking: apertures while the answer was heard; silent: after it."""

    heard_text: str
    final_text: str
    spoken_text: str
    sound: float
    lips: Step
    fps: float
    silent: NDArray[np.float64]

    def faults(self) -> list[str]:
        """What is wrong with it, in words; empty when nothing is."""
        found = []
        if self.sound < MIN_SOUND:
            found.append(f"sound: what was heard is not what the voice said (correlation {self.sound:.2f})")
        if self.lips.correlation < MIN_LIPS:
            found.append(f"lips: they do not follow the sound (correlation {self.lips.correlation:.2f})")
        if abs(self.lips.lag_ms) > MAX_LAG_MS:
            found.append(f"lag: the lips are {self.lips.lag_ms:.0f} ms late")
        if self.fps < MIN_FPS:
            found.append(f"fps: only {self.fps:.1f} frames per second")
        if np.nanstd(self.silent) > REST_APERTURE_SPREAD:
            found.append(f"rest: the mouth moves in silence ({np.nanstd(self.silent):.3f})")
        return found


async def microphone(folder: Path, speech: NDArray[np.int16]) -> Path:
    """A WAV file for the fake device: a moment of silence, the speech, and silence."""
    silence = [np.zeros(int(s * SAMPLE_RATE_HZ), np.int16) for s in (LEAD_S, SILENCE_S)]
    path = folder / "microphone.wav"
    path.write_bytes(wav_of(np.concatenate([silence[0], speech, silence[1]]).tobytes(), SAMPLE_RATE_HZ))
    return path


async def converse(
    folder: Path, portrait: Path | None = None, swap_in: str | None = None, render: Mapping[str, Any] | None = None
) -> Run:
    """One sentence into the microphone, its echo out of the face."""
    data_dir = folder / "data"
    data_dir.mkdir()
    # The models are as set-up left them; everything else is this test's own.
    (data_dir / "models").symlink_to(ServerSettings().data_dir / "models")
    async with product(data_dir, swap_in=swap_in, render=render) as running:
        avatar = (
            "avatars/default" if portrait is None else await running.create_avatar(portrait.read_bytes(), "portrait")
        )
        device = await microphone(folder, await running.synthesise(SENTENCE, rate=0.9))
        async with browsing(device) as browser:
            await browser.start(running.address, f"?avatar={avatar}")
            await browser.keep_pictures()
            started = await browser.event("utterance_started", timeout_s=40)
            ended = await browser.event("utterance_ended", timeout_s=30)
            await browser.wait_until(ended["at"] + 1500)
            assert browser.errors == []
            return await _measured(browser, running, started, ended, data_dir)


async def _measured(
    browser: Browser, running: Any, started: dict[str, Any], ended: dict[str, Any], data_dir: Path
) -> Run:
    captions = [e["event"]["caption"] for e in await browser.events() if "caption" in e["event"]]
    finals = [c["text"] for c in captions if c["speaker"] == "SPEAKER_USER" and c.get("is_final")]
    # What the page shows stands in its transcript once it is final.
    shown = (await browser.page.locator("#log li.user .text").first.inner_text()).strip()
    (spoken,) = running.spoken
    correlation, speech_ms = place_in(await browser.sound(), spoken.sound)
    if correlation < MIN_SOUND:
        # Another sentence was heard: lips are then judged from when the answer was announced.
        speech_ms = started["at"]
    frames = await browser.frames()
    shown_s = np.array([frame.shown_ms - speech_ms for frame in frames]) / 1000
    aperture = apertures(frames, FaceLandmarker(data_dir))
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
    )


def default_or(name: str) -> Path | None:
    """A real portrait where there are any; the product's own face on a bare clone."""
    data = os.environ.get("AVATAR_TEST_DATA")
    return Path(data) / "portraits" / name if data else None


async def test_a_sentence_is_heard_understood_and_said_by_a_face_in_step(tmp_path: Path) -> None:
    run = await converse(tmp_path, default_or("mona-lisa.jpg"))
    assert run.faults() == [], run
    assert run.final_text == run.spoken_text
    assert run.heard_text == run.final_text


async def test_the_sound_of_another_sentence_is_noticed(tmp_path: Path) -> None:
    run = await converse(tmp_path, default_or("mona-lisa.jpg"), swap_in=OTHER)
    assert any(fault.startswith("sound:") for fault in run.faults())


async def test_a_frozen_face_is_noticed(tmp_path: Path) -> None:
    run = await converse(tmp_path, default_or("mona-lisa.jpg"), render={"frozen": True})
    assert any(fault.startswith("lips:") for fault in run.faults())


async def test_a_face_that_is_200_ms_late_is_noticed(tmp_path: Path) -> None:
    run = await converse(tmp_path, default_or("mona-lisa.jpg"), render={"late_ms": 200})
    faults = run.faults()
    assert any(fault.startswith("lag:") for fault in faults), faults
    assert run.lips.lag_ms == pytest.approx(200, abs=MAX_LAG_MS)
