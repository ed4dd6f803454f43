"""`avatar talk`: a talking MP4 from a portrait and a text or a recording."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import grpc
import numpy as np
from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2, render_pb2_grpc
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError
from services.common.timing import duration_of

SAMPLE_RATE_HZ = 48_000
FRAME_RATE_HZ = 25
# The mouth comes to rest before the picture ends.
_TAIL_S = 0.4
_AUDIO_CHUNK = SAMPLE_RATE_HZ // 10
_UTTERANCE = "talk"
_FORMAT = media_pb2.AudioFormat(
    encoding=media_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=SAMPLE_RATE_HZ, channel_count=1
)


@dataclass(frozen=True, slots=True)
class Speech:
    """What is said. Args: samples: shape (n,), int16 at 48 kHz; visemes: empty when the mouth follows the sound."""

    samples: NDArray[np.int16]
    visemes: tuple[media_pb2.VisemeTiming, ...] = ()


async def synthesise(channel: grpc.aio.Channel, text: str, language_code: str, voice: str) -> Speech:
    """Speech of a text, with its mouth shapes. Raises: AioRpcError."""
    request = tts_pb2.SynthesizeStreamRequest(
        text=text,
        config=tts_pb2.SynthesisConfig(voice=voice, language_code=language_code, audio_format=_FORMAT),
    )
    pcm = bytearray()
    visemes: list[media_pb2.VisemeTiming] = []
    async for response in tts_pb2_grpc.TextToSpeechServiceStub(channel).SynthesizeStream(request):
        match response.WhichOneof("response"):
            case "audio":
                pcm += response.audio.data
            case "timing":
                visemes.extend(response.timing.visemes)
    return Speech(np.frombuffer(bytes(pcm), "<i2").astype(np.int16), tuple(visemes))


def read_recording(path: Path) -> Speech:
    """Speech of a recording in any container and format. Raises: InvalidRequestError if there is no sound in it."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
    chunks: list[NDArray[np.int16]] = []
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(audio=0):
                chunks += [out.to_ndarray()[0] for out in resampler.resample(frame)]
            chunks += [out.to_ndarray()[0] for out in resampler.resample(None)]
    except (av.FFmpegError, IndexError, OSError) as bad:
        known = "WAV, FLAC, MP3, OGG, WebM and M4A"
        raise InvalidRequestError(f"{path} is no recording that can be read; {known} can") from bad
    if not chunks:
        raise InvalidRequestError(f"there is no sound in {path}")
    return Speech(np.concatenate(chunks))


@contextlib.asynccontextmanager
async def avatar_of(
    channel: grpc.aio.Channel, portrait: bytes | None, display_name: str, consent: str, *, confirmed: bool = False
) -> AsyncIterator[str]:
    """The name of an avatar made from the portrait, forgotten afterwards; without one, the default's.

    Args: confirmed: take what may not be a person's face.
    """
    if portrait is None:
        yield "avatars/default"
        return
    stub = render_pb2_grpc.AvatarServiceStub(channel)
    avatar = render_pb2.Avatar(display_name=display_name[:80], portrait=portrait, consent=consent)
    request = render_pb2.CreateAvatarRequest(
        avatar=avatar, avatar_id=f"talk-{uuid.uuid4().hex[:12]}", confirm_doubtful_face=confirmed
    )
    made = await stub.CreateAvatar(request)
    try:
        for note in (*made.doubts, *made.warnings):
            print(f"note: {note}")
        yield made.name
    finally:
        await stub.DeleteAvatar(render_pb2.DeleteAvatarRequest(name=made.name))


async def frames(channel: grpc.aio.Channel, avatar: str, speech: Speech) -> AsyncIterator[bytes]:
    """I420 frames of 512 x 512 at 25 fps, one for each 40 ms of the speech and its tail."""
    request_type = render_pb2.StreamingRenderRequest
    tail = np.zeros(round(_TAIL_S * SAMPLE_RATE_HZ), np.int16)
    samples = np.concatenate([speech.samples, tail])

    async def requests() -> AsyncIterator[render_pb2.StreamingRenderRequest]:
        yield request_type(
            config=render_pb2.RenderConfig(
                avatar=avatar,
                video_format=render_pb2.VideoFormat(codec=render_pb2.VIDEO_CODEC_I420, frame_rate_hertz=FRAME_RATE_HZ),
                frame_clock=render_pb2.FRAME_CLOCK_AUDIO,
                audio_format=_FORMAT,
            )
        )
        if speech.visemes:
            yield request_type(visemes=request_type.Visemes(utterance_id=_UTTERANCE, visemes=speech.visemes))
        for sequence, start in enumerate(range(0, len(samples), _AUDIO_CHUNK)):
            yield request_type(
                audio=media_pb2.AudioChunk(
                    utterance_id=_UTTERANCE,
                    sequence=sequence,
                    start_offset=duration_of(start, SAMPLE_RATE_HZ),
                    data=samples[start : start + _AUDIO_CHUNK].astype("<i2").tobytes(),
                )
            )
        yield request_type(utterance_done=request_type.UtteranceDone(utterance_id=_UTTERANCE))

    async for response in render_pb2_grpc.RenderServiceStub(channel).StreamingRender(requests()):
        if response.WhichOneof("response") == "frame":
            yield response.frame.data


async def write_mp4(
    path: Path, speech: Speech, pictures: AsyncIterator[bytes], progress: Callable[[float], None]
) -> int:
    """Write H.264 and AAC. Args: progress: told the share that is done, 0 to 1. Returns: how many frames were written.

    The file appears under its name only once it is whole.
    """
    part = path.with_name(f".{path.name}.part.mp4")
    total = len(speech.samples) / SAMPLE_RATE_HZ + _TAIL_S
    count = 0
    try:
        with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as out:
            video = out.add_stream("libx264", rate=FRAME_RATE_HZ)
            video.width = video.height = 512
            video.pix_fmt = "yuv420p"
            video.options = {"crf": "18", "preset": "veryfast"}
            sound = out.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
            sound.bit_rate = 128_000
            async for picture in pictures:
                planes = np.frombuffer(picture, np.uint8).reshape(768, 512)
                frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                frame.pts, frame.time_base = count, Fraction(1, FRAME_RATE_HZ)
                out.mux(video.encode(frame))
                _mux_sound(out, sound, speech, count)
                count += 1
                progress(min(1.0, count / FRAME_RATE_HZ / total))
            out.mux(video.encode(None))
            out.mux(sound.encode(None))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count


def _mux_sound(out: av.container.OutputContainer, stream: av.AudioStream, speech: Speech, index: int) -> None:
    """The 40 ms of sound that belong to a frame; silence after the speech."""
    size = SAMPLE_RATE_HZ // FRAME_RATE_HZ
    samples = np.zeros((1, size), np.int16)
    said = speech.samples[index * size : (index + 1) * size]
    samples[0, : len(said)] = said
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
    frame.sample_rate = SAMPLE_RATE_HZ
    frame.pts, frame.time_base = index * size, Fraction(1, SAMPLE_RATE_HZ)
    out.mux(stream.encode(frame))
