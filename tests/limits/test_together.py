"""All of it at once, while somebody talks with the face: the talk goes on as if nothing were."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from avatar.conversation.v1 import conversation_pb2, conversation_pb2_grpc

from tests.fakes.browser import Browser, Socket, browser, connections_settled
from tests.limits.world import World
from tests.stack import ROOT

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow, pytest.mark.timeout(240)]
SENTENCE = "This is a long story about a house by the sea, and it goes on while others knock at the door."
STORY = " ".join([SENTENCE] * 8)
SAMPLE_RATE_HZ, FRAME_TICKS = 48_000, 960
# On two cores that strangers, this client and whoever else is there keep busy; with cores to spare nothing is lost.
MOST_LOST, LONGEST_HOLE_S, LONGEST_GAP_S, LEAST_FPS = 0.03, 0.5, 1.0, 8.0


@dataclass
class Watched:
    """When each frame of a track came, in seconds, and when it is to be played, in its own ticks."""

    came_s: list[float] = field(default_factory=list)
    pts: list[int] = field(default_factory=list)
    is_loud: asyncio.Event = field(default_factory=asyncio.Event)

    async def watch(self, track: Any) -> None:
        while True:
            frame: Any = await track.recv()
            self.came_s.append(time.monotonic())
            self.pts.append(frame.pts)
            if track.kind == "audio" and np.abs(frame.to_ndarray().astype(int)).max() > 1000:
                self.is_loud.set()


@contextlib.asynccontextmanager
async def watching(person: Browser) -> AsyncIterator[dict[str, Watched]]:
    watched = {kind: Watched() for kind in person.tracks}
    tasks = [asyncio.create_task(watched[kind].watch(track)) for kind, track in person.tracks.items()]
    try:
        yield watched
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def attacked(world: World) -> None:
    """Return once another process has sent everything and was refused as it should be."""
    given = [json.dumps(dataclasses.asdict(world.ports)), str(world.stack.edge.certificate)]
    attack = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.limits.attack", *given, cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, errors = await attack.communicate()
    finally:
        if attack.returncode is None:
            attack.kill()
    assert attack.returncode == 0, errors.decode()[-3000:]


async def say(world: World, conversation: str, text: str) -> None:
    stub = conversation_pb2_grpc.ConversationServiceStub(world.channels["legacy"])
    await stub.Say(conversation_pb2.SayRequest(name=conversation, text=text))


async def test_a_conversation_goes_on_while_everything_that_is_refused_is_sent(world: World) -> None:
    url = world.url("page", "/session").replace("https", "wss")
    async with world.http.ws_connect(url) as connection, browser(microphone=True, face=True) as person:
        socket = Socket(connection)
        conversation = (await socket.next("config"))["data"]["conversation"]
        await socket.answer_to(person.peer)
        await person.connected.wait()
        async with watching(person) as watched:
            await say(world, conversation, STORY)
            await watched["audio"].is_loud.wait()
            began_s = time.monotonic()
            await attacked(world)
            attacked_s = time.monotonic() - began_s
            told = await socket.event("utterance_ended")
            assert told["heard_text"] == STORY
            assert not told.get("interrupted")
            await say(world, conversation, "And that was all.")
            assert (await socket.event("utterance_ended"))["heard_text"] == "And that was all."
    await connections_settled()
    sound, picture = watched["audio"], watched["video"]
    steps = np.diff(sound.pts)
    assert 1 - len(steps) * FRAME_TICKS / steps.sum() < MOST_LOST
    assert steps.max() / SAMPLE_RATE_HZ < LONGEST_HOLE_S
    assert np.diff(sound.came_s).max() < LONGEST_GAP_S
    shown = [at for at in picture.came_s if began_s <= at <= began_s + attacked_s]
    assert len(shown) / attacked_s > LEAST_FPS
