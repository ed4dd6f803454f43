"""`avatar talk` writes an MP4 whose lips are on its sound: judged on the decoded file, by landmarks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from avatar.media.v1 import media_pb2
from numpy.typing import NDArray

from services.common.audio import wav_of
from services.common.settings import ServerSettings
from services.common.timing import seconds_of
from services.render.landmarks import FaceLandmarker
from tools.bench.browser import Frame
from tools.bench.lips import apertures, in_step
from tools.cli import talk
from tools.cli.services import channels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

TEXTS = {
    "en": "My mother may be happy. Bob and Papa bought a big purple boat.",
    "de": "Meine Mama backt bunte Bretzeln. Papa holt am Abend den Besen.",
}


def avatar(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "tools.cli", *arguments], capture_output=True, text=True, timeout=150, check=False
    )


def portrait() -> list[str]:
    """A real portrait where there are any; the product's own face on a bare clone."""
    data = os.environ.get("AVATAR_TEST_DATA")
    return ["--portrait", f"{data}/portraits/girl-with-a-pearl-earring.jpg"] if data else []


def decoded(path: Path) -> tuple[list[Frame], NDArray[np.float32], float]:
    """Frames with their time in ms, sound at 48 kHz, frame rate."""
    with av.open(str(path)) as file:
        video, sound = file.streams.video[0], file.streams.audio[0]
        assert (video.codec_context.name, sound.codec_context.name) == ("h264", "aac")
        rate = float(video.average_rate or 0)
        frames, samples = [], []
        for frame in file.decode(video, sound):
            if isinstance(frame, av.VideoFrame):
                frames.append(Frame((frame.time or 0.0) * 1000, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)))
            elif isinstance(frame, av.AudioFrame) and (frame.time or 0.0) >= 0:
                samples.append(frame.to_ndarray()[0])
    return frames, np.concatenate(samples).astype(np.float32), rate


async def spoken(text: str, language: str) -> talk.Speech:
    async with channels(["tts"]) as to:
        return await talk.synthesise(to["tts"], text, language, "")


@pytest.mark.parametrize("language", TEXTS)
def test_a_portrait_talks_in_sync_with_its_lips_closed_for_p_b_and_m(language: str, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    done = avatar("talk", *portrait(), "--text", TEXTS[language], "--language", language, "-o", str(path))
    assert done.returncode == 0, done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]
    frames, sound, rate = decoded(path)
    speech = asyncio.run(spoken(TEXTS[language], language))
    assert rate == 25
    assert len(frames) / rate == pytest.approx(len(sound) / 48_000, abs=0.05)

    # The sound is the speech, where it belongs.
    said = speech.samples.astype(np.float32) / 32768
    envelopes = [np.abs(x[: len(said) // 480 * 480]).reshape(-1, 480).mean(1) for x in (sound, said)]
    lags = range(-10, 11)
    agreement = [float(np.corrcoef(np.roll(envelopes[0], -lag), envelopes[1])[0, 1]) for lag in lags]
    assert max(agreement) > 0.95
    assert abs(lags[int(np.argmax(agreement))]) <= 3

    shown_s = np.array([frame.shown_ms for frame in frames]) / 1000
    aperture = apertures(frames, FaceLandmarker(ServerSettings().data_dir))
    step = in_step(shown_s, aperture, speech.visemes)
    assert step.correlation >= 0.8
    assert abs(step.lag_ms) <= 80

    closed, opened = np.nanmin(aperture), np.nanmax(aperture)
    closures = [v for v in speech.visemes if v.viseme == media_pb2.VISEME_PP]
    assert len(closures) > 5
    for closure in closures:
        middle_s = (seconds_of(closure.start_offset) + seconds_of(closure.end_offset)) / 2
        nearest = aperture[int(np.argmin(np.abs(shown_s - middle_s)))]
        assert nearest - closed < 0.2 * (opened - closed), f"open at {middle_s:.2f} s"


def test_a_recording_moves_the_lips_too(tmp_path: Path) -> None:
    speech = asyncio.run(spoken(TEXTS["en"], "en"))
    recording, path = tmp_path / "speech.wav", tmp_path / "out.mp4"
    recording.write_bytes(wav_of(speech.samples.tobytes(), 48_000))
    done = avatar("talk", "--audio", str(recording), "-o", str(path))
    assert done.returncode == 0, done.stderr
    frames, _, _ = decoded(path)
    shown_s = np.array([frame.shown_ms for frame in frames]) / 1000
    aperture = apertures(frames, FaceLandmarker(ServerSettings().data_dir))
    # Without phonemes the mouth follows the sound: less exactly, and not late.
    step = in_step(shown_s, aperture, speech.visemes)
    assert step.correlation >= 0.5
    assert abs(step.lag_ms) <= 120


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["talk", "--portrait", "nobody.jpg", "--text", "x"], "nobody.jpg cannot be read"),
        (["talk", "--audio", "README.md"], "no recording that can be read"),
        (["talk", "--text", "x", "--language", "xx-not-one"], "xx-not-one"),
        (["talk", "--portrait", "README.md", "--text", "x"], "JPEG, PNG or WebP"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence_and_nothing_is_left(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    done = avatar(*arguments, "-o", str(tmp_path / "out.mp4"))
    assert done.returncode == 1
    assert words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
