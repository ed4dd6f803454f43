"""Whether the services have the face, the voice and the language that conversations would begin with."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from avatar.render.v1 import render_pb2, render_pb2_grpc
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc

from orchestrator.settings import OrchestratorSettings
from services.common.errors import NotFoundError
from tools.cli.channel import channel_to

_TIMEOUT_S = 5.0


async def check(name: str, port: int, chosen: OrchestratorSettings) -> str:
    """Ask a process that serves for what was chosen of it.

    Returns: a sentence that is worth knowing; empty for none.
    Raises: NotFoundError if there is no such thing, with those that there are; AioRpcError.
    """
    match name:
        case "render":
            await _check_face(port, chosen.avatar)
        case "tts":
            await _check_voice(port, chosen.voice, chosen.language_code)
        case "stt":
            return await _hears(port, chosen.language_code)
    return ""


async def _check_face(port: int, avatar: str) -> None:
    async with channel_to(port) as channel:
        stub = render_pb2_grpc.AvatarServiceStub(channel)
        found = await stub.ListAvatars(render_pb2.ListAvatarsRequest(), timeout=_TIMEOUT_S)
    _refuse_unknown("face", "--avatar", avatar, [one.name for one in found.avatars])


async def _check_voice(port: int, voice: str, language: str) -> None:
    async with channel_to(port) as channel:
        stub = tts_pb2_grpc.TextToSpeechServiceStub(channel)
        able = await stub.ListVoices(tts_pb2.ListVoicesRequest(language_code=language), timeout=_TIMEOUT_S)
        if not able.voices:
            health = await stub.GetHealth(tts_pb2.GetHealthRequest(), timeout=_TIMEOUT_S)
            _refuse_unknown("language", "--language", language, health.language_codes)
    if voice:
        _refuse_unknown("voice", "--voice", voice, [one.name for one in able.voices])
        [chosen] = [one for one in able.voices if one.name == voice][:1]
        if chosen.unusable_reason:
            raise NotFoundError(chosen.unusable_reason)


async def _hears(port: int, language: str) -> str:
    async with channel_to(port) as channel:
        stub = stt_pb2_grpc.SpeechToTextServiceStub(channel)
        heard = (await stub.GetHealth(stt_pb2.GetHealthRequest(), timeout=_TIMEOUT_S)).language_codes
    # As the service looks a tag up: "de-AT" is heard where "de" is.
    parts = language.lower().replace("_", "-").split("-")
    if {"-".join(parts[:end]) for end in range(1, len(parts) + 1)} & {tag.lower() for tag in heard}:
        return ""
    return f"Speech is recognised in {', '.join(heard)} only, not in {language}: people type, and hear the answers."


def _refuse_unknown(kind: str, option: str, wanted: str, known: Sequence[str]) -> None:
    if wanted in known:
        return
    # People write "paul" for voices/paul.
    plain = {name.rpartition("/")[2]: name for name in known}
    near = difflib.get_close_matches(wanted.rpartition("/")[2], plain, n=1)
    meant = f" (did you mean {plain[near[0]]}?)" if near else ""
    raise NotFoundError(f"there is no {kind} {wanted}{meant}; {option} takes one of {', '.join(known)}")
