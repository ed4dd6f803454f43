"""`avatar voice`: makes voices of recordings, lists those that there are, and forgets them."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from avatar.tts.v1 import tts_pb2, tts_pb2_grpc

from services.common.errors import InvalidRequestError
from tools.cli.services import channels

# What the service takes; more need not be read to be refused.
_MAX_FILE_BYTES = 20 * 1024 * 1024


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's part of the command line."""
    voice = commands.add_parser("voice", help="make a voice of a recording; list and delete voices")
    actions = voice.add_subparsers(required=True, dest="action", metavar="action")
    create = actions.add_parser("create", help="make a voice of 3 to 30 s of one person's speech, and print its name")
    create.add_argument("file", type=Path, help="WAV, FLAC, MP3, OGG, WebM or M4A; close to the microphone, no noise")
    create.add_argument("--consent", required=True, help="who agreed to the use of this voice, and how")
    create.add_argument("--name", default="", help="what people call it; without one, the file's name")
    create.add_argument("--id", default="", help="what programs call it, voices/ID; without one, made up")
    create.add_argument(
        "--keep-recording", action="store_true", help="keep the file with the voice, so that it can be remade"
    )
    create.add_argument("--check", action="store_true", help="say how good the recording is, and make nothing")
    listing = actions.add_parser("list", help="list the voices")
    listing.add_argument("--language", default="", help="only those that speak it, such as en or de")
    remake = actions.add_parser("remake", help="make a voice anew of its recording, for another engine")
    remake.add_argument("voice", help="as `avatar voice list` names it, voices/...")
    delete = actions.add_parser("delete", help="delete a voice and all that was kept of it")
    delete.add_argument("voice", help="as `avatar voice list` names it, voices/...")
    voice.set_defaults(run=lambda given: asyncio.run(_run(given)))


async def _run(given: argparse.Namespace) -> None:
    """Raises: InvalidRequestError if a file cannot be read; AioRpcError as the service refuses."""
    request = _wish(given) if given.action == "create" else None
    async with channels(["tts"]) as to:
        tts = tts_pb2_grpc.TextToSpeechServiceStub(to["tts"])
        match given.action:
            case "create":
                assert request is not None
                _print_made(await tts.CreateVoice(request), only_checked=given.check)
            case "list":
                found = await tts.ListVoices(tts_pb2.ListVoicesRequest(language_code=given.language))
                for voice in found.voices:
                    print(_line(voice))
            case "remake":
                print((await tts.RemakeVoice(tts_pb2.RemakeVoiceRequest(name=given.voice))).name)
            case "delete":
                await tts.DeleteVoice(tts_pb2.DeleteVoiceRequest(name=given.voice))


def _wish(given: argparse.Namespace) -> tts_pb2.CreateVoiceRequest:
    try:
        if given.file.stat().st_size > _MAX_FILE_BYTES:
            raise InvalidRequestError(f"{given.file} has more than {_MAX_FILE_BYTES // 1024**2} MiB; send 30 s of it")
        recording = given.file.read_bytes()
    except OSError as bad:
        raise InvalidRequestError(f"{given.file} cannot be read: {bad.strerror}") from bad
    voice = tts_pb2.Voice(
        display_name=given.name or given.file.stem[:80],
        recording=recording,
        consent=tts_pb2.Voice.Consent(given=True, statement=given.consent),
        keep_recording=given.keep_recording,
    )
    return tts_pb2.CreateVoiceRequest(voice=voice, voice_id=given.id, validate_only=given.check)


def _print_made(voice: tts_pb2.Voice, *, only_checked: bool) -> None:
    quality = voice.recording_quality
    if not only_checked:
        print(voice.name)
    else:
        print(
            f"{quality.speech_duration.ToMilliseconds() / 1000:.1f} s of speech at {quality.speech_level_db:.0f} dB, "
            f"{quality.signal_to_noise_db:.0f} dB over the background"
        )
    for warning in quality.warnings:
        print(f"note: {warning}")


def _line(voice: tts_pb2.Voice) -> str:
    kind = "made" if voice.kind == tts_pb2.Voice.KIND_CLONED else "built in"
    reason = f"  ({voice.unusable_reason})" if voice.unusable_reason else ""
    return f"{voice.name:40}{kind:10}{voice.display_name}{reason}"
