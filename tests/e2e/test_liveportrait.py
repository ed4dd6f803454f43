"""The production face in the whole product: narrow networks with random weights on the CPU, the rest real."""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from pathlib import Path

import grpc
import numpy as np
import pytest
from avatar.render.v1 import render_pb2, render_pb2_grpc

from services.common.settings import ServerSettings
from services.render.avatars import _DEFAULT_PORTRAIT
from services.render.engine import MARGIN
from services.render.image_file import decode
from services.render.portrait import PortraitExaminer
from tests.e2e.conftest import product
from tests.e2e.test_conversation import device_saying
from tools.bench.browser import browsing
from tools.bench.lips import place_in

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"),
]

SENTENCE = "hello my friend, i am happy"
# A frame takes 20 ms of a core that it shares with a browser: the service says itself how many it can draw.
MIN_FPS = 8.0
# Whether every sample is right is asked by test_conversation.py, with a face that leaves more of the processor.
MIN_SOUND = 0.8
# Of 255, in the middle of the picture.
MIN_UNLIKE = 25.0
SEED = 1


async def test_a_sentence_is_said_by_a_face_that_liveportrait_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.render.engines.liveportrait.config import NARROW
    from services.render.engines.liveportrait.random_weights import write_official_folder

    write_official_folder(tmp_path / "weights", NARROW, SEED)
    monkeypatch.setenv("RENDER_ENGINE", "liveportrait")
    monkeypatch.setenv("RENDER_DEVICE", "cpu")
    # Ten seconds of frames would be drawn in the time that the browser leaves, which is none.
    monkeypatch.setenv("RENDER_IDLE_LOOPS_MB", "0")
    monkeypatch.setenv("RENDER_LIVEPORTRAIT_DIR", str(tmp_path / "weights"))
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    for made_before in ("models", "compiled"):
        kept = ServerSettings().data_dir / made_before
        kept.mkdir(parents=True, exist_ok=True)
        (data_dir / made_before).symlink_to(kept)
    async with product(data_dir) as running:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{running.stack.native['render']}") as channel:
            render = render_pb2_grpc.RenderServiceStub(channel)
            engine = (await render.GetHealth(render_pb2.GetHealthRequest())).engine
            assert (engine.name, engine.path) == ("liveportrait", "cpu plain")
        device = device_saying(tmp_path, await running.synthesise(SENTENCE, rate=0.9))
        async with browsing(device) as browser:
            await browser.start(running.address)
            await browser.keep_pictures()
            started = await browser.event("utterance_started", timeout_s=40)
            ended = await browser.event("utterance_ended", timeout_s=30)
            await browser.wait_until(ended["at"] + 300)
            frames = await browser.frames()
            sound = await browser.sound()
            assert browser.errors == []
    (spoken,) = running.spoken
    correlation, _ = place_in(sound, spoken.sound)
    assert correlation >= MIN_SOUND, "what was heard is not what the voice said"
    speaking = [frame for frame in frames if started["at"] < frame.shown_ms < ended["at"]]
    assert len(speaking) / (ended["at"] - started["at"]) * 1000 >= MIN_FPS
    # Every picture is another one: the face moves, and none is only sent again.
    moved = [float(np.abs(after.picture.astype(int) - before.picture).mean()) for before, after in pairwise(speaking)]
    assert np.median(moved) > 0.1
    # Random weights draw no face: the mesh, which draws where this engine has no room, would show the portrait.
    image = PortraitExaminer(data_dir).examine(decode(_DEFAULT_PORTRAIT.read_bytes())).portrait.image_rgb
    portrait = image[MARGIN:-MARGIN, MARGIN:-MARGIN].astype(int)
    unlike = [np.abs(frame.picture - portrait)[192:320, 192:320].mean() for frame in speaking]
    assert min(unlike) > MIN_UNLIKE, unlike
