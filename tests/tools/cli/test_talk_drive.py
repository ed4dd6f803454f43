"""`avatar talk --drive`: a face moves like a driving file, with its sound or with speech of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import av
import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.audio import wav_of
from services.common.errors import InvalidRequestError, UnsupportedError
from services.common.settings import ServerSettings
from services.render.engine import Driving
from services.render.engines.liveportrait.clip import clip_of_npz
from services.render.image_file import decode
from tests.fakes.drawing_driven import Clip, DrivenEngine
from tests.fakes.drawing_flat import FlatEngine
from tests.fakes.motion import motion_clip, template_file
from tests.fakes.videos import encoded, moved
from tests.services.render.face_service import serving
from tools.cli import talk

DEFAULT = Path("services/render/portraits/default.jpg")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory of its own, with the models that are installed."""
    (tmp_path / "models").symlink_to(ServerSettings().data_dir / "models")
    return tmp_path


def moments(engine: DrivenEngine) -> list[Driving | None]:
    """What drove each frame since the service was warmed up."""
    return [state.driven[0] if state.driven else None for state in engine.states]


async def film(
    data_dir: Path, engine: DrivenEngine, file: bytes, speech: talk.Speech | None
) -> tuple[int, talk.Speech]:
    """Draw it. Returns: how many frames there were, and what is to be heard."""
    path = data_dir / "driving"
    path.write_bytes(file)
    async with serving(data_dir, engine) as service:
        engine.states.clear()
        async with talk.Drawing.of(service.render, "avatars/default") as drawing:
            said, heard, kept = await drawing.driven(file, path, speech)
            assert kept == Clip(1.0).to_file()
            async with aclosing(drawing.frames(said)) as pictures:
                return len([picture async for picture in pictures]), heard


async def test_a_film_lasts_as_long_as_the_motion_and_shows_all_of_it(data_dir: Path) -> None:
    engine = DrivenEngine()
    count, heard = await film(data_dir, engine, Clip(1.0).to_file(), None)
    # A second, and the tail in which the face comes to rest.
    assert count == 35
    places = [driving.offset_s for driving in moments(engine)[:25] if driving is not None]
    assert places == pytest.approx([k / 25 for k in range(25)])
    assert not any(driving.speech for driving in moments(engine) if driving is not None)
    assert len(heard.samples) == talk.SAMPLE_RATE_HZ
    assert not heard.samples.any()


async def test_speech_lasts_as_it_does_and_moves_the_lips(data_dir: Path) -> None:
    engine = DrivenEngine()
    t = np.arange(2 * talk.SAMPLE_RATE_HZ) / talk.SAMPLE_RATE_HZ
    voice = talk.Speech((8000 * np.sin(2 * np.pi * 150 * t) + 6000 * np.sin(2 * np.pi * 700 * t)).astype(np.int16))
    count, heard = await film(data_dir, engine, Clip(1.0).to_file(), voice)
    assert count == 60
    assert heard is voice
    assert max(driving.speech for driving in moments(engine) if driving is not None) == 1.0


async def test_a_large_file_goes_in_pieces(data_dir: Path) -> None:
    count, _ = await film(data_dir, DrivenEngine(), Clip(1.0).to_file() + bytes(3 * 1024 * 1024), None)
    assert count == 35


async def test_an_engine_that_cannot_is_not_sent_the_file(data_dir: Path) -> None:
    async with (
        serving(data_dir, FlatEngine()) as service,
        talk.Drawing.of(service.render, "avatars/default") as drawing,
    ):
        with pytest.raises(UnsupportedError, match=r"flat draws it \(a test asked for it\); liveportrait"):
            await drawing.drive(bytes(20 * 1024 * 1024))


async def test_a_file_that_is_no_motion_is_refused_in_the_engines_words(data_dir: Path) -> None:
    async with (
        serving(data_dir, DrivenEngine()) as service,
        talk.Drawing.of(service.render, "avatars/default") as drawing,
    ):
        with pytest.raises(InvalidRequestError, match="is empty"):
            await drawing.drive(b"")
        with pytest.raises(grpc.aio.AioRpcError, match="a clip begins with CLIP"):
            await drawing.drive(b"something else")


