"""Random calls about voices: each is answered, or refused in words; nothing but whole voices is ever kept."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc

from tests.fakes.recordings import speech_like, wav
from tests.fuzz.messages import MessageMaker
from tests.fuzz.parsers import SHORTEST_SENTENCE
from tests.fuzz.serving import serving_tts

CALLS = int(os.environ.get("AVATAR_FUZZ_VOICE_CALLS", "1000"))
_REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_SPEECH = wav(speech_like(3.2))
_NAMES = ("voices/beep", "voices/a", "voices/b", "voices/../a", "voices/")
_HINTS: dict[str, Sequence[Any]] = {
    "recording": [*[_SPEECH] * 8, _SPEECH[:-999], _SPEECH[:44]],
    "voice_id": ["a", "b", "", "", "../a", "a/b"],
    "name": _NAMES,
    "given": [True],
    "statement": ["me"],
    "display_name": ["Ann", "", "", "a\nb"],
    "page_size": [0, 1, 2, 1000],
    "page_token": [""],
    "language_code": ["de", "", "xx"],
}
_METHODS = ("CreateVoice", "CreateVoice", "CreateVoice", "ListVoices", "GetVoice", "RemakeVoice", "DeleteVoice")
_KEPT = {"arrays.npz", "voice.json", "recording"}


@pytest.mark.parametrize("seed", range(2))
async def test_every_call_is_answered_or_refused_in_words(seed: int, tmp_path: Path) -> None:
    rng = Random(seed)
    make = MessageMaker(rng, _HINTS)
    refusals: list[grpc.aio.AioRpcError] = []
    created = answered = 0
    async with serving_tts(tmp_path) as channel:
        stub: Any = tts_pb2_grpc.TextToSpeechServiceStub(channel)
        for _ in range(CALLS // 2):
            name = rng.choice(_METHODS)
            request = make.fill(getattr(tts_pb2, f"{name}Request")(), 0.95)
            try:
                async with asyncio.timeout(20):
                    await getattr(stub, name)(request)
            except grpc.aio.AioRpcError as refusal:
                refusals.append(refusal)
            else:
                answered += 1
                created += name == "CreateVoice"
        voices = (await stub.ListVoices(tts_pb2.ListVoicesRequest())).voices
    assert {refusal.code() for refusal in refusals} <= _REFUSALS
    assert all(len(refusal.details() or "") > SHORTEST_SENTENCE for refusal in refusals)
    assert not any(voice.unusable_reason for voice in voices)
    # The hints work: calls get past the first check.
    assert answered > 10
    assert created > 2
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or (path.parent.parent == tmp_path / "voices" and path.name in _KEPT)
        assert path.parent != tmp_path / "voices" or re.fullmatch("[a-z0-9-]+", path.name)
