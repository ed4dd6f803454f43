"""Checks what callers of the face service ask for, and says what would be right."""

from __future__ import annotations

from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2

from services.common.errors import InvalidRequestError
from services.common.timing import seconds_of
from services.render.engine import MAX_SIZE, MIN_SIZE
from services.render.expressions import MAX_GAZE_PITCH, MAX_GAZE_YAW, ExpressionKind
from services.render.speech_motion import MAX_CUES, VisemeCue
from services.render.visemes import Viseme

MIN_STREAM_SIZE = 256
FRAME_RATES = (5, 30)
DEFAULT_FRAME_RATE = 25
SAMPLE_RATES = (16_000, 22_050, 24_000, 48_000)
MAX_ID = 128
MAX_PIECE_BYTES, MAX_DRIVING_BYTES = 1024 * 1024, 64 * 1024 * 1024


def check_utterance_id(utterance_id: str) -> None:
    """Raises: InvalidRequestError if it is empty or too long."""
    if not 1 <= len(utterance_id) <= MAX_ID:
        raise InvalidRequestError(f"utterance_id has {len(utterance_id)} characters; use 1 to {MAX_ID}")


def check_config(config: render_pb2.RenderConfig) -> render_pb2.RenderConfig:
    """The config with every default filled in. Raises: InvalidRequestError naming what is out of range."""
    full = render_pb2.RenderConfig()
    full.CopyFrom(config)
    video = full.video_format
    if video.codec not in (render_pb2.VIDEO_CODEC_I420, render_pb2.VIDEO_CODEC_JPEG):
        raise InvalidRequestError("video_format.codec is not set; use VIDEO_CODEC_I420 or VIDEO_CODEC_JPEG")
    video.width, video.height = video.width or MAX_SIZE, video.height or MAX_SIZE
    if video.width != video.height or video.width % 2 or not MIN_STREAM_SIZE <= video.width <= MAX_SIZE:
        raise InvalidRequestError(
            f"frames of {video.width} x {video.height} cannot be made; width and height are equal, even, "
            f"{MIN_STREAM_SIZE} to {MAX_SIZE}"
        )
    video.frame_rate_hertz = video.frame_rate_hertz or DEFAULT_FRAME_RATE
    if not FRAME_RATES[0] <= video.frame_rate_hertz <= FRAME_RATES[1]:
        raise InvalidRequestError(
            f"frame_rate_hertz is {video.frame_rate_hertz}; use {FRAME_RATES[0]} to {FRAME_RATES[1]}"
        )
    full.frame_clock = full.frame_clock or render_pb2.FRAME_CLOCK_REQUEST
    if full.frame_clock not in (render_pb2.FRAME_CLOCK_REQUEST, render_pb2.FRAME_CLOCK_AUDIO):
        raise InvalidRequestError(f"frame_clock {full.frame_clock} is not known; use REQUEST or AUDIO")
    if full.HasField("audio_format"):
        _check_audio_format(full.audio_format)
    elif full.frame_clock == render_pb2.FRAME_CLOCK_AUDIO:
        raise InvalidRequestError("FRAME_CLOCK_AUDIO needs audio_format; set it to the audio that will be sent")
    return full


def _check_audio_format(audio: media_pb2.AudioFormat) -> None:
    audio.encoding = audio.encoding or media_pb2.AUDIO_ENCODING_LINEAR16
    audio.channel_count = audio.channel_count or 1
    if audio.encoding != media_pb2.AUDIO_ENCODING_LINEAR16 or audio.channel_count != 1:
        raise InvalidRequestError("audio_format must be LINEAR16 with 1 channel")
    if audio.sample_rate_hertz not in SAMPLE_RATES:
        rates = ", ".join(map(str, SAMPLE_RATES))
        raise InvalidRequestError(f"audio at {audio.sample_rate_hertz} Hz is not read here; send one of {rates} Hz")


def checked_expression(expression: render_pb2.Expression) -> tuple[ExpressionKind, float]:
    """Raises: InvalidRequestError for an unknown expression or an intensity outside 0 to 1."""
    if not 0 <= expression.intensity <= 1:
        raise InvalidRequestError(f"intensity is {expression.intensity:g}; use 0 to 1")
    kind = expression.kind or ExpressionKind.NEUTRAL
    if kind not in set(ExpressionKind):
        known = ", ".join(member.name for member in ExpressionKind)
        raise InvalidRequestError(f"expression {expression.kind} is not known; there are {known}")
    return ExpressionKind(kind), expression.intensity


def checked_gaze(gaze: render_pb2.Gaze) -> tuple[float, float]:
    """Yaw and pitch in degrees. Raises: InvalidRequestError if one is out of range."""
    for name, value, limit in (
        ("yaw_degrees", gaze.yaw_degrees, MAX_GAZE_YAW),
        ("pitch_degrees", gaze.pitch_degrees, MAX_GAZE_PITCH),
    ):
        if not -limit <= value <= limit:
            raise InvalidRequestError(f"{name} is {value:g}; use {-limit:g} to {limit:g}")
    return gaze.yaw_degrees, gaze.pitch_degrees


def checked_still_size(size: int) -> int:
    """In pixels. Raises: InvalidRequestError if it is odd or out of range."""
    size = size or MAX_SIZE
    if size % 2 or not MIN_SIZE <= size <= MAX_SIZE:
        raise InvalidRequestError(f"size is {size}; use an even number from {MIN_SIZE} to {MAX_SIZE}")
    return size


def check_cue_count(count: int) -> None:
    """Raises: InvalidRequestError for more visemes than an utterance may have, before any of them is looked at."""
    if count > MAX_CUES:
        raise InvalidRequestError(f"an utterance has at most {MAX_CUES} visemes, not {count}; split it")


def cue_of(timing: media_pb2.VisemeTiming) -> VisemeCue:
    """Raises: InvalidRequestError if the viseme is not known or its weight is outside 0 to 1."""
    if int(timing.viseme) not in set(Viseme):
        raise InvalidRequestError(f"viseme {timing.viseme} is not known; use VISEME_SIL to VISEME_OU")
    if not 0 <= timing.weight <= 1:
        raise InvalidRequestError(f"a viseme's weight is {timing.weight:g}; use 0 to 1")
    return VisemeCue(
        Viseme(timing.viseme), seconds_of(timing.start_offset), seconds_of(timing.end_offset), timing.weight
    )


def check_driving(piece_bytes: int, file_bytes: int) -> None:
    """Raises: InvalidRequestError if a piece of a driving file, or the file with it, is too large."""
    if piece_bytes > MAX_PIECE_BYTES:
        raise InvalidRequestError(f"a piece of a driving file has {piece_bytes} bytes; send at most {MAX_PIECE_BYTES}")
    if file_bytes > MAX_DRIVING_BYTES:
        raise InvalidRequestError("a driving file has at most 64 MiB; make it shorter or smaller")
