"""A conversation in a voice that was made of a recording, with the real voice service at the far end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc

from orchestrator.events import Follower
from orchestrator.replies import replier_named
from orchestrator.session import Session
from orchestrator.session_config import Channels, SessionConfig
from tests.fakes.conversing_services import Services, scripted_services
from tests.fakes.recordings import speech_like, wav
from tests.fakes.speaking_engine import PITCH_HZ, SpeakingEngine, pitch_of
from tests.orchestrator.test_session import Listener, event
from tests.services.tts.serving import channel_to

TIMEOUT_S = 20.0
# A second of one tone.
WORD = "beeeeeeeep"


@contextlib.asynccontextmanager
async def conversing(services: Services, voice: str) -> AsyncIterator[tuple[Session, Follower, Listener]]:
    """A conversation in a voice, with a browser as far as its session sees one."""
    config = SessionConfig("avatars/default", voice, "en", "echo", frame_rate_hz=25, preset="ultrafast")
    session = Session(config, Channels(services.stt, services.tts, services.render), replier_named("echo", "en"))
    listener = Listener(session)
    for asked in (session.peer.connected, session.peer.speech_asked, session.peer.face_asked):
        asked.set()
    with session.events.follow() as follower:
        async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(session.run()), tasks.create_task(listener.run())]
            yield session, follower, listener
            for task in running:
                task.cancel()


async def pitch_heard(session: Session, follower: Follower, listener: Listener) -> float:
    """Of a word that the avatar says now, in hertz."""
    listener.heard.clear()
    session.say(WORD, "", "")
    ended = await event(follower, "utterance_ended")
    assert ended.heard_text == WORD
    samples = np.asarray(np.concatenate(listener.heard) / 32_768, np.float32)
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    return pitch_of(samples[loud[0] : loud[0] + 40_000], 48_000)


async def test_a_voice_of_a_recording_is_heard_until_it_is_deleted_and_then_the_default_one() -> None:
    async with channel_to(SpeakingEngine(2, clones_as="fake-1")) as tts, scripted_services() as scripted:
        stub = tts_pb2_grpc.TextToSpeechServiceStub(tts)
        consent = tts_pb2.Voice.Consent(given=True, statement="It is mine")
        voice = tts_pb2.Voice(recording=wav(speech_like(5, pitch_hz=220)), consent=consent)
        await stub.CreateVoice(tts_pb2.CreateVoiceRequest(voice_id="ada", voice=voice))
        async with conversing(replace(scripted, tts=tts), "voices/ada") as conversation:
            for _ in range(2):
                assert await pitch_heard(*conversation) == pytest.approx(220, abs=3)
            await stub.DeleteVoice(tts_pb2.DeleteVoiceRequest(name="voices/ada"))
            for _ in range(2):
                assert await pitch_heard(*conversation) == pytest.approx(PITCH_HZ, abs=3)
