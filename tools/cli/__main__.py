"""The command `avatar`: reads the command line and says in words what went wrong."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import grpc
from avatar.conversation.v1 import conversation_pb2, conversation_pb2_grpc
from avatar.render.v1 import render_pb2, render_pb2_grpc
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc
from google.protobuf.json_format import MessageToJson
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from services.common import settings_file
from services.common.errors import AvatarError, InvalidRequestError, NotReadyError
from services.common.settings_file import SettingsError
from tools.bench.__main__ import BENCHES
from tools.bench.__main__ import run as run_bench
from tools.cli import lan, models, stack, state, talk, verify, voice
from tools.cli.announce import announce_token
from tools.cli.services import channels, public_channel
from tools.cli.settings import print_all, read_all
from tools.cli.supervisor import StackError

MAX_FILE_BYTES = 64 * 1024 * 1024
_VOICE = "the voice, such as voices/paul; a wrong one is answered with those that there are"
_LANGUAGE = "the language, such as en or de; without one, English, or the voice's own"
# As a shell tells of a program that wrote to a reader who has gone: 128 and the number of SIGPIPE.
_READER_GONE = 141


def _read(path: Path) -> bytes:
    """Raises: InvalidRequestError if the file cannot be read or is too large to be sent."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InvalidRequestError(f"{path} has more than {MAX_FILE_BYTES // 1024**2} MiB")
        return path.read_bytes()
    except OSError as bad:
        raise InvalidRequestError(f"{path} cannot be read: {bad.strerror}") from bad


def _to_write(path: Path, suffix: str) -> Path:
    """Where a result goes, checked before it is made.

    Raises: InvalidRequestError if the name says another format than the file will have, or its folder is not there.
    """
    if path.suffix.lower() not in ("", suffix):
        right = path.with_suffix(suffix)
        raise InvalidRequestError(f"what is written is {suffix[1:].upper()}: write {right}, not {path}")
    if not path.parent.is_dir():
        raise InvalidRequestError(f"{path} cannot be written: there is no folder {path.parent}")
    return path


def _up(given: argparse.Namespace) -> None:
    wanted = {"REPLY": given.reply, "AVATAR": given.avatar, "VOICE": given.voice, "LANGUAGE_CODE": given.language}
    env = {f"ORCHESTRATOR_{name}": value for name, value in wanted.items() if value}
    stack.up(env | ({"NETWORK_LAN": "true"} if given.lan else {}), detach=given.detach, may_ask=True)


def _status(given: argparse.Namespace) -> None:
    found = asyncio.run(stack.status())
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        states, engines = found["processes"], found["engines"]
        assert isinstance(states, dict)
        assert isinstance(engines, dict)
        if found["running"]:
            for name, state in states.items():
                print(f"{name:14}{state:14}{engines.get(name, '')}".rstrip())
            print(f"address       {found['address']}\nlogs          {found['logs']}")
        else:
            print("no avatar runs; start one with `avatar up`")
            if "serving" in states.values():
                print("(something serves at its ports: an avatar with another data directory?)")
        if found["asks_for_token"]:
            print("token         required on every port; `avatar token` prints it")
    if not found["ready"]:
        sys.exit(1)


def _doctor(given: argparse.Namespace) -> None:
    from tools.cli import doctor

    if not doctor.run(as_json=given.json, coloured=sys.stdout.isatty()):
        sys.exit(1)


def _token(given: argparse.Namespace) -> None:
    settings = read_all()
    token = lan.new_token(settings) if given.new else lan.read_token(settings)
    if given.new and stack.restart_envoy(settings):
        print(
            "the running avatar asks for the new token from now on; whoever had the old one must come in anew",
            file=sys.stderr,
        )
    if given.plain or not sys.stdout.isatty():
        print(token)
    else:
        announce_token(settings)


async def _say(given: argparse.Namespace) -> None:
    if given.out is None:
        await _say_in_conversation(given.text)
        return
    out = _to_write(given.out, ".wav")
    async with channels(["tts"]) as to:
        config = tts_pb2.SynthesisConfig(voice=given.voice, language_code=given.language, speaking_rate=given.rate)
        request = tts_pb2.SynthesizeRequest(text=given.text, config=config)
        answer = await tts_pb2_grpc.TextToSpeechServiceStub(to["tts"]).Synthesize(request)
    out.write_bytes(answer.audio)
    print(f"{out}: {answer.audio_duration.ToMilliseconds() / 1000:.2f} s, {answer.config.voice}")


async def _say_in_conversation(text: str) -> None:
    settings = read_all()
    if state.running(settings) is None:
        raise InvalidRequestError(
            "no avatar runs; start one with `avatar up` and open its page, or write a file with -o speech.wav"
        )
    async with public_channel(settings, "legacy") as channel:
        stub = conversation_pb2_grpc.ConversationServiceStub(channel)
        found = await stub.ListConversations(conversation_pb2.ListConversationsRequest(), timeout=5)
        running = [c for c in found.conversations if not c.HasField("end_time")]
        if not running:
            raise InvalidRequestError("no conversation runs; open the page, or write a file with -o speech.wav")
        await stub.Say(conversation_pb2.SayRequest(name=running[0].name, text=text), timeout=5)


async def _transcribe(given: argparse.Namespace) -> None:
    audio = _read(given.file)
    async with channels(["stt"]) as to:
        config = stt_pb2.RecognitionConfig(language_code=given.language)
        request = stt_pb2.RecognizeRequest(audio=audio, config=config)
        answer = await stt_pb2_grpc.SpeechToTextServiceStub(to["stt"]).Recognize(request)
    print(MessageToJson(answer, preserving_proto_field_name=True) if given.json else answer.transcript)


async def _portrait(given: argparse.Namespace) -> None:
    async with channels(["render"]) as to:
        stub = render_pb2_grpc.AvatarServiceStub(to["render"])
        match given.action:
            case "add":
                avatar = render_pb2.Avatar(
                    display_name=given.name or given.file.stem[:80], portrait=_read(given.file), consent=given.consent
                )
                request = render_pb2.CreateAvatarRequest(
                    avatar=avatar, avatar_id=given.id, confirm_doubtful_face=given.confirm
                )
                made = await stub.CreateAvatar(request)
                print(made.name)
                for note in (*made.doubts, *made.warnings):
                    print(f"note: {note}")
            case "list":
                for avatar in (await stub.ListAvatars(render_pb2.ListAvatarsRequest())).avatars:
                    print(f"{avatar.name:40}{avatar.display_name}")
            case "delete":
                await stub.DeleteAvatar(render_pb2.DeleteAvatarRequest(name=given.avatar))


async def _talk(given: argparse.Namespace) -> None:
    out = _to_write(given.out, ".mp4")
    if given.text is None and given.audio is None and given.drive is None:
        raise InvalidRequestError(
            "say what the face is to do: --text, --audio, --drive, or --drive with one of the others"
        )
    keep = None if given.keep_motion is None else _to_write(given.keep_motion, ".npz")
    if keep is not None and given.drive is None:
        raise InvalidRequestError("--keep-motion keeps the motion of a driving file; name one with --drive")
    motion = None if given.drive is None else _read(given.drive)
    portrait = None if given.portrait is None else _read(given.portrait)
    if portrait is not None and not given.consent:
        print("by using this portrait you say that whoever it shows agrees; --consent says who, and how")
    consent = given.consent or f"stated by {getpass.getuser()} on the command line of avatar talk"
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as bar:
        task = bar.add_task("speaking", total=1.0)
        async with channels(["render"] if given.text is None else ["render", "tts"]) as to, AsyncExitStack() as held:
            speech: talk.Speech | None = None
            if given.text is not None:
                speech = await talk.synthesise(to["tts"], given.text, given.language, given.voice)
            elif given.audio is not None:
                speech = talk.read_recording(given.audio)
            avatar = await held.enter_async_context(
                talk.avatar_of(to["render"], portrait, out.stem, consent, confirmed=given.confirm)
            )
            drawing = await held.enter_async_context(
                talk.Drawing.of(render_pb2_grpc.RenderServiceStub(to["render"]), avatar)
            )
            said = heard = speech
            if motion is not None:
                bar.update(task, description="watching")
                said, heard, kept = await drawing.driven(motion, given.drive, speech)
                if keep is not None:
                    keep.write_bytes(kept)
            assert said is not None
            assert heard is not None
            bar.update(task, description="drawing")
            pictures = await held.enter_async_context(aclosing(drawing.frames(said)))
            count = await talk.write_mp4(out, heard, pictures, lambda share: bar.update(task, completed=share))
    print(f"{out}: {count} frames at {talk.FRAME_RATE_HZ} fps")


def _bench(given: argparse.Namespace) -> None:
    try:
        run_bench(given.what, given.rest)
    except ModuleNotFoundError as missing:
        raise NotReadyError(f"this bench needs {missing.name}; `tools/setup.sh --test` installs it") from missing


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="avatar", description="A real-time talking avatar on your own machine.")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings file, instead of AVATAR_CONFIG or the usual place"
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    up = commands.add_parser("up", help="start everything and print the address of the page")
    up.add_argument("--detach", action="store_true", help="run in the background; `avatar down` ends it")
    up.add_argument("--lan", action="store_true", help="let other devices on the network in, with a token")
    up.add_argument(
        "--reply",
        choices=("demo", "echo", "assistant"),
        help="who answers: a short script (demo, the default), an echo, or a program of yours",
    )
    up.add_argument(
        "--avatar", metavar="NAME", help="the face, such as avatars/default; `avatar portrait list` names all"
    )
    up.add_argument(
        "--voice",
        metavar="NAME",
        help="the voice, such as voices/paul; a wrong one is answered with those that there are",
    )
    up.add_argument("--language", metavar="TAG", help="the language of the voice, such as en or de")
    up.set_defaults(run=_up)
    commands.add_parser("down", help="end everything that `up` started").set_defaults(run=lambda _: stack.down())
    status = commands.add_parser("status", help="show what is running; exits with 1 if anything is not")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(run=_status)

    checkup = commands.add_parser(
        "doctor", help="check this machine for problems and say what helps; exits with 1 if there are any"
    )
    checkup.add_argument("--json", action="store_true", help="for programs")
    checkup.set_defaults(run=_doctor)

    token = commands.add_parser("token", help="show the address and token for other devices, after `up --lan`")
    token.add_argument("--new", action="store_true", help="replace the token, which locks out whoever has the old one")
    token.add_argument("--plain", action="store_true", help="the token alone, for programs")
    token.set_defaults(run=_token)
    commands.add_parser("settings", help="list every setting, its value and where that comes from").set_defaults(
        run=lambda _: print_all()
    )

    say = commands.add_parser("say", help="speak a text in the running conversation, or into a WAV file")
    say.add_argument("text", help="what to say")
    say.add_argument("-o", "--out", type=Path, help="WAV file to write; the options below are for it alone")
    say.add_argument("--voice", default="", help=_VOICE)
    say.add_argument("--language", default="", help=_LANGUAGE)
    say.add_argument("--rate", type=float, default=1.0, help="speed, from 0.5 to 2; 1 is normal")
    say.set_defaults(run=lambda given: asyncio.run(_say(given)))

    transcribe = commands.add_parser("transcribe", help="print what is said in a recording")
    transcribe.add_argument("file", type=Path, help="WAV, FLAC, MP3, OGG, WebM or M4A")
    transcribe.add_argument("--language", default="", help="the language, such as en or de")
    transcribe.add_argument("--json", action="store_true", help="with word times")
    transcribe.set_defaults(run=lambda given: asyncio.run(_transcribe(given)))

    portrait = commands.add_parser("portrait", help="make, list and delete faces")
    actions = portrait.add_subparsers(required=True, dest="action", metavar="action")
    add = actions.add_parser("add", help="make a face and print its name")
    add.add_argument("file", type=Path, help="JPEG, PNG or WebP with one face to the front")
    add.add_argument("--consent", required=True, help="who agreed to the use of this face, and how")
    add.add_argument("--name", default="", help="what people call it; without one, the file's name")
    add.add_argument("--id", default="", help="what programs call it, avatars/ID; without one, made up")
    add.add_argument("--confirm", action="store_true", help="take it although it may not be a person's face")
    actions.add_parser("list", help="list the faces")
    delete = actions.add_parser("delete", help="delete a face and its portrait")
    delete.add_argument("avatar", help="as `avatar portrait list` names it, avatars/...")
    portrait.set_defaults(run=lambda given: asyncio.run(_portrait(given)))

    talking = commands.add_parser(
        "talk", help="make a video of a face that says something, or moves like another video"
    )
    talking.add_argument("--portrait", type=Path, help="JPEG, PNG or WebP; without it the default face talks")
    source = talking.add_mutually_exclusive_group()
    source.add_argument("--text", help="what to say")
    source.add_argument("--audio", type=Path, help="a recording to follow")
    talking.add_argument(
        "--drive",
        type=Path,
        help="a video of 60 s at most whose face moves this one, or a motion template (.pkl of LivePortrait, .npz); "
        "beside --text or --audio, which then move the lips and last as they do. Needs the engine liveportrait",
    )
    talking.add_argument("--keep-motion", type=Path, help="NPZ file for the motion of --drive, to be used again")
    talking.add_argument("-o", "--out", type=Path, required=True, help="MP4 file to write")
    talking.add_argument("--language", default="", help=_LANGUAGE)
    talking.add_argument("--voice", default="", help=_VOICE)
    talking.add_argument("--consent", default="", help="who agreed to the use of this face, and how")
    talking.add_argument("--confirm", action="store_true", help="take a portrait that may not be a person's face")
    talking.set_defaults(run=lambda given: asyncio.run(_talk(given)))

    models.add_parser(commands)
    verify.add_parser(commands)
    voice.add_parser(commands)

    bench = commands.add_parser("bench", help="measure the performance, for developers")
    bench.add_argument("what", choices=BENCHES)
    bench.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="options; -h after the name lists them")
    bench.set_defaults(run=_bench)
    return parser


def _run(arguments: Sequence[str] | None) -> None:
    given = _parser().parse_args(arguments)
    if given.config is not None:
        os.environ[settings_file.VARIABLE] = str(given.config)
    if os.environ.get(settings_file.VARIABLE):
        # The processes that we start run in another folder.
        os.environ[settings_file.VARIABLE] = str(settings_file.path())
    try:
        given.run(given)
    except (StackError, SettingsError, AvatarError) as error:
        sys.exit(f"avatar: {error}")
    except BrokenPipeError:
        raise
    except OSError as error:
        sys.exit(f"avatar: {f'{error.filename}: {error.strerror}' if error.filename else error}")
    except grpc.aio.AioRpcError as error:
        words = str(error.details())
        if "confirm_doubtful_face" in words:
            words += " (on this command line: --confirm)"
        sys.exit(f"avatar: {words}")
    except KeyboardInterrupt:
        sys.exit(130)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. Exits with 1 and a sentence on failure."""
    try:
        try:
            _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has read enough, `head` for one. What is still in the buffer must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_READER_GONE)


if __name__ == "__main__":
    main()
