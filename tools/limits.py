"""Every limit of the product in one table, made from the constants and settings that enforce it.

`python -m tools.limits` writes docs/limits.md; with --check it compares instead.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings

from orchestrator.settings import OrchestratorSettings
from orchestrator.signaling import MAX_MESSAGE_BYTES as MAX_SIGNAL_BYTES
from services.common import recording_file as recordings
from services.common.legacy_http import MAX_JSON_BYTES
from services.common.network_settings import NetworkSettings
from services.common.server import MAX_MESSAGE_BYTES
from services.common.settings import ServerSettings
from services.render import avatars, capacity, engine, image_file, portrait, requests, servicer, speech_motion, stage
from services.render.engines.liveportrait import clip, driving_video
from services.render.settings import RenderSettings
from services.stt import messages as heard
from services.stt.settings import SttSettings
from services.tts import messages, utterances, voice_calls, voice_maker, voice_recording, voice_store
from services.tts.settings import TtsSettings

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "limits.md"
_MIB = 1024 * 1024
_HEAD = """# Limits

What is refused, with which status, and where that can be changed. Tests send these for real, most of them through
Envoy to the whole product (`tests/limits`). This page is made from the code by `python -m tools.limits`.

Every run of the tests also sends 10,000 damaged files to each reader of files, guided by coverage, and some hundred
random streams to each service; `AVATAR_FUZZ_STREAMS=10000 pytest tests/fuzz` sends 10,000 of those too, in 90 s on two
cores.

INVALID_ARGUMENT and FAILED_PRECONDITION are HTTP 400, RESOURCE_EXHAUSTED is 429; every refusal says in a sentence what
would be right.

| what | limit | beyond it | setting |
|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """One row.

    Args:
        setting: its name, where it can be changed.
        contract: the words of the contract that state it, where it does: (area, words).
    """

    what: str
    limit: str
    answer: str
    setting: str = ""
    contract: tuple[str, str] | None = None


def _default(settings: type[BaseSettings], field: str) -> Any:
    return settings.model_fields[field].default