def test_the_sound_of_a_driving_file_is_cut_or_filled(tmp_path: Path) -> None:
    recording = tmp_path / "sound.wav"
    recording.write_bytes(wav_of(np.full(24_000, 1000, np.int16).tobytes(), 48_000))
    longer, shorter = talk.sound_of(recording, 48_000), talk.sound_of(recording, 10_000)
    assert (len(longer), len(shorter)) == (48_000, 10_000)
    assert longer[:20_000].min() > 900
    assert not longer[24_100:].any()
    (tmp_path / "template.pkl").write_bytes(template_file(motion_clip(3)))
    assert not talk.sound_of(tmp_path / "template.pkl", 100).any()


def avatar(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "tools.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        env=os.environ | env,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say what the face is to do: --text, --audio, --drive"),
        (["--text", "x", "--keep-motion", "x.npz"], "name one with --drive"),
        (["--drive", "nothing.mp4"], "nothing.mp4 cannot be read"),
        (["--drive", "README.md", "--keep-motion", "x.pkl"], "what is written is NPZ: write x.npz"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_starts(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = avatar("talk", *arguments, "-o", str(tmp_path / "out.mp4"))
    assert done.returncode == 1
    assert words in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_embedded_face_cannot_and_says_what_can(tmp_path: Path) -> None:
    done = avatar("talk", "--drive", "README.md", "-o", str(tmp_path / "out.mp4"), RENDER_ENGINE="mesh")
    assert done.returncode == 1
    assert "cannot move this face: mesh draws it (the settings ask for it)" in done.stderr.splitlines()[-1]
    assert "liveportrait reads motion" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def with_sound(video: bytes, folder: Path) -> Path:
    """A video file whose sound is a tone; both last as the pictures do."""
    path, silent = folder / "driving.mkv", folder / "silent.mp4"
    silent.write_bytes(video)
    with av.open(str(silent)) as pictures, av.open(str(path), "w", format="matroska") as out:
        source = pictures.streams.video[0]
        shown, sound = out.add_stream_from_template(source), out.add_stream("pcm_s16le", rate=48_000, layout="mono")
        for packet in pictures.demux(source):
            if packet.dts is not None:
                packet.stream = shown
                out.mux(packet)
        tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
        frame.sample_rate = 48_000
        out.mux([*sound.encode(frame), *sound.encode(None)])
    return path


def decoded(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Pictures, and sound from -1 to 1 at 48 kHz."""
    with av.open(str(path)) as file:
        pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    with av.open(str(path)) as file:
        sound = [frame.to_ndarray()[0] for frame in file.decode(audio=0)]
    return np.stack(pictures).astype(np.uint8), np.concatenate(sound).astype(np.float32)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_a_video_moves_a_face_that_liveportrait_draws_and_its_motion_is_kept(tmp_path: Path) -> None:
    from services.render.engines.liveportrait.config import NARROW
    from services.render.engines.liveportrait.random_weights import write_official_folder

    write_official_folder(tmp_path / "weights", NARROW, 1)
    engine = {
        "RENDER_ENGINE": "liveportrait",
        "RENDER_DEVICE": "cpu",
        "RENDER_LIVEPORTRAIT_DIR": str(tmp_path / "weights"),
    }
    picture = decode(DEFAULT.read_bytes())
    video = with_sound(encoded([moved(picture, roll=12 * np.sin(k / 4)) for k in range(25)]), tmp_path)
    out, kept = tmp_path / "out.mp4", tmp_path / "kept.npz"
    done = avatar("talk", "--drive", str(video), "--keep-motion", str(kept), "-o", str(out), **engine)
    assert done.returncode == 0, done.stderr
    pictures, sound = decoded(out)
    assert len(pictures) == 35
    # The video's own tone, and silence behind it.
    spectrum = np.abs(np.fft.rfft(sound[4_800:43_200]))
    assert np.argmax(spectrum) / (43_200 - 4_800) * 48_000 == pytest.approx(440, abs=3)
    assert np.abs(sound[-9_600:]).max() < 0.01
    assert clip_of_npz(kept.read_bytes()).frame_count == 25
    moves = np.abs(np.diff(pictures[:25].astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert np.median(moves) > 0.05

    again = tmp_path / "again.mp4"
    done = avatar("talk", "--drive", str(kept), "-o", str(again), **engine)
    assert done.returncode == 0, done.stderr
    repeated, silence = decoded(again)
    assert np.abs(silence).max() < 0.01
    assert np.abs(repeated.astype(int) - pictures).mean() < 1.0
