"""`avatar talk`: an MP4 of a portrait that speaks, moves as in a driving file, or both."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import grpc
import numpy as np
from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2, render_pb2_grpc
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError, NotReadyError, UnsupportedError
from services.common.timing import duration_of, seconds_of

SAMPLE_RATE_HZ = 48_000
FRAME_RATE_HZ = 25
# The mouth comes to rest before the picture ends.
_TAIL_S = 0.4
_AUDIO_CHUNK = SAMPLE_RATE_HZ // 10
_UTTERANCE = "talk"
_PIECE_BYTES = 1024 * 1024
_Request = render_pb2.StreamingRenderRequest
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
    try:
        samples = _decoded_sound(path)
    except (av.FFmpegError, IndexError, OSError) as bad:
        known = "WAV, FLAC, MP3, OGG, WebM and M4A"
        raise InvalidRequestError(f"{path} is no recording that can be read; {known} can") from bad
    if not len(samples):
        raise InvalidRequestError(f"there is no sound in {path}")
    return Speech(samples)


def sound_of(path: Path, count: int) -> NDArray[np.int16]:
    """The sound of a driving file, shape (count,); silence where it has none, or ends sooner."""
    # A template is no container of sound; what a video's sound is worth shows when it is played.
    samples = np.zeros(0, np.int16)
    with contextlib.suppress(av.FFmpegError, IndexError, OSError):
        samples = _decoded_sound(path)[:count]
    return np.pad(samples, (0, count - len(samples)))


def _decoded_sound(path: Path) -> NDArray[np.int16]:
    """Shape (n,), at SAMPLE_RATE_HZ. Raises: FFmpegError; IndexError if there is no track of sound; OSError."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
    chunks: list[NDArray[np.int16]] = [np.zeros(0, np.int16)]
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            chunks += [out.to_ndarray()[0] for out in resampler.resample(frame)]
        chunks += [out.to_ndarray()[0] for out in resampler.resample(None)]
    return np.concatenate(chunks)


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


class Drawing:
    """A stream of the face service, for the pictures of one film."""

    def __init__(self, call: Any, started: render_pb2.StreamingRenderResponse.Started) -> None:
        self._call = call
        self._started = started

    @staticmethod
    @contextlib.asynccontextmanager
    async def of(render: Any, avatar: str) -> AsyncIterator[Drawing]:
        """Open it, and end it afterwards. Args: render: a stub of RenderService. Raises: AioRpcError."""
        call = render.StreamingRender()
        config = render_pb2.RenderConfig(
            avatar=avatar,
            video_format=render_pb2.VideoFormat(codec=render_pb2.VIDEO_CODEC_I420, frame_rate_hertz=FRAME_RATE_HZ),
            frame_clock=render_pb2.FRAME_CLOCK_AUDIO,
            audio_format=_FORMAT,
        )
        try:
            await call.write(_Request(config=config))
            first = await call.read()
            if first is grpc.aio.EOF:
                raise NotReadyError("the face service ended the stream at once")
            yield Drawing(call, first.started)
        finally:
            call.cancel()

    async def drive(self, file: bytes) -> render_pb2.StreamingRenderResponse.Driving:
        """Let a driving file move the face, in the frames that follow.

        Raises: UnsupportedError if the engine reads none; InvalidRequestError; AioRpcError if the file is refused.
        """
        if not file:
            raise InvalidRequestError("the driving file is empty")
        if not self._started.reads_motion:
            why = f"{self._started.engine.name} draws it ({self._started.engine.reason})"
            raise UnsupportedError(f"recorded motion cannot move this face: {why}; liveportrait reads motion")
        for start in range(0, len(file), _PIECE_BYTES):
            piece, is_last = file[start : start + _PIECE_BYTES], start + _PIECE_BYTES >= len(file)
            await self._call.write(_Request(drive=_Request.Drive(data=piece, is_last=is_last)))
        while (response := await self._call.read()) is not grpc.aio.EOF:
            if response.WhichOneof("response") == "driving":
                return cast("render_pb2.StreamingRenderResponse.Driving", response.driving)
        raise NotReadyError("the face service ended the stream before it had read the driving file")

    async def driven(self, file: bytes, path: Path, speech: Speech | None) -> tuple[Speech, Speech, bytes]:
        """Let a driving file move the face.

        Args:
            path: where the file is from, for its sound.
            speech: what moves the lips instead, if anything does.
        Returns: what the face is to say, what is to be heard, and the motion as a file to be used again.
        Raises: as `drive`.
        """
        driving = await self.drive(file)
        if speech is not None:
            return speech, speech, driving.motion
        # The lips are the motion's: the face is told nothing, whatever the video sounds like.
        count = round(seconds_of(driving.duration) * SAMPLE_RATE_HZ)
        return Speech(np.zeros(count, np.int16)), Speech(sound_of(path, count)), driving.motion

    async def frames(self, speech: Speech) -> AsyncGenerator[bytes]:
        """I420 frames of 512 x 512 at 25 fps, one for each 40 ms of the speech and its tail. Raises: AioRpcError."""
        sending = asyncio.create_task(self._send(speech))
        try:
            while (response := await self._call.read()) is not grpc.aio.EOF:
                if response.WhichOneof("response") == "frame":
                    yield response.frame.data
            await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, speech: Speech) -> None:
        tail = np.zeros(round(_TAIL_S * SAMPLE_RATE_HZ), np.int16)
        samples = np.concatenate([speech.samples, tail])
        if speech.visemes:
            visemes = _Request.Visemes(utterance_id=_UTTERANCE, visemes=speech.visemes)
            await self._call.write(_Request(visemes=visemes))
        for sequence, start in enumerate(range(0, len(samples), _AUDIO_CHUNK)):
            chunk = media_pb2.AudioChunk(
                utterance_id=_UTTERANCE,
                sequence=sequence,
                start_offset=duration_of(start, SAMPLE_RATE_HZ),
                data=samples[start : start + _AUDIO_CHUNK].astype("<i2").tobytes(),
            )
            await self._call.write(_Request(audio=chunk))
        await self._call.write(_Request(utterance_done=_Request.UtteranceDone(utterance_id=_UTTERANCE)))
        await self._call.done_writing()


async def write_mp4(
    path: Path, speech: Speech, pictures: AsyncIterator[bytes], progress: Callable[[float], None]
) -> int:
    """Write H.264 and AAC.

    Args: speech: what is heard; progress: told the share that is done, 0 to 1.
    Returns: how many frames were written.

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