def _edge_mib(name: str, script: str = "topology") -> int:
    """A constant of the edge, whose scripts are no package."""
    found = re.search(rf"^{name} = (\d+) \* MIB$", (ROOT / "envoy" / f"{script}.py").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def _setting(section: str, field: str) -> str:
    return f"`[{section}] {field}`"


def limits() -> tuple[Limit, ...]:
    """Every limit, by what it bounds."""
    invalid, full, order = "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED, RetryInfo", "FAILED_PRECONDITION"
    return (
        Limit("JSON without a file", f"{_edge_mib('SMALL_BODY_BYTES')} MiB", "HTTP 413, INVALID_ARGUMENT"),
        Limit("JSON with a portrait", f"{_edge_mib('PORTRAIT_BODY_BYTES')} MiB", "HTTP 413, INVALID_ARGUMENT"),
        Limit("JSON with a recording", f"{_edge_mib('MAX_BODY_BYTES')} MiB", "HTTP 413, INVALID_ARGUMENT"),
        Limit("JSON with a voice", f"{_edge_mib('VOICE_BODY_BYTES')} MiB", "HTTP 413, INVALID_ARGUMENT"),
        Limit("form with a portrait", f"{_edge_mib('PORTRAIT_FORM_BYTES')} MiB", "HTTP 413"),
        Limit("form with a voice", f"{_edge_mib('VOICE_FORM_BYTES')} MiB", "HTTP 413"),
        Limit("form with a recording", f"{_edge_mib('RECORDING_FORM_BYTES')} MiB", "HTTP 413"),
        Limit("JSON of the older stack's routes", f"{MAX_JSON_BYTES // _MIB} MiB", "HTTP 413"),
        Limit(
            "time in which a request must have come whole, or a stream be answered",
            f"{_default(NetworkSettings, 'request_s')} s",
            "HTTP 408, DEADLINE_EXCEEDED",
            _setting("network", "request_s"),
        ),
        Limit(
            "bodies over 1 MiB on their way through one public port",
            f"{_default(NetworkSettings, 'large_bodies')}, of them "
            f"{max(1, _default(NetworkSettings, 'large_bodies') // 4)} in JSON over "
            f"{_edge_mib('LARGE_JSON_BYTES', 'bodies')} MiB",
            "RESOURCE_EXHAUSTED, Retry-After",
            _setting("network", "large_bodies"),
        ),
        Limit(
            "gRPC calls that may hold a file, over one public port",
            f"{4 * _default(NetworkSettings, 'large_bodies')} at once",
            "RESOURCE_EXHAUSTED, Retry-After",
            _setting("network", "large_bodies"),
        ),
        Limit(
            "calls over one connection",
            f"{_default(NetworkSettings, 'connection_calls_per_s')} per second, twice as many at once",
            "RESOURCE_EXHAUSTED, Retry-After",
            _setting("network", "connection_calls_per_s"),
        ),
        Limit(
            "calls over one public port",
            f"{_default(NetworkSettings, 'port_calls_per_s')} per second, twice as many at once",
            "RESOURCE_EXHAUSTED, Retry-After",
            _setting("network", "port_calls_per_s"),
        ),
        Limit("one gRPC message", f"{MAX_MESSAGE_BYTES // _MIB} MiB", "RESOURCE_EXHAUSTED"),
        Limit("one message of the signalling socket", f"{MAX_SIGNAL_BYTES // 1024} KiB", "close 1009"),
        Limit(
            "text to speak",
            f"1 to {utterances.MAX_TEXT_CHARACTERS} characters, in all pieces of an utterance",
            invalid,
            contract=("tts", f"1 to {utterances.MAX_TEXT_CHARACTERS:,} characters"),
        ),
        Limit(
            "text to say in a conversation",
            f"1 to {utterances.MAX_TEXT_CHARACTERS} characters",
            invalid,
            contract=("conversation", f"1 to {utterances.MAX_TEXT_CHARACTERS:,} characters"),
        ),
        Limit(
            "id of an utterance",
            f"1 to {utterances.MAX_ID_CHARACTERS} characters",
            invalid,
            contract=("tts", f"1 to {utterances.MAX_ID_CHARACTERS} characters"),
        ),
        Limit("utterances of one voice stream that wait", f"{utterances.MAX_OPEN_UTTERANCES}", full),
        Limit(
            "sample rate of speech made",
            f"{messages.SLOWEST_RATE_HZ} to {messages.FASTEST_RATE_HZ} Hz",
            invalid,
            contract=("tts", f"{messages.SLOWEST_RATE_HZ} to {messages.FASTEST_RATE_HZ} Hz"),
        ),
        Limit(
            "language tag",
            f"{heard.MAX_LANGUAGE_TAG_CHARACTERS} characters",
            f"{invalid}; of a voice UNIMPLEMENTED",
            contract=("stt", f"at most {heard.MAX_LANGUAGE_TAG_CHARACTERS} characters"),
        ),
        Limit(
            "phrases that the ears are told to expect",
            f"{heard.MAX_PHRASES}, each of {heard.MAX_PHRASE_CHARACTERS} characters",
            invalid,
            contract=("stt", f"At most {heard.MAX_PHRASES}, each of 1 to {heard.MAX_PHRASE_CHARACTERS} characters"),
        ),
        Limit(
            "languages that the ears choose between",
            f"{heard.MAX_LANGUAGES}",
            invalid,
            contract=("stt", f"at most {heard.MAX_LANGUAGES}"),
        ),
        Limit(
            "what the assistant says, as the ears are told",
            f"{heard.MAX_ASSISTANT_CHARACTERS} characters",
            invalid,
            contract=("stt", f"at most {heard.MAX_ASSISTANT_CHARACTERS} characters"),
        ),
        Limit(
            "recording",
            f"{recordings.MAX_RECORDING_BYTES // _MIB} MiB, {recordings.MIN_RATE_HZ} to {recordings.MAX_RATE_HZ} Hz, "
            f"{recordings.MAX_CHANNELS} channels",
            invalid,
            contract=(
                "stt",
                f"{recordings.MIN_RATE_HZ} to {recordings.MAX_RATE_HZ} Hz and {recordings.MAX_CHANNELS} channels",
            ),
        ),
        Limit(
            "samples that an M4A announces",
            f"{recordings.MAX_MP4_SAMPLES}, where they are compressed",
            invalid,
        ),
        Limit(
            "length of a recording",
            f"{_default(SttSettings, 'max_recording_s') / 3600:g} hours",
            invalid,
            _setting("stt", "max_recording_s"),
            ("stt", f"{_default(SttSettings, 'max_recording_s') / 3600:g} hours"),
        ),
        Limit(
            "recording that a voice is made of",
            f"{voice_recording.MAX_FILE_BYTES // _MIB} MiB, {voice_recording.MIN_S:g} to {voice_recording.MAX_S:g} s",
            invalid,
            contract=(
                "tts",
                f"file of {voice_recording.MIN_S:g} to {voice_recording.MAX_S:g} s and at most "
                f"{voice_recording.MAX_FILE_BYTES // _MIB} MiB",
            ),
        ),
        Limit(
            "speech in the recording of a voice",
            f"{voice_recording.MIN_SPEECH_S:g} s or more, at {voice_recording.TOO_QUIET_DB:g} dB or more, "
            f"{voice_recording.TOO_NOISY_DB:g} dB over the background, {voice_recording.TOO_CLIPPED:.0%} of it clipped",
            invalid,
        ),
        Limit(
            "recording of a voice without the consent of its owner",
            f"refused; who agreed is said in 1 to {voice_store.MAX_CONSENT} characters",
            invalid,
            contract=("tts", f"1 to {voice_store.MAX_CONSENT} characters"),
        ),
        Limit(
            "name of a voice for people",
            f"{voice_store.MAX_NAME} characters, and no other voice's",
            invalid,
            contract=("tts", f"at most {voice_store.MAX_NAME} characters"),
        ),
        Limit(
            "voices that are kept",
            f"{_default(TtsSettings, 'max_voices')}",
            full,
            _setting("tts", "max_voices"),
        ),
        Limit(
            "recordings of voices that wait to be listened to",
            f"{voice_maker.MAX_WAITING_RECORDINGS}",
            full,
            contract=("tts", f"or when {voice_maker.MAX_WAITING_RECORDINGS} recordings wait"),
        ),
        Limit(
            "voices on a page of their list",
            f"1 to {voice_calls.MAX_PAGE}; 0 for all",
            invalid,
            contract=("tts", f"1 to {voice_calls.MAX_PAGE}; 0 means all"),
        ),
        Limit("one message of sound to the ears", "1 s", invalid, contract=("stt", "at most 1 s")),
        Limit(
            "one chunk of sound to the face",
            f"{servicer.MAX_CHUNK_S:g} s",
            invalid,
            contract=("render", f"at most {servicer.MAX_CHUNK_S:g} s a chunk"),
        ),
        Limit(
            "sound of one utterance to the face",
            f"{_default(RenderSettings, 'max_utterance_s'):g} s",
            invalid,
            _setting("render", "max_utterance_s"),
            ("render", f"{_default(RenderSettings, 'max_utterance_s'):g} s in all"),
        ),
        Limit(
            "mouth shapes of one utterance",
            f"{speech_motion.MAX_CUES}, and {speech_motion.MAX_CUES_AT_ONCE} within {speech_motion.AT_ONCE_S:g} s",
            invalid,
            contract=(
                "render",
                f"At most {speech_motion.MAX_CUES:,} in an utterance, and "
                f"{speech_motion.MAX_CUES_AT_ONCE} that begin within a tenth of a second",
            ),
        ),
        Limit(
            "frame",
            f"{requests.MIN_STREAM_SIZE} to {engine.MAX_SIZE} pixels, {requests.FRAME_RATES[0]} to "
            f"{requests.FRAME_RATES[1]} per second",
            invalid,
            contract=("render", f"{requests.MIN_STREAM_SIZE} to {engine.MAX_SIZE}"),
        ),
        Limit(
            "portrait",
            f"{image_file.MAX_BYTES // _MIB} MiB, {image_file.MAX_PIXELS // 10**6} megapixels; JPEG, PNG or WebP",
            invalid,
            contract=(
                "render",
                f"at most {image_file.MAX_BYTES // _MIB} MiB and {image_file.MAX_PIXELS // 10**6} megapixels",
            ),
        ),
        Limit(
            "scans of a progressive JPEG",
            f"{image_file.MAX_SCANS}",
            invalid,
        ),
        Limit(
            "face in a portrait",
            f"{portrait.MIN_FACE_PX} pixels wide or more; the largest of several is taken",
            invalid,
            contract=("render", f"at least {portrait.MIN_FACE_PX} pixels wide"),
        ),
        Limit(
            "face that may not be a person's",
            "made only with `confirm_doubtful_face`",
            f"{order}, CONFIRMATION_NEEDED",
            contract=("render", "refused until it is confirmed"),
        ),
        Limit(
            "name of an avatar for people",
            f"{avatars.MAX_NAME} characters",
            invalid,
            contract=("render", f"at most {avatars.MAX_NAME} characters"),
        ),
        Limit(
            "consent",
            f"1 to {avatars.MAX_CONSENT} characters",
            invalid,
            contract=("render", f"1 to {avatars.MAX_CONSENT} characters"),
        ),
        Limit(
            "avatars that are kept",
            f"{_default(RenderSettings, 'max_avatars')}",
            full,
            _setting("render", "max_avatars"),
        ),
        Limit(
            "portraits that wait to be looked at",
            f"{stage.MAX_WAITING_PORTRAITS}",
            full,
            contract=("render", f"when {stage.MAX_WAITING_PORTRAITS} portraits wait"),
        ),
        Limit(
            "driving file",
            f"{requests.MAX_DRIVING_BYTES // _MIB} MiB, in pieces of {requests.MAX_PIECE_BYTES // _MIB} MiB",
            invalid,
            contract=("render", f"All of it has {requests.MAX_DRIVING_BYTES // _MIB} MiB at most"),
        ),
        Limit(
            "driving video",
            f"{driving_video.MAX_VIDEO_S:g} s, {driving_video.MAX_PIXELS} pixels; MP4, MOV, WebM or MKV",
            invalid,
            contract=("render", f"{driving_video.MAX_VIDEO_S:g} s at most"),
        ),
        Limit(
            "motion in a file",
            f"{clip.MAX_DURATION_S:g} s, {clip.MAX_FRAMES} frames",
            invalid,
            contract=("render", f"{clip.MAX_DURATION_S:g} s at most"),
        ),
        Limit("driving files that wait to be read", f"{stage.MAX_WAITING_MOTIONS}", full),
        Limit(
            "streams of one process",
            f"{_default(ServerSettings, 'max_streams')}",
            full,
            "`max_streams` of `[render]`, `[tts]`, `[stt]`",
        ),
        Limit(
            "live faces",
            f"what the engines were measured to draw at {capacity.RATES_HZ[-1]} frames per second",
            full,
            contract=("render", "when no engine has room for one more live face"),
        ),
        Limit(
            "conversations at once",
            f"{_default(OrchestratorSettings, 'max_streams')}",
            "`Server full` on the socket",
            _setting("orchestrator", "max_streams"),
        ),
        Limit(
            "time in which a stream's caller neither sends nor reads",
            f"{_default(ServerSettings, 'idle_timeout_s'):g} s",
            order,
            "`idle_timeout_s` of each process",
        ),
    )


def markdown() -> str:
    """The page."""
    rows = (f"| {row.what} | {row.limit} | {row.answer} | {row.setting} |" for row in limits())
    return _HEAD + "\n".join(rows) + "\n"


def main() -> None:
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(markdown())
    elif PAGE.read_text() != markdown():
        sys.exit(f"{PAGE.relative_to(ROOT)} is not what the code says; run `python -m tools.limits`")


if __name__ == "__main__":
    main()
