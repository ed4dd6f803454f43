"""One working call per method, as the shell commands of three clients; a test runs every one of them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from tools.api_docs.contract import Binding, binding_of

Json = dict[str, Any]
PORTS = {"render": 8081, "tts": 8082, "stt": 8083, "conversation": 8086}
_LINE = 100
_FORMAT = {"encoding": "AUDIO_ENCODING_LINEAR16", "sample_rate_hertz": 16000, "channel_count": 1}


@dataclass(frozen=True, slots=True)
class Example:
    """What a call sends.

    Args:
        requests: the messages; several only where the caller streams. A text that begins with "@" stands for that
            file's bytes, one that begins with "$" for that variable of the shell, {client} for the client's name.
        before: shell lines that make what the requests need.
        then: what curl's answer is piped into, or the option that writes it.
        feed: makes more messages for a streaming caller: a shell command that prints them.
        not_run: why no test runs it; empty for one that does.
    """

    requests: Sequence[Json] = ({},)
    before: str = ""
    then: str = ""
    feed: str = ""
    not_run: str = ""


_FACE = "avatars/me-{client}"
_VOICE = "voices/me-{client}"
_NEEDS_CLONING = "it needs an engine that makes voices of recordings"
EXAMPLES = {
    "RenderService.StreamingRender": Example(
        (
            {
                "config": {
                    "avatar": "avatars/default",
                    "video_format": {"codec": "VIDEO_CODEC_JPEG", "width": 256, "height": 256},
                }
            },
            {"expression": {"expression": {"kind": "EXPRESSION_KIND_HAPPY", "intensity": 1}}},
            {"frame": {"frame_index": "1", "presentation_offset": "0.040s"}},
        )
    ),
    "RenderService.RenderStill": Example(
        ({"avatar": "avatars/default", "expression": {"kind": "EXPRESSION_KIND_HAPPY", "intensity": 1}},),
        then="-o happy.jpg",
    ),
    "RenderService.GetHealth": Example(),
    "AvatarService.CreateAvatar": Example(
        (
            {
                "avatar": {"display_name": "Me", "portrait": "@me.jpg", "consent": "I am the one on it"},
                "avatar_id": "me-{client}",
            },
        ),
        before="curl -s localhost:8081/v1/avatars/default:renderStill -o me.jpg    # or a picture of your own",
        then="| jq '{name, warnings, doubts}'",
    ),
    "AvatarService.GetAvatar": Example(({"name": _FACE},), then="| jq '.landmarks[0]'"),
    "AvatarService.ListAvatars": Example(),
    "AvatarService.DeleteAvatar": Example(({"name": _FACE},)),
    "TextToSpeechService.Synthesize": Example(
        ({"text": "Hello world."},), then="| jq -r .audio | base64 -d > hello.wav"
    ),
    "TextToSpeechService.SynthesizeStream": Example(
        ({"text": "Guten Morgen!", "config": {"language_code": "de", "speaking_rate": 1.2}},)
    ),
    "TextToSpeechService.StreamingSynthesize": Example(
        (
            {"config": {"language_code": "en"}},
            {"text": {"utterance_id": "u1", "text": "This comes "}},
            {"text": {"utterance_id": "u1", "text": "in pieces.", "last": True}},
        )
    ),
    "TextToSpeechService.ListVoices": Example(({"language_code": "de"},)),
    "TextToSpeechService.GetVoice": Example(({"name": "voices/anna"},)),
    "TextToSpeechService.CreateVoice": Example(
        (
            {
                "voice": {
                    "display_name": "Me",
                    "recording": "@me.wav",
                    "consent": {"given": True, "statement": "I am the one who speaks"},
                },
                "voice_id": "me-{client}",
            },
        ),
        before="arecord -q -f S16_LE -r 24000 -d 10 me.wav    # say something, close to the microphone",
        then="| jq '{name, recording_quality}'",
        not_run=_NEEDS_CLONING,
    ),
    "TextToSpeechService.RemakeVoice": Example(({"name": _VOICE},), not_run=_NEEDS_CLONING),
    "TextToSpeechService.DeleteVoice": Example(({"name": _VOICE},), not_run=_NEEDS_CLONING),
    "TextToSpeechService.GetHealth": Example(),
    "SpeechToTextService.Recognize": Example(
        ({"audio": "@numbers.wav", "config": {"language_code": "en"}},),
        before=(
            "# Or take a recording of your own.\n"
            ".venv/bin/avatar say 'one two three four five' --voice voices/paul -o numbers.wav"
        ),
    ),
    "SpeechToTextService.StreamingRecognize": Example(
        ({"config": {"audio_format": _FORMAT, "interim_results": True}},),
        before="ffmpeg -v error -y -i numbers.wav -f s16le -ar 16000 -ac 1 numbers.pcm",
        feed="""split -b 32000 --filter 'base64 -w0 | jq -Rc "{audio: .}"' numbers.pcm""",
    ),
    "SpeechToTextService.GetHealth": Example(),
    "ConversationService.ListConversations": Example(then="| jq '.conversations[] | {name, turn_state}'"),
    "ConversationService.GetConversation": Example(
        ({"name": "$name"},), before="name=$(curl -s localhost:8086/v1/conversations | jq -r .conversations[0].name)"
    ),
    "ConversationService.WatchConversation": Example(({"name": "$name"},)),
    "ConversationService.Say": Example(({"name": "$name", "text": "Good morning!", "expression": "happy"},)),
    "ConversationService.Interrupt": Example(({"name": "$name"},)),
    "ConversationService.GetHealth": Example(),
}
# The older stack's routes, which have no other client.
LEGACY = {
    "LegacyRenderService.GetServiceHealth": "curl -s localhost:8081/health",
    "LegacyRenderService.GetExpressions": "curl -s localhost:8081/expressions",
    "LegacyRenderService.RenderPortrait": (
        "curl -s localhost:8081/api/render -F source_image=@me.jpg -F expression=happy -o face.jpg"
    ),
    "LegacyRenderService.RenderVideo": (
        "curl -s localhost:8081/render -F character_image=@me.jpg -w '\\n%{http_code}\\n'"
    ),
    "LegacyTextToSpeechService.GetServiceHealth": "curl -s localhost:8082/health",
    "LegacyTextToSpeechService.GetLanguages": "curl -s localhost:8082/languages",
    "LegacyTextToSpeechService.GetSpeakers": "curl -s localhost:8082/speakers",
    "LegacyTextToSpeechService.SynthesizeFile": (
        """curl -s localhost:8082/synthesize --json '{"text": "Hallo Welt", "language": "de"}' -o hallo.wav"""
    ),
    "LegacyTextToSpeechService.CloneVoice": (
        "curl -s localhost:8082/synthesize-with-voice-clone -F text=Hello -F speaker_audio=@hello.wav "
        "-w '\\n%{http_code}\\n'"
    ),
    "LegacySpeechToTextService.GetServiceHealth": "curl -s localhost:8083/health",
    "LegacySpeechToTextService.GetLanguages": "curl -s localhost:8083/languages",
    "LegacySpeechToTextService.Transcribe": (
        "curl -s localhost:8083/transcribe -F file=@numbers.wav -F language=en -F return_timestamps=true"
    ),
}


def example_of(method: MethodDescriptor) -> Example | None:
    """The example of a method, if it has one."""
    return EXAMPLES.get(f"{method.containing_service.name}.{method.name}")


def commands(method: MethodDescriptor, example: Example) -> dict[str, str]:
    """The shell lines of each client that can make the call: curl, grpcurl, buf."""
    name = f"{method.containing_service.full_name}/{method.name}"
    port = PORTS[method.containing_service.file.package.split(".")[1]]
    # A conversation goes on; five seconds of it are enough to see what comes.
    is_endless = method.name.startswith("Watch")
    grpcurl = "grpcurl -plaintext" + (" -max-time 5" if is_endless else "")
    buf = ("timeout 5 " if is_endless else "") + "buf curl --http2-prior-knowledge --protocol grpc"
    made = {}
    if binding := binding_of(method):
        limit = " --max-time 5" if is_endless else ""
        made["curl"] = _curl(method, binding, _for(example, "curl"), port, limit)
    made["grpcurl"] = _grpc(grpcurl, "@", f"localhost:{port} {name}", _for(example, "grpcurl"))
    made["buf"] = _grpc(buf, "@-", f"http://localhost:{port}/{name}", _for(example, "buf"))
    return made


def _for(example: Example, client: str) -> Example:
    requests = json.loads(json.dumps(list(example.requests)).replace("{client}", client))
    return replace(example, requests=requests)


def _text(value: Json) -> str:
    line = json.dumps(value)
    return line if len(line) < _LINE else json.dumps(value, indent=2)


def _quoted(text: str) -> str:
    """For the shell, in single quotes; variables of the shell are let through."""
    return "'" + re.sub(r"\$(\w+)", r"'$\1'", text) + "'"


def _files(text: str) -> list[str]:
    return re.findall(r'"@([^"]+)"', text)


def _jq(text: str, compact: str = "") -> str:
    """A command that prints the JSON with files in it."""
    reads = " ".join(f"--rawfile {_variable(file)} <(base64 -w0 {file})" for file in _files(text))
    for file in _files(text):
        text = text.replace(f'"@{file}"', f"${_variable(file)}")
    return f"jq -n{compact} {reads} '{text}'"


def _variable(file: str) -> str:
    return file.split(".")[0]


def _curl(method: MethodDescriptor, binding: Binding, example: Example, port: int, limit: str) -> str:
    request = dict(example.requests[0])
    path = binding.template
    for field in binding.path_fields:
        # Braces end the variable's name, also for shells in which ":s" would be part of it.
        value = re.sub(r"^\$(\w+)", r"${\1}", request.pop(field))
        path = re.sub(rf"\{{{field}=[^}}]*\}}", lambda _, value=value: value, path)  # type: ignore[misc]
    body = request if binding.body == "*" else request.pop(binding.body, {}) if binding.body else None
    query = "" if binding.body == "*" else "&".join(_flat(request))
    url = f"localhost:{port}{path}" + (f"?{query}" if query else "")
    url = f"'{url}'" if query else f'"{url}"' if "$" in url else url
    verb = "" if binding.verb in ("get", "post") else f" -X {binding.verb.upper()}"
    stream = "N" if method.server_streaming else ""
    command = f"curl -s{stream}{limit}{verb} {url}"
    then = f" {example.then}" if example.then else ""
    if body is None:
        return command + then
    text = _text(body)
    if _files(text):
        return f"{_jq(text)} |\n  {command} --json @-{then}"
    line = f"{command} --json {_quoted(text)}"
    if len(line) + len(then) < _LINE:
        return line + then
    return (
        line + (f" \\\n {then}" if then else "")
        if len(line) < _LINE
        else f"{command} \\\n  --json {_quoted(text)}{then}"
    )


def _flat(request: Json, prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, value in request.items():
        found += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}={value}"]
    return found


def _grpc(command: str, from_input: str, target: str, example: Example) -> str:
    texts = [_text(request) for request in example.requests]
    if example.feed:
        first = "; ".join(f"echo '{json.dumps(request)}'" for request in example.requests)
        return f"{{ {first}\n  {example.feed}; }} |\n  {command} -d {from_input} {target}"
    if len(texts) > 1:
        lines = "\n".join(json.dumps(request) for request in example.requests)
        return f"{command} -d {from_input} \\\n  {target} <<'END'\n{lines}\nEND"
    if _files(texts[0]):
        return f"{_jq(texts[0])} |\n  {command} -d {from_input} {target}"
    data = "" if texts[0] == "{}" and command.startswith("grpcurl") else f" -d {_quoted(texts[0])}"
    line = f"{command}{data} {target}"
    return line if len(line) < _LINE else f"{command}{data} \\\n  {target}"
